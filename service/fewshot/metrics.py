"""How good held-out scores are, per class and overall, with intervals that respect groups.

Frames of one group and class count once together. With too few groups a figure is left out, and the
result says how many more are needed. Intervals are percentile bootstraps over whole
groups, widened for few groups; shares of 0 and 1 have exact ones.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from service.arrays import Bools, Doubles, Ints
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut

RESAMPLES = 1000
MIN_RESAMPLES = 100  # with very many groups, whose intervals are narrow anyway
MIN_GROUPS = 5  # of a class, for a figure about it
MANY_CLASSES, RESAMPLES_OF_MANY = 20, 200  # each resample has a confusion matrix
_CELLS = 4_000_000  # of one block of resamples x rows, 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval: percentile bootstrap over groups."""

    value: float
    low: float
    high: float


def group_resamples(groups_N: Ints, seed: int = 0, resamples: int = RESAMPLES) -> Doubles:
    """(B + 1, G) how often each group is drawn; the first row is the sample itself.

    Groups are in the order of ``numpy.unique``.
    """
    groups = len(np.unique(groups_N))
    resamples = min(resamples, max(MIN_RESAMPLES, _CELLS // groups))
    rng = np.random.default_rng(seed)
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    return np.concatenate([np.ones((1, groups)), times_BG])


def estimate(values_B: Doubles, groups: int | None = None) -> Estimate:
    """The first value with the percentiles of the others; resamples of NaN are left out.

    No resample of rows that are all right has a wrong one: at 0 and 1 the bootstrap claims to be
    certain. There the exact binomial bound of so many independent groups takes its place (Clopper
    and Pearson 1934): 5 groups that are all right leave 0.48 to 1.

    Args:
        groups: independent groups behind a share; None = the figure is no share.
    """
    others_B = values_B[1:][np.isfinite(values_B[1:])]
    value = float(values_B[0])
    low, high = np.percentile(others_B, [2.5, 97.5]) if len(others_B) else (value, value)
    if groups is not None:
        widening = few_groups_factor(groups)
        low = max(0.0, value - widening * (value - low))
        high = min(1.0, value + widening * (high - value))
        if value in (0.0, 1.0):
            bound = 0.025 ** (1 / max(1, groups))
            low, high = (min(low, bound), high) if value else (low, max(high, 1 - bound))
    return Estimate(value, float(low), float(high))


def few_groups_factor(groups: int) -> float:
    """How much wider than its bootstrap a 95 % interval of so few groups is: 1.58 for 5.

    A bootstrap of G groups has a standard error that is too small by the root of (G - 1) / G, and
    takes normal quantiles for those of Student's t (Hesterberg 2015, "What teachers should know
    about the bootstrap", section 5.3).
    """
    degrees = max(1, groups - 1)
    return float(stdtrit(degrees, 0.975) / stdtrit(np.inf, 0.975) * np.sqrt(1 + 1 / degrees))


def over_rows(
    measure: Callable[[Doubles], Doubles],
    times_BG: Doubles,
    groups_N: Ints,
    shares_N: Doubles,
    *,
    independent: int | None = None,
) -> Estimate:
    """An estimate of a figure of row weights.

    Args: as ``weighted_figures``; ``independent`` as the groups of ``estimate``.
    """
    return estimate(weighted_figures(measure, times_BG, groups_N, shares_N), independent)


def weighted_figures(
    measure: Callable[[Doubles], Doubles], times_BG: Doubles, groups_N: Ints, shares_N: Doubles
) -> Doubles:
    """(B, ...) figures of the sample and of each resample.

    Args:
        measure: row weights (B, N) -> figures (B, ...); called on blocks of resamples.
        shares_N: weight of each row of the sample itself.
    """
    group_N = np.unique(groups_N, return_inverse=True)[1]
    step = max(1, _CELLS // max(1, len(groups_N)))
    figures = [
        measure(times_BG[start : start + step, group_N] * shares_N)
        for start in range(0, len(times_BG), step)
    ]
    return np.concatenate(figures)


def ratio(above_BX: Doubles, below_BX: Doubles) -> Doubles:
    """above / below, NaN where nothing is below."""
    safe_BX = np.where(below_BX > 0, below_BX, 1)
    shares_BX: Doubles = np.where(below_BX > 0, above_BX / safe_BX, np.nan)
    return shares_BX


def recalls(labels_N: Ints, guesses_N: Ints, classes: int) -> Doubles:
    """(C,) share of correct rows of each class; NaN for a class without rows.

    Args:
        guesses_N: -1 = no guess; such rows are left out.
    """
    scored_N = guesses_N >= 0
    totals_C = np.bincount(labels_N[scored_N], minlength=classes)
    right_C = np.bincount(labels_N[scored_N & (guesses_N == labels_N)], minlength=classes)
    shares_C: Doubles = np.where(totals_C > 0, right_C / np.maximum(totals_C, 1), np.nan)
    return shares_C


def balanced_accuracy(labels_N: Ints, guesses_N: Ints, classes: int) -> float:
    """Mean recall over the classes that have rows with a guess; 0 without any."""
    recalls_C = recalls(labels_N, guesses_N, classes)
    return float(np.nanmean(recalls_C)) if not np.isnan(recalls_C).all() else 0.0


def balanced_accuracy_estimate(
    labels_N: Ints,
    guesses_N: Ints,
    groups_N: Ints,
    classes: int,
    *,
    shares_N: Doubles | None = None,
    resamples: Doubles | None = None,
    seed: int = 0,
) -> Estimate:
    """Balanced accuracy with its interval; the mean is over the classes of each resample.

    Args:
        guesses_N: -1 = no guess; such rows are left out.
        shares_N: how much each row counts; None = 1 each.
        resamples: of ``group_resamples``; None = drawn by ``seed``.
    """
    times_BG = group_resamples(groups_N, seed) if resamples is None else resamples
    group_N = np.unique(groups_N, return_inverse=True)[1]
    weights_N = np.ones(len(labels_N)) if shares_N is None else shares_N
    totals_GC = np.zeros((times_BG.shape[1], classes))
    right_GC = np.zeros_like(totals_GC)
    scored_N, right_N = guesses_N >= 0, guesses_N == labels_N
    np.add.at(totals_GC, (group_N[scored_N], labels_N[scored_N]), weights_N[scored_N])
    np.add.at(right_GC, (group_N[right_N], labels_N[right_N]), weights_N[right_N])
    groups_C = (totals_GC > 0).sum(0)
    fewest = int(groups_C[groups_C > 0].min(initial=len(totals_GC)))
    return estimate(mean_of_present(ratio(times_BG @ right_GC, times_BG @ totals_GC)), fewest)


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class against the others; figures are None where ``not_evaluated_because`` says why.

    ``precision`` alone may be None too.

    Attributes:
        auroc: of the class's probability, the class against all others.
        precision: as if all classes were equally frequent.
        missing_groups: how many more groups (patients) of the class the figures need.
    """

    name: str
    examples: int
    groups: int
    recall: Estimate | None
    precision: Estimate | None
    auroc: Estimate | None
    not_evaluated_because: str | None
    missing_groups: int


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """Figures of held-out scores.

    Attributes:
        confusion: [true class][predicted class] -> rows.
        missing_groups: class -> how many more groups ``balanced_accuracy`` and ``auroc`` need.
        scored: rows that had scores.
    """

    classes: tuple[str, ...]
    balanced_accuracy: Estimate | None
    auroc: Estimate | None
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    not_evaluated_because: str | None
    missing_groups: dict[str, int]
    scored: int


def compute_metrics(held_out: HeldOut, *, seed: int = 0) -> ClassificationMetrics:
    """Figures of the rows that have scores.

    Args:
        held_out: ``Fit.scores.nested``, or logits of an evaluation set by a fitted head; for
            calibrated probabilities give their logarithm, which changes AUROC only.
    """
    scored = held_out.scored()
    missing_C = np.maximum(MIN_GROUPS - scored.groups_per_class(), 0)
    accuracy = auroc = None
    enough = not missing_C.any()
    if len(scored.labels_N):
        resamples = RESAMPLES if len(scored.classes) <= MANY_CLASSES else RESAMPLES_OF_MANY
        times_BG = group_resamples(scored.groups_N, seed, resamples)
        guesses_N, areas_BC = scored.logits_NC.argmax(1), _areas(scored, times_BG)
        table_BCC = _confusion(scored, guesses_N, times_BG)
        per_class = tuple(_per_class(scored, missing_C, table_BCC, areas_BC))
        if enough:
            accuracy = balanced_accuracy_estimate(
                scored.labels_N,
                guesses_N,
                scored.groups_N,
                len(scored.classes),
                shares_N=scored.shares(),
                resamples=times_BG,
            )
            auroc = estimate(mean_of_present(areas_BC), int(scored.groups_per_class().min()))
    else:
        per_class = tuple(_per_class(scored, missing_C, None, None))
    pairs = zip(held_out.classes, missing_C.tolist(), strict=True)
    return ClassificationMetrics(
        classes=held_out.classes,
        balanced_accuracy=accuracy,
        auroc=auroc,
        per_class=per_class,
        confusion=tuple(tuple(len(cell) for cell in row) for row in confusion_rows(scored)),
        not_evaluated_because=None if enough else f"a class has fewer than {MIN_GROUPS} groups",
        missing_groups={name: lacking for name, lacking in pairs if lacking},
        scored=len(scored.labels_N),
    )


def area_under_roc(scores_N: Doubles, positive_N: Bools, weights_BN: Doubles) -> Doubles:
    """(B,) chance that a positive row outscores a negative one, ties half; NaN without both."""
    order_N = np.argsort(scores_N, kind="stable")
    starts_U = np.unique(scores_N[order_N], return_index=True)[1]
    sorted_BN, positive_N = weights_BN[:, order_N], positive_N[order_N]
    above_BU = np.add.reduceat(sorted_BN * positive_N, starts_U, axis=1)
    below_BU = np.add.reduceat(sorted_BN * ~positive_N, starts_U, axis=1)
    beaten_BU = np.cumsum(below_BU, axis=1) - below_BU / 2
    won_B, all_B = (above_BU * beaten_BU).sum(1), above_BU.sum(1) * below_BU.sum(1)
    return ratio(won_B, all_B)


def _confusion(scored: HeldOut, guesses_N: Ints, times_BG: Doubles) -> Doubles:
    """(B, C, C) weight of each true and predicted class in each resample."""
    group_N = np.unique(scored.groups_N, return_inverse=True)[1]
    count = len(scored.classes)
    table_GCC = np.zeros((times_BG.shape[1], count, count))
    np.add.at(table_GCC, (group_N, scored.labels_N, guesses_N), scored.shares())
    table_BCC: Doubles = np.einsum("bg,gij->bij", times_BG, table_GCC, optimize=True)
    return table_BCC


def mean_of_present(values_BC: Doubles) -> Doubles:
    """(B,) mean over the classes of each resample; one without rows there is left out."""
    there_BC = np.isfinite(values_BC)
    return ratio(np.where(there_BC, values_BC, 0).sum(1), there_BC.sum(1).astype(np.float64))


def _areas(scored: HeldOut, times_BG: Doubles) -> Doubles:
    """(B, C) area under the ROC curve of each class against all others."""
    scores_NC = softmax(scored.logits_NC)

    def areas(weights_BN: Doubles) -> Doubles:
        of_class = [
            area_under_roc(scores_NC[:, c], scored.labels_N == c, weights_BN)
            for c in range(len(scored.classes))
        ]
        return np.stack(of_class, axis=1)

    return weighted_figures(areas, times_BG, scored.groups_N, scored.shares())


def _per_class(
    scored: HeldOut, missing_C: Ints, table_BCC: Doubles | None, areas_BC: Doubles | None
) -> Iterator[ClassMetrics]:
    """Args: table_BCC, areas_BC: None when no row has scores."""
    groups_C = scored.groups_per_class()
    examples_C = np.bincount(scored.labels_N, minlength=len(scored.classes))
    for c, name in enumerate(scored.classes):
        lacking, rest = int(missing_C[c]), int(groups_C.sum() - groups_C[c])
        recall = precision = auroc = reason = None
        if lacking or rest < MIN_GROUPS or table_BCC is None or areas_BC is None:
            where = "the class has" if lacking else "the other classes together have"
            reason = f"{where} fewer than {MIN_GROUPS} groups with scores"
        else:
            own = int(groups_C[c])
            recall, precision = _rates(table_BCC, c, own)
            if precision is None:
                reason = "no example with scores was given this class, so it has no precision"
            # As many pairs of a positive and a negative group are independent of each other.
            auroc = estimate(areas_BC[:, c], min(own, rest))
        yield ClassMetrics(
            name=name,
            examples=int(examples_C[c]),
            groups=int(groups_C[c]),
            recall=recall,
            precision=precision,
            auroc=auroc,
            not_evaluated_because=reason,
            missing_groups=lacking,
        )


def _rates(table_BCC: Doubles, chosen: int, groups: int) -> tuple[Estimate, Estimate | None]:
    """Recall, and precision at equal frequency of the classes; ``groups`` of the chosen one.

    A class that no row was given has no precision.
    """
    shares_BCC = ratio(table_BCC, np.broadcast_to(table_BCC.sum(2, keepdims=True), table_BCC.shape))
    called_BC = np.nan_to_num(shares_BCC[:, :, chosen])
    right_B = shares_BCC[:, chosen, chosen]
    precision_B = ratio(np.nan_to_num(right_B), called_BC.sum(1))
    precision = None if np.isnan(precision_B[0]) else estimate(precision_B, groups)
    return estimate(right_B, groups), precision


def confusion_rows(held_out: HeldOut) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """[true class][predicted class] -> numbers of the rows that have scores, ascending."""
    rows_N = np.flatnonzero(held_out.is_scored)
    labels_N, guesses_N = held_out.labels_N[rows_N], held_out.guesses()[rows_N]
    order_N = np.argsort(labels_N * len(held_out.classes) + guesses_N, kind="stable")
    cells: dict[tuple[int, int], list[int]] = {}
    for row, true, guess in zip(
        rows_N[order_N].tolist(),
        labels_N[order_N].tolist(),
        guesses_N[order_N].tolist(),
        strict=True,
    ):
        cells.setdefault((true, guess), []).append(row)
    count = range(len(held_out.classes))
    return tuple(tuple(tuple(cells.get((t, g), ())) for g in count) for t in count)
