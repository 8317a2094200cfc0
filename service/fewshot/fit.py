"""Labelled embeddings -> a linear head and an honest account of how good it is.

Shape suffixes: N examples, C classes, D embedding width, R rank of the examples.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from service.errors import InputError, NotEnoughExamples
from service.fewshot.head import LinearHead, unit_rows
from service.fewshot.solve import Problem

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Fold: TypeAlias = tuple[Ints, Ints]

GRID = (1.0, 10.0, 100.0)  # inverse strength of the L2 penalty, sklearn's C
DEFAULT_C = 10.0
MAX_FOLDS = 5
FEW_GROUPS = 5
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the head was fitted and what grouped cross-validation says of it.

    Attributes:
        balanced_accuracy: mean recall over classes on held-out groups; None when it cannot be
            judged, with ``not_judged_because``.
        interval_95: percentile bootstrap over groups of the held-out predictions.
        confusion: counts, rows = true class, columns = predicted, in the order of ``classes``.
        chance: balanced accuracy of guessing.
    """

    classes: tuple[str, ...]
    examples_per_class: dict[str, int]
    groups_per_class: dict[str, int]
    regularisation_c: float
    c_chosen_by: str
    n_folds: int
    balanced_accuracy: float | None
    interval_95: tuple[float, float] | None
    not_judged_because: str | None
    recall_per_class: dict[str, float] | None
    confusion: tuple[tuple[int, ...], ...] | None
    chance: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "classes": list(self.classes),
            "examples_per_class": self.examples_per_class,
            "groups_per_class": self.groups_per_class,
            "regularisation_c": self.regularisation_c,
            "c_chosen_by": self.c_chosen_by,
            "n_folds": self.n_folds,
            "balanced_accuracy": self.balanced_accuracy,
            "interval_95": None if self.interval_95 is None else list(self.interval_95),
            "interval_method": f"percentile bootstrap over groups, {RESAMPLES} resamples",
            "not_judged_because": self.not_judged_because,
            "recall_per_class": self.recall_per_class,
            "confusion": None if self.confusion is None else [list(r) for r in self.confusion],
            "chance": self.chance,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head with its report.

    Attributes:
        held_out_N: for each example, in the caller's order, the number in ``head.classes`` that
            a head without its group gave it; -1 = not judged.
    """

    head: LinearHead
    report: FitReport
    held_out_N: Ints


def fit(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    encoder_id: str,
    seed: int = 0,
) -> Fit:
    """Fit class-balanced multinomial logistic regression on unit-length embeddings.

    C is chosen by cross-validation over groups; the reported accuracy comes from an outer
    cross-validation in which C is chosen again without the fold that is judged.

    Args:
        embeddings_ND: one row per example.
        labels: N class names.
        groups: N patients, studies or images that must not be on both sides of a split.

    Raises:
        NotEnoughExamples: fewer than two classes.
        InputError: lengths differ, or rows are zero or not finite.
    """
    task = _task(embeddings_ND, labels, groups)
    # One small problem per request: BLAS threads would only fight those of other requests.
    with threadpool_limits(1):
        return _fit(task, encoder_id, seed)


def fit_head(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    encoder_id: str,
    seed: int = 0,
) -> LinearHead:
    """The head that ``fit`` gives, without judging it: for studies that hold out data themselves.

    Raises:
        NotEnoughExamples: fewer than two classes.
        InputError: lengths differ, or rows are zero or not finite.
    """
    task = _task(embeddings_ND, labels, groups)
    with threadpool_limits(1):
        return _head(task, _folds(task.problem, task.groups_N, seed), encoder_id)[0]


@dataclass(frozen=True)
class _Task:
    """Checked examples in an order that the upload cannot change.

    The solution of an L2 problem lies in the span of its rows, so rotating them to at most N
    dimensions (``axes_RD``) changes no prediction and makes every fit cheaper.
    """

    problem: Problem
    groups_N: Ints
    classes: tuple[str, ...]
    axes_RD: Doubles
    order_N: Ints


def _task(
    embeddings_ND: npt.NDArray[np.floating], labels: Sequence[str], groups: Sequence[str]
) -> _Task:
    if not len(embeddings_ND) == len(labels) == len(groups):
        raise InputError(
            f"expected one label and group per row, got {len(embeddings_ND)} rows, "
            f"{len(labels)} labels, {len(groups)} groups"
        )
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise NotEnoughExamples(f"expected examples of at least 2 classes, got {len(classes)}")
    # The order of the upload must not change the folds.
    keys = [(groups[i], labels[i], embeddings_ND[i].tobytes()) for i in range(len(labels))]
    order_N = np.array(sorted(range(len(labels)), key=keys.__getitem__))
    unit_ND = unit_rows(np.asarray(embeddings_ND)[order_N])
    labels_N = np.array([classes.index(labels[i]) for i in order_N])
    groups_N = np.unique([groups[i] for i in order_N], return_inverse=True)[1]
    with threadpool_limits(1):
        axes_RD = np.linalg.svd(unit_ND, full_matrices=False)[2]
        problem = Problem(unit_ND @ axes_RD.T, labels_N, len(classes))
    return _Task(problem, groups_N, classes, axes_RD, order_N)


def _head(task: _Task, folds: list[Ints], encoder_id: str) -> tuple[LinearHead, float]:
    chosen_c = _choose_c(task.problem, folds) if folds else DEFAULT_C
    weights_CR, bias_C = task.problem.solve(np.arange(task.problem.size), chosen_c)
    weights_CD = (weights_CR @ task.axes_RD).astype(np.float32)
    return LinearHead(encoder_id, task.classes, weights_CD, bias_C.astype(np.float32)), chosen_c


def _fit(task: _Task, encoder_id: str, seed: int) -> Fit:
    folds = _folds(task.problem, task.groups_N, seed)
    head, chosen_c = _head(task, folds, encoder_id)
    guesses_N = _held_out(task.problem, folds)
    report = _report(
        task.problem.labels_N, task.groups_N, guesses_N, task.classes, chosen_c, len(folds), seed
    )
    held_out_N = np.empty_like(guesses_N)
    held_out_N[task.order_N] = guesses_N
    return Fit(head, report, held_out_N)


def _folds(problem: Problem, groups_N: Ints, seed: int) -> list[Ints]:
    """Test rows of each stratified fold, groups intact; none when a class has a single group.

    A fold whose training part would lack a class is left out: its rows stay unjudged.
    """
    labels_N, classes = problem.labels_N, problem.classes
    fewest = min(len(set(groups_N[labels_N == c])) for c in range(classes))
    if fewest < 2:
        return []
    splitter = StratifiedGroupKFold(min(MAX_FOLDS, fewest), shuffle=True, random_state=seed)
    found = splitter.split(problem.rows_NR, labels_N, groups_N)
    return [test for train, test in found if len(test) and problem.has_all_classes(train)]


def _choose_c(problem: Problem, folds: list[Ints]) -> float:
    """The C of the best held-out balanced accuracy; of equals the strongest penalty."""
    scores = []
    for c in GRID:
        guesses_N = np.full(problem.size, -1)
        for test in folds:
            guesses_N[test] = problem.predict(problem.without(test), test, c)
        scores.append(_balanced(problem.labels_N, guesses_N, problem.classes))
    return GRID[int(np.argmax(scores))]


def _held_out(problem: Problem, folds: list[Ints]) -> Ints:
    """Prediction of each example by a head that saw nothing of its fold; -1 = not judged.

    C is chosen for each fold from the others alone. A head fitted without folds i and j serves
    the choice for both, which halves the work.
    """
    inner = {
        (i, j, c): _guess_pair(problem, folds[i], folds[j], c)
        for i, j in combinations(range(len(folds)), 2)
        for c in GRID
    }
    guesses_N = np.full(problem.size, -1)
    for i, test in enumerate(folds):
        scores = []
        for c in GRID:
            chosen_N = np.full(problem.size, -1)
            for j in range(len(folds)):
                if j != i:
                    chosen_N[folds[j]] = inner[min(i, j), max(i, j), c][folds[j]]
            scores.append(_balanced(problem.labels_N, chosen_N, problem.classes))
        c = GRID[int(np.argmax(scores))] if max(scores) > 0 else DEFAULT_C
        guesses_N[test] = problem.predict(problem.without(test), test, c)
    return guesses_N


def _guess_pair(problem: Problem, one: Ints, other: Ints, c: float) -> Ints:
    """Predictions (N,) of both folds by a head fitted without them; -1 where there is none."""
    guesses_N = np.full(problem.size, -1)
    both = np.concatenate([one, other])
    train = problem.without(both)
    if problem.has_all_classes(train):
        guesses_N[both] = problem.predict(train, both, c)
    return guesses_N


def _recalls(labels_N: Ints, guesses_N: Ints, classes: int) -> Doubles:
    """Share of each class's judged examples that is right; NaN for a class without any."""
    judged_N = guesses_N >= 0
    totals_C = np.bincount(labels_N[judged_N], minlength=classes)
    right_C = np.bincount(labels_N[judged_N & (guesses_N == labels_N)], minlength=classes)
    shares_C: Doubles = np.where(totals_C > 0, right_C / np.maximum(totals_C, 1), np.nan)
    return shares_C


