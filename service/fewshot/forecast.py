"""What more examples would give: a learning curve and its inverse power law.

Shape suffixes: N examples, M sampled examples, R repeats, P points of a curve, C classes, T test
rows, V views of an example, K rows of the kernel.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from service.arrays import Doubles, Ints
from service.errors import InputError
from service.fewshot.crossval import DEFAULT_C, grouped_folds
from service.fewshot.head import TeachingViews, asked_and_views, unit_rows, unit_views
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.solver import LogisticProblem, kernel_logits, kernel_of

MIN_GROUPS = 8  # of each class: enough for three different sizes and a fold to score
REPEATS = 6
MORE = 10  # groups per class that are forecast
MAX_COST = 1000  # of the forecasts of one fit; the whole of it takes less than a second
_CURVE_COST = 100  # of one curve, and its groups x classes
MAX_CLASSES = 6  # for gains of single classes: each takes as long as the whole curve
_DECAYS = np.linspace(0.2, 1.0, 17)  # usual exponents; free ones overshoot on few points


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Balanced accuracy, on other groups, of heads fitted to so many groups per class."""

    groups_per_class: int
    balanced_accuracy: float


@dataclass(frozen=True, slots=True)
class ClassGain:
    """What ``MORE`` groups of one class alone would add to balanced accuracy."""

    gain: float
    gain_90: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Balanced accuracy against groups per class, and beyond.

    Attributes:
        curve: by ascending groups per class.
        now: by the law, with the present groups.
        with_more: by the law, with ``MORE`` more groups of every class.
        gain: ``with_more`` - ``now``, never below 0; ``gain_90`` is its 90 % interval over repeats.
        weakest_class: class of the lowest held-out recall.
        gain_per_class: class -> gain by ``MORE`` more groups of that class alone; empty with more
            than ``MAX_CLASSES`` classes.
        most_useful_class: class of the greatest gain; None when no class has any.
        not_forecast_because: None when there is a forecast.
        missing_groups: class -> number of missing groups.
    """

    curve: tuple[CurvePoint, ...]
    now: float | None
    with_more: float | None
    gain: float | None
    gain_90: tuple[float, float] | None
    weakest_class: str | None
    not_forecast_because: str | None
    missing_groups: dict[str, int]
    gain_per_class: dict[str, ClassGain] = field(default_factory=dict)
    most_useful_class: str | None = None
    more_groups_per_class: int = MORE


def forecast(
    rows: npt.NDArray[np.floating] | TeachingViews,
    held_out: HeldOut,
    *,
    each_class: bool = True,
    max_per_class: int | None = None,
    seed: int = 0,
) -> Forecast:
    """Fit heads to more and more groups, score them on other groups, and extrapolate.

    Args:
        rows: what was fitted; views teach, and are not asked.
        held_out: ``Fit.scores.nested`` of the same rows.
        each_class: whether to forecast the gains of single classes, which takes longer.
        max_per_class: greatest number of groups per class to use; None = all.

    Raises:
        InputError: lengths differ, or rows that are zero or not finite.
    """
    if len(rows) != len(held_out.labels_N):
        raise InputError(f"expected {len(held_out.labels_N)} rows, got {len(rows)}")
    groups_C = held_out.groups_per_class()
    lacking = {
        name: int(MIN_GROUPS - groups)
        for name, groups in zip(held_out.classes, groups_C, strict=True)
        if groups < MIN_GROUPS
    }
    if lacking:
        reason = f"a class has fewer than {MIN_GROUPS} groups"
        return Forecast((), None, None, None, None, None, reason, lacking)
    rows_M = _sample(held_out, max_per_class, seed)
    few = held_out.rows(rows_M)
    problem = _problem(rows, rows_M, few)
    own_groups_C, gains = few.groups_per_class().tolist(), {}
    # Many small problems: the threads of the products would only wait for each other.
    with threadpool_limits(1):
        kernel = _Kernel.of(problem)
        splits = list(_splits(problem, few.groups_N, seed))
        sizes_P = _sizes(min(own_groups_C))
        scores_RP = _curves(problem, kernel, splits, sizes_P)
        if each_class and len(few.classes) <= MAX_CLASSES:
            for c, groups in enumerate(own_groups_C):
                sizes_Q = _sizes(groups)
                scores_RQ = _curves(problem, kernel, splits, sizes_Q, only=c)
                gain, low, high = _gain(sizes_Q, scores_RQ, groups)[2:]
                gains[few.classes[c]] = ClassGain(gain, (low, high))
    useful = {name: gain.gain for name, gain in gains.items() if gain.gain > 0}
    now, more, gain, low, high = _gain(sizes_P, scores_RP, int(groups_C.min()))
    return Forecast(
        curve=tuple(map(CurvePoint, sizes_P.tolist(), scores_RP.mean(0).tolist())),
        now=now,
        with_more=more,
        gain=gain,
        gain_90=(low, high),
        weakest_class=_weakest(held_out),
        not_forecast_because=None,
        missing_groups={},
        gain_per_class=gains,
        most_useful_class=max(useful, key=useful.__getitem__) if useful else None,
    )


def _problem(
    rows: npt.NDArray[np.floating] | TeachingViews, rows_M: Ints, few: HeldOut
) -> LogisticProblem:
    asked_ND, views_NVD = asked_and_views(rows)
    views_MVR = None if views_NVD is None else unit_views(views_NVD[rows_M])
    unit_MR, classes = unit_rows(asked_ND[rows_M]), len(few.classes)
    return LogisticProblem(unit_MR, few.labels_N, classes, views_NVR=views_MVR)


class _Kernel(NamedTuple):
    """Products of all rows of a problem: those that are asked, then the views that teach."""

    rows: LogisticProblem
    kernel_KK: Doubles
    asked: int
    views: int  # of each row; 0 = the asked rows teach

    @classmethod
    def of(cls, problem: LogisticProblem) -> "_Kernel":
        if problem.views_NVR is None:
            return cls(problem, kernel_of(problem.rows_NR), problem.size, 0)
        views, taught = problem.views, problem.taught(np.arange(problem.size))
        rows = LogisticProblem(
            np.concatenate([problem.rows_NR, taught.rows_NR]),
            np.concatenate([problem.labels_N, taught.labels_N]),
            problem.classes,
            np.concatenate([np.ones(problem.size), np.full(taught.size, 1 / views)]),
        )
        return cls(rows, kernel_of(rows.rows_NR), problem.size, views)

    def teaching(self, rows_M: Ints) -> Ints:
        """The numbers of the rows that teach for some of the asked ones."""
        if not self.views:
            return rows_M
        numbers: Ints = self.asked + rows_M[:, None] * self.views + np.arange(self.views)
        return numbers.ravel()


class _Split(NamedTuple):
    """Test rows of one fold of one repeat, and the other rows by class, in drawn order."""

    repeat: int
    test: Ints
    by_class: list[Ints]


def _splits(problem: LogisticProblem, groups_N: Ints, seed: int) -> Iterator[_Split]:
    for repeat in range(REPEATS):
        rng = np.random.default_rng(seed + repeat)
        for test in grouped_folds(problem, groups_N, seed + repeat):
            train = rng.permutation(problem.without(test))
            by_class = [train[problem.labels_N[train] == c] for c in range(problem.classes)]
            yield _Split(repeat, test, by_class)


def _curves(
    problem: LogisticProblem,
    kernel: _Kernel,
    splits: Sequence[_Split],
    sizes_P: Ints,
    only: int | None = None,
) -> Doubles:
    """(R, P) held-out balanced accuracy, per repeat, of heads taught with so many rows per class.

    Args:
        only: class of which so many rows teach; the others teach with all of theirs. None = all.
    """
    guesses_RPN = np.full((REPEATS, len(sizes_P), problem.size), -1)
    for p, size in enumerate(sizes_P.tolist()):
        fits = []
        for _, test, by_class in splits:
            parts = [rows[:size] if only in (None, c) else rows for c, rows in enumerate(by_class)]
            fits.append((kernel.teaching(np.concatenate(parts)), test))
        logits = kernel_logits(kernel.rows, kernel.kernel_KK, fits, DEFAULT_C)
        for split, logits_TC in zip(splits, logits, strict=True):
            guesses_RPN[split.repeat, p, split.test] = logits_TC.argmax(1)
    labels_N, classes = problem.labels_N, problem.classes
    guesses_XN = guesses_RPN.reshape(-1, problem.size)
    scores_X = [balanced_accuracy(labels_N, guesses_N, classes) for guesses_N in guesses_XN]
    return np.array(scores_X).reshape(REPEATS, len(sizes_P))


def _sample(held_out: HeldOut, max_per_class: int | None, seed: int) -> Ints:
    """Row numbers, one per group and class, in their order, at most so many of each class."""
    rows_M = held_out.one_row_per_group(seed)
    if max_per_class is None:
        return rows_M
    drawn_M = np.random.default_rng(seed).permutation(len(rows_M))
    labels_M = held_out.labels_N[rows_M[drawn_M]]
    parts = [drawn_M[labels_M == c][:max_per_class] for c in range(len(held_out.classes))]
    chosen_M: Ints = rows_M[np.sort(np.concatenate(parts))]
    return chosen_M


def affordable_forecasts(
    rows: npt.NDArray[np.floating] | TeachingViews, heads: Mapping[str | None, HeldOut]
) -> dict[str | None, Forecast]:
    """The forecast of each head, from a sample of examples that keeps a fit fast.

    Gains of single classes are left out when they would take too long, and whole forecasts when
    there are too many classes or labels.

    Args:
        rows: what was fitted; each view takes the time of a row.
        heads: label -> ``Fit.scores.nested`` of the same rows.

    Raises:
        InputError: as ``forecast``.
    """
    budget = MAX_COST // len(heads)
    each = rows.views if isinstance(rows, TeachingViews) else 1
    forecasts = {}
    for label, held_out in heads.items():
        classes, groups_C = len(held_out.classes), held_out.groups_per_class()
        curve_cost = _CURVE_COST + int(groups_C.sum()) * classes * each
        max_per_class = (budget - _CURVE_COST) // (classes**2 * each)
        if each > 1 and len(heads) * classes**2 <= MAX_CLASSES**2:
            # Measured with 7 views: 6 classes of so few groups take half a second.
            max_per_class = max(max_per_class, MIN_GROUPS)
        if max_per_class < MIN_GROUPS <= groups_C.min():
            reason = "too many classes or labels to forecast within a fit"
            forecasts[label] = Forecast((), None, None, None, None, None, reason, {})
            continue
        forecasts[label] = forecast(
            rows,
            held_out,
            each_class=curve_cost * (classes + 1) <= budget,
            max_per_class=max_per_class,
        )
    return forecasts


def _sizes(fewest: int) -> Ints:
    """Up to four numbers of groups per class, the last as many as cross-validation leaves."""
    most = max(3, int(fewest * 0.8))
    sizes_P: Ints = np.unique(np.geomspace(2, most, 4).round().astype(np.int64))
    return sizes_P


def power_law(sizes_P: Doubles, scores_P: Doubles) -> tuple[float, float, float]:
    """Least squares of score = best - drop size^-decay with drop >= 0 and best <= 1.

    Returns:
        best, drop, decay.
    """
    fits = []
    for decay in _DECAYS:
        powers_P = sizes_P**-decay
        table_P2 = np.stack([np.ones_like(powers_P), -powers_P], axis=1)
        best, drop = np.linalg.lstsq(table_P2, scores_P, rcond=None)[0]
        if drop < 0:
            best, drop = scores_P.mean(), 0.0
        if best > 1:
            best = 1.0
            drop = max(0.0, float(((1 - scores_P) @ powers_P) / (powers_P @ powers_P)))
        error = float(((best - drop * powers_P - scores_P) ** 2).sum())
        fits.append((error, float(best), float(drop), float(decay)))
    return min(fits)[1:]


def _gain(
    sizes_P: Ints, scores_RP: Doubles, groups: int
) -> tuple[float, float, float, float, float]:
    """By the law: now, with more, the gain, and its 5th and 95th percentile over repeats."""
    wide_P = sizes_P.astype(np.float64)

    def now_and_more(scores_P: Doubles) -> tuple[float, float]:
        best, drop, decay = power_law(wide_P, scores_P)
        now, more = (best - drop * size**-decay for size in (groups, groups + MORE))
        return float(now), float(more)

    now, more = now_and_more(scores_RP.mean(0))
    gains = [b - a for a, b in (now_and_more(scores_P) for scores_P in scores_RP)]
    low, high = np.percentile(gains, [5, 95]).tolist()
    return round(now, 4), round(more, 4), round(more - now, 4), round(low, 4), round(high, 4)


def _weakest(held_out: HeldOut) -> str | None:
    scored = held_out.scored()
    if not len(scored.labels_N):
        return None
    right_N = scored.logits_NC.argmax(1) == scored.labels_N
    shares_N, count = scored.shares(), len(scored.classes)
    total_C = np.bincount(scored.labels_N, weights=shares_N, minlength=count)
    right_C = np.bincount(scored.labels_N, weights=shares_N * right_N, minlength=count)
    recalls_C = np.where(total_C > 0, right_C / np.maximum(total_C, 1e-12), np.inf)
    return held_out.classes[int(recalls_C.argmin())]
