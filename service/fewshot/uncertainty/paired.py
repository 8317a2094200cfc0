"""The difference of two heads on the same examples, with an interval and a verdict.

Both heads scored the same rows. Whole groups are resampled, and both heads are measured on the same
resample (Efron and Tibshirani 1993, "An introduction to the bootstrap", chapters 8 and 13). With
few groups a bare percentile interval is too narrow, and it is [0, 0] when no group tells the heads
apart. Two corrections keep it honest; ``benchmarks/paired_coverage.py`` measures the coverage:

- for each class, a group that only the first head gets right and one that only the second does
  join the resamples (after Agresti and Min 2005, "Simple improved confidence intervals for
  comparing matched proportions");
- the percentiles are further out, as a t interval is wider than a normal one (Hesterberg 2015,
  "What teachers should know about the bootstrap", expanded percentile interval).

Shape suffixes: N rows, X rows with those that were added, K classes that have rows, G groups,
B resamples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from service.arrays import Doubles, Ints
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut, in_groups
from service.fewshot.metrics import MIN_GROUPS, area_under_roc
from service.fewshot.uncertainty.intervals import mean_of_present, ratio

Metric: TypeAlias = Literal["balanced_accuracy", "auroc", "log_loss"]
Verdict: TypeAlias = Literal["better", "worse", "cannot_tell"]
METRICS: tuple[Metric, ...] = ("balanced_accuracy", "auroc", "log_loss")

RESAMPLES, MIN_RESAMPLES = 4000, 1000
MAX_CELLS = 40_000_000  # resamples x rows x classes of one comparison, a few seconds
TAIL = 0.025
ADDED_WEIGHT = math.sqrt(0.5)  # of each added group; together they vary like one that differs
AREA_WEIGHT = 0.5  # an area is moved by an added row of either class, by twice as much together
_BLOCK = 4_000_000  # cells at once, 32 MB


@dataclass(frozen=True, slots=True)
class ScorePair:
    """Scores of the same rows by two heads.

    Attributes:
        first, second: held-out scores; the heads may know different classes.
        first_NC, second_NC: calibrated probabilities, for the log loss.
    """

    first: HeldOut
    second: HeldOut
    first_NC: Doubles
    second_NC: Doubles


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second, on the rows that both heads scored.

    Attributes:
        label: of a multi-label classifier; None = the only head, or the mean over labels.
        value: None without rows of two classes.
        low, high: 95 % interval; None where ``cannot_tell_because`` says why.
        verdict: whether the first is better. The smaller log loss is better.
        scored: rows; ``groups`` is the number of their groups.
        smallest_class_groups: groups of the class that has the fewest.
    """

    label: str | None
    metric: Metric
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    scored: int
    groups: int
    smallest_class_groups: int
    cannot_tell_because: str | None