def _balanced(labels_N: Ints, guesses_N: Ints, classes: int) -> float:
    recalls_C = _recalls(labels_N, guesses_N, classes)
    return float(np.nanmean(recalls_C)) if not np.isnan(recalls_C).all() else 0.0


def _interval(
    labels_N: Ints, groups_N: Ints, guesses_N: Ints, classes: int, seed: int
) -> tuple[float, float]:
    """Resample whole groups: frames of one patient are not independent."""
    rng = np.random.default_rng(seed)
    judged_N = guesses_N >= 0
    group_ids = np.unique(groups_N, return_inverse=True)[1]
    totals_GC = np.zeros((group_ids.max() + 1, classes))
    right_GC = np.zeros_like(totals_GC)
    np.add.at(totals_GC, (group_ids[judged_N], labels_N[judged_N]), 1)
    right_N = judged_N & (guesses_N == labels_N)
    np.add.at(right_GC, (group_ids[right_N], labels_N[right_N]), 1)
    groups = len(totals_GC)
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES)
    totals_BC, right_BC = times_BG @ totals_GC, times_BG @ right_GC
    # A resample may miss a class: its recall is then left out of that resample's mean.
    present_BC = totals_BC > 0
    recalls_BC = right_BC / np.maximum(totals_BC, 1)
    scores_B = recalls_BC.sum(1) / np.maximum(present_BC.sum(1), 1)
    low, high = np.percentile(scores_B, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def _report(
    labels_N: Ints,
    groups_N: Ints,
    guesses_N: Ints,
    classes: tuple[str, ...],
    chosen_c: float,
    n_folds: int,
    seed: int,
) -> FitReport:
    count = len(classes)
    recalls_C = _recalls(labels_N, guesses_N, count)
    judged = n_folds > 0 and not np.isnan(recalls_C).any()
    groups_per_class = {name: len(set(groups_N[labels_N == c])) for c, name in enumerate(classes)}
    return FitReport(
        classes=classes,
        examples_per_class={n: int((labels_N == c).sum()) for c, n in enumerate(classes)},
        groups_per_class=groups_per_class,
        regularisation_c=chosen_c,
        c_chosen_by="grouped cross-validation" if n_folds else "default: too few groups",
        n_folds=n_folds,
        balanced_accuracy=round(float(recalls_C.mean()), 4) if judged else None,
        interval_95=_interval(labels_N, groups_N, guesses_N, count, seed) if judged else None,
        not_judged_because=None if judged else "a class has examples of a single group only",
        recall_per_class=_named(classes, recalls_C) if judged else None,
        confusion=_confusion(labels_N, guesses_N, count) if judged else None,
        chance=round(1 / count, 4),
        warnings=tuple(_warnings(groups_per_class)),
    )


def _named(classes: tuple[str, ...], values_C: Doubles) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(classes, values_C, strict=True)}


def _confusion(labels_N: Ints, guesses_N: Ints, classes: int) -> tuple[tuple[int, ...], ...]:
    judged_N = guesses_N >= 0
    cells = Counter(zip(labels_N[judged_N].tolist(), guesses_N[judged_N].tolist(), strict=True))
    return tuple(tuple(cells[row, column] for column in range(classes)) for row in range(classes))


def _warnings(groups_per_class: dict[str, int]) -> Iterator[str]:
    for name, groups in groups_per_class.items():
        if groups < FEW_GROUPS:
            yield f"class {name!r} has examples of {groups} group(s); fewer than {FEW_GROUPS}"