def paired_differences(
    pairs: Mapping[str | None, ScorePair], groups_N: Ints, *, seed: int = 0
) -> tuple[Difference, ...]:
    """The differences of all heads, those of the whole classifier first.

    Args:
        pairs: label -> scores of the same rows. A row without scores of either head is left out.
        groups_N: of the rows; groups are resampled whole.
    """
    number_N = np.unique(groups_N, return_inverse=True)[1]
    heads = {label: _paired(pair, number_N) for label, pair in pairs.items()}
    cells = sum(head.cells for head in heads.values())
    resamples = max(MIN_RESAMPLES, min(RESAMPLES, MAX_CELLS // max(1, cells)))
    rng = np.random.default_rng(seed)
    groups = int(number_N.max(initial=-1)) + 1
    times_BG = np.ones((resamples + 1, groups))
    if groups:
        times_BG[1:] = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    figures = {label: head.figures(times_BG, rng) for label, head in heads.items()}

    def difference(label: str | None, metric: Metric, chosen: Sequence[str | None]) -> Difference:
        values_B = np.mean([figures[key][metric] for key in chosen], axis=0)
        return _difference(label, metric, values_B, [heads[key] for key in chosen])

    whole = [difference(None, metric, list(pairs)) for metric in METRICS]
    labels = [label for label in pairs if label is not None]
    return (*whole, *(difference(label, metric, [label]) for label in labels for metric in METRICS))


@dataclass(frozen=True, slots=True)
class _Paired:
    """The rows that both heads scored, and two added rows per class, as columns of length X.

    Attributes:
        label_X: number of the class among the K classes that have rows.
        scores_2KX: score of each class by each head.
        right_2X: whether each head is right.
        loss_X: log loss of the first minus that of the second; 0 for added rows.
        share_X: 1 / rows of the same group and class.
        group_X: number of the group; added rows have groups of their own.
        scored: rows that were not added.
    """

    label_X: Ints
    scores_2KX: Doubles
    right_2X: Doubles
    loss_X: Doubles
    share_X: Doubles
    group_X: Ints
    scored: int
    groups: int
    groups_K: Ints

    @property
    def cells(self) -> int:
        """Rows x classes."""
        return int(self.label_X.size * max(1, self.groups_K.size))

    def figures(self, times_BG: Doubles, rng: np.random.Generator) -> dict[Metric, Doubles]:
        """(B + 1,) difference of each metric; the first is that of the rows themselves."""
        resamples, classes = len(times_BG), self.groups_K.size
        added_BX = rng.poisson(1, (resamples, 2 * classes)).astype(np.float64)
        added_BX[0] = 0
        if not classes:
            return dict.fromkeys(METRICS, np.full(resamples, np.nan))
        times_BX = np.concatenate([times_BG, added_BX], axis=1)
        gain_X = self.right_2X[0] - self.right_2X[1]
        is_real_X = np.arange(self.label_X.size) < self.scored
        return {
            "balanced_accuracy": self._mean_per_class(times_BX, gain_X, self.share_X),
            "auroc": self._areas(times_BX),
            "log_loss": self._mean_per_class(times_BX, self.loss_X, self.share_X * is_real_X),
        }

    def _mean_per_class(self, times_BX: Doubles, value_X: Doubles, share_X: Doubles) -> Doubles:
        """The mean over classes of the mean over groups."""
        sums_GK = np.zeros((times_BX.shape[1], self.groups_K.size))
        totals_GK = np.zeros_like(sums_GK)
        np.add.at(sums_GK, (self.group_X, self.label_X), share_X * value_X)
        np.add.at(totals_GK, (self.group_X, self.label_X), share_X)
        return mean_of_present(ratio(times_BX @ sums_GK, times_BX @ totals_GK))

    def _areas(self, times_BX: Doubles) -> Doubles:
        """The mean over classes of the difference of areas, each class against the others."""
        step = max(1, _BLOCK // self.label_X.size)
        is_added_X = np.arange(self.label_X.size) >= self.scored
        share_X = np.where(is_added_X, self.share_X * AREA_WEIGHT, self.share_X)
        parts = []
        for start in range(0, len(times_BX), step):
            weights_BX = times_BX[start : start + step, self.group_X] * share_X
            areas_KB = [
                area_under_roc(self.scores_2KX[0, k], self.label_X == k, weights_BX)
                - area_under_roc(self.scores_2KX[1, k], self.label_X == k, weights_BX)
                for k in range(self.groups_K.size)
            ]
            parts.append(mean_of_present(np.stack(areas_KB, axis=1)))
        return np.concatenate(parts)


def _paired(pair: ScorePair, number_N: Ints) -> _Paired:
    heads = (pair.first, pair.second)
    scored_N = np.isfinite(pair.first_NC).all(axis=1) & np.isfinite(pair.second_NC).all(axis=1)
    rows = np.flatnonzero(scored_N & heads[0].is_scored & heads[1].is_scored)
    first, second = (head.rows(rows) for head in heads)
    names = [first.classes[number] for number in np.unique(first.labels_N).tolist()]
    places = [[head.classes.index(name) for name in names] for head in (first, second)]
    label_N = np.searchsorted(np.unique(first.labels_N), first.labels_N)
    group_N, size = number_N[rows], len(names)
    pairs_P, pair_N, rows_P = np.unique(
        group_N * max(1, size) + label_N, return_inverse=True, return_counts=True
    )
    true_2N = np.stack(
        [
            shares_NC[rows, head.labels_N]
            for shares_NC, head in ((pair.first_NC, first), (pair.second_NC, second))
        ]
    )
    loss_2N = -np.log(np.maximum(true_2N, 1e-12))
    # Of two added rows per class the first head is right about one, and surer than about any row.
    own_KX = np.where(np.eye(size).repeat(2, axis=1) > 0, 2.0, -1.0)
    sign_X = np.tile([1.0, -1.0], size)
    added_2KX = np.stack([own_KX * sign_X, -own_KX * sign_X])
    scores_2KN = np.stack(
        [softmax(head.logits_NC)[:, of].T for head, of in zip((first, second), places, strict=True)]
    )
    right_2N = np.stack([head.guesses() == head.labels_N for head in (first, second)])
    groups = int(number_N.max(initial=-1)) + 1
    return _Paired(
        label_X=np.concatenate([label_N, np.arange(size).repeat(2)]),
        scores_2KX=np.concatenate([scores_2KN, added_2KX], axis=2),
        right_2X=np.concatenate([right_2N, np.stack([sign_X > 0, sign_X < 0])], axis=1).astype(
            np.float64
        ),
        loss_X=np.concatenate([loss_2N[0] - loss_2N[1], np.zeros(2 * size)]),
        share_X=np.concatenate([1 / rows_P[pair_N], np.full(2 * size, ADDED_WEIGHT)]),
        group_X=np.concatenate([group_N, groups + np.arange(2 * size)]),
        scored=len(rows),
        groups=len(np.unique(group_N)),
        groups_K=np.bincount(pairs_P % max(1, size), minlength=size),
    )


def _difference(
    label: str | None, metric: Metric, values_B: Doubles, heads: Sequence[_Paired]
) -> Difference:
    fewest = min(
        int(head.groups_K.min(initial=0 if head.groups_K.size < 2 else 10**9)) for head in heads
    )
    value = float(values_B[0]) if math.isfinite(values_B[0]) else None
    low = high = None
    verdict: Verdict = "cannot_tell"
    reason = f"a class has {in_groups(fewest)} with scores of both; an interval needs {MIN_GROUPS}"
    if any(head.groups_K.size < 2 for head in heads):
        reason = "no two classes have examples with scores of both"
    if value is not None and fewest >= MIN_GROUPS:
        # Of rates the added groups make up for the smaller class, and all groups count.
        low, high = _interval(values_B, fewest if metric == "log_loss" else 2 * fewest)
        better, worse = (low > 0, high < 0) if metric != "log_loss" else (high < 0, low > 0)
        verdict = "better" if better else "worse" if worse else "cannot_tell"
        reason = "the interval of the difference contains 0"
    return Difference(
        label=label,
        metric=metric,
        value=value,
        low=low,
        high=high,
        verdict=verdict,
        scored=max(head.scored for head in heads),
        groups=max(head.groups for head in heads),
        smallest_class_groups=fewest,
        cannot_tell_because=reason if verdict == "cannot_tell" else None,
    )


def _interval(values_B: Doubles, groups: int) -> tuple[float, float]:
    """The expanded percentile interval of the resamples, widened to hold the value itself."""
    tail = expanded_tail(groups)
    others_B = values_B[1:][np.isfinite(values_B[1:])]
    low, high = np.quantile(others_B, [tail, 1 - tail])
    return min(float(low), float(values_B[0])), max(float(high), float(values_B[0]))


def expanded_tail(groups: int, tail: float = TAIL) -> float:
    """The percentile that stands for ``tail`` with few groups: 0.1 % for 5, 2.4 % for 100."""
    from scipy.special import ndtr, stdtrit  # the import takes long

    wider = -math.sqrt(groups / (groups - 1)) * float(stdtrit(groups - 1, 1 - tail))
    return float(ndtr(wider))
