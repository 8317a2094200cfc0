"""Labelled embeddings -> a linear head and an honest account of how good it is.

Shape suffixes: N examples, C classes, D embedding width, R rank of the examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from service.errors import InputError, NotEnoughExamples
from service.fewshot.crossval import (
    LEAST_TO_CHOOSE,
    choose_c,
    cross_validate,
    grid_for,
    grouped_folds,
    guesses,
)
from service.fewshot.duplicates import fingerprints
from service.fewshot.head import LinearHead, unit_rows
from service.fewshot.heldout import HeldOut
from service.fewshot.large import LARGE, examined, slim_unit_rows
from service.fewshot.report import FitReport, of_a_sample, report
from service.fewshot.solve import LogisticProblem
from service.fewshot.weights import Counted, class_weights, counts_of

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Name = TypeVar("Name", str, bytes)

MAX_CLASS_NAME = 200  # characters


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head with its report.

    Attributes:
        held_out_N: for each example, in the caller's order, the number in ``head.classes`` that
            a head without its group gave it; -1 = not judged.
        held_out: the scores behind ``held_out_N``, C chosen without the row's fold: for judging.
        for_calibration: scores at the C of ``head``, whose scale is that of its own logits.
    """

    head: LinearHead
    report: FitReport
    held_out_N: Ints
    held_out: HeldOut
    for_calibration: HeldOut


def fit(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    encoder_id: str,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
) -> Fit:
    """Fit class-balanced multinomial logistic regression on unit-length embeddings.

    C is 10 where a class has fewer than 100 groups; else it is chosen by cross-validation over
    groups, and again, for the reported accuracy, without the fold that is judged.

    Args:
        embeddings_ND: one row per example.
        labels: N class names.
        groups: N patients, studies or images that must not be on both sides of a split.
        weights: class -> how much it counts beside the others; None = all the same.
        counted: whether the frames of one group and class count once together, or one by one.

    Raises:
        NotEnoughExamples: fewer than two classes.
        InputError: lengths differ, a class name is empty or too long, a weight of no class or out
            of range, or rows are zero or not finite.
    """
    task = _task(embeddings_ND, labels, groups, weights, counted)
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
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
) -> LinearHead:
    """The head that ``fit`` gives, without judging it: for studies that hold out data themselves.

    Raises:
        NotEnoughExamples, InputError: as ``fit``.
    """
    task = _task(embeddings_ND, labels, groups, weights, counted)
    with threadpool_limits(1):
        rows_M = examined(task.problem, seed)
        part, groups_M = task.problem.part(rows_M), task.groups_N[rows_M]
        folds = grouped_folds(part, groups_M, seed)
        return _head(task, choose_c(part, folds, grid_for(part, groups_M)), encoder_id)


@dataclass(frozen=True)
class _Task:
    """Checked examples in an order that the upload cannot change.

    The solution of an L2 problem lies in the span of its rows, so rotating them to at most N
    dimensions (``axes_RD``) changes no prediction and makes every fit cheaper.
    """

    problem: LogisticProblem
    groups_N: Ints
    classes: tuple[str, ...]
    axes_RD: Doubles
    order_N: Ints


def _task(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[str],
    groups: Sequence[str],
    weights: Mapping[str, float] | None,
    counted: Counted,
) -> _Task:
    if not len(embeddings_ND) == len(labels) == len(groups):
        raise InputError(
            f"expected one label and group per row, got {len(embeddings_ND)} rows, "
            f"{len(labels)} labels, {len(groups)} groups"
        )
    classes = _classes(labels)
    large = len(labels) > LARGE
    labels_N, groups_N = _numbered(labels), _numbered(groups)
    # The order of the upload must not change the folds.
    rows_N = (
        fingerprints(embeddings_ND) if large else _numbered([r.tobytes() for r in embeddings_ND])
    )
    order_N = np.lexsort((rows_N, labels_N, groups_N))
    labels_N, groups_N = labels_N[order_N], groups_N[order_N]
    weights_C = class_weights(classes, weights)
    if large:
        rows_NR: npt.NDArray[np.floating] = slim_unit_rows(np.asarray(embeddings_ND), order_N)
        axes_RD = np.eye(rows_NR.shape[1])  # more rows than axes: nothing to gain by rotating
    else:
        rows_NR, axes_RD = _rotated(unit_rows(np.asarray(embeddings_ND)[order_N]))
    counts_N = counts_of(labels_N, groups_N, counted)
    problem = LogisticProblem(rows_NR, labels_N, len(classes), counts_N, weights_C)
    return _Task(problem, groups_N, classes, axes_RD, order_N)


def _rotated(unit_ND: Doubles) -> tuple[Doubles, Doubles]:
    """Rows in their own span (N, R), and the axes of it (R, D)."""
    with threadpool_limits(1):
        axes_RD: Doubles = np.linalg.svd(unit_ND, full_matrices=False)[2]
        return unit_ND @ axes_RD.T, axes_RD


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise NotEnoughExamples(f"expected examples of at least 2 classes, got {len(classes)}")
    longest = max(len(name) for name in classes)
    if longest > MAX_CLASS_NAME or not all(name.strip() for name in classes):
        raise InputError(
            f"expected class names of 1 to {MAX_CLASS_NAME} characters that are not blank, "
            f"the longest has {longest}"
        )
    return classes


def _numbered(names: Sequence[Name]) -> Ints:
    """(N,) the place of each name, or of a row's bytes, among the sorted different ones."""
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.fromiter((places[name] for name in names), np.int64, len(names))


def _head(task: _Task, c: float, encoder_id: str) -> LinearHead:
    weights_CR, bias_C = task.problem.solve(np.arange(task.problem.size), c)
    weights_CD = (weights_CR @ task.axes_RD).astype(np.float32)
    return LinearHead(encoder_id, task.classes, weights_CD, bias_C.astype(np.float32))


def _fit(task: _Task, encoder_id: str, seed: int) -> Fit:
    rows_M = examined(task.problem, seed)
    part, groups_M = task.problem.part(rows_M), task.groups_N[rows_M]
    grid = grid_for(part, groups_M)
    found = cross_validate(part, grouped_folds(part, groups_M, seed), grid)
    guesses_M = guesses(found.nested_NC)
    head = _head(task, found.chosen_c, encoder_id)
    made = report(
        part.labels_N, groups_M, guesses_M, task.classes, found.chosen_c, found.n_folds, seed
    )
    if len(grid) == 1:
        made = replace(
            made, c_chosen_by=f"default: a class has fewer than {LEAST_TO_CHOOSE} groups"
        )
    if part.size < task.problem.size:
        made = of_a_sample(made, task.problem.labels_N, task.groups_N)
    made = replace(made, **_counted(task))
    guesses_N = np.full(task.problem.size, -1)
    guesses_N[rows_M] = guesses_M
    return Fit(
        head,
        made,
        _restored(task, guesses_N),
        _held_out(task, rows_M, found.nested_NC),
        _held_out(task, rows_M, found.chosen_NC),
    )


def _counted(task: _Task) -> dict[str, Any]:
    """What counted how much, for the report."""
    weights_C = task.problem.class_weights_C
    given = None if weights_C is None else zip(task.classes, weights_C.tolist(), strict=True)
    return {
        "groups": len(np.unique(task.groups_N)),
        "effective_examples": round(float(task.problem.shares(np.arange(task.problem.size)).sum())),
        "class_weights": given and {name: round(weight, 6) for name, weight in given},
    }


def _held_out(task: _Task, rows_M: Ints, logits_MC: Doubles) -> HeldOut:
    logits_NC = np.full((task.problem.size, len(task.classes)), np.nan)
    logits_NC[rows_M] = logits_MC
    return HeldOut(
        task.classes,
        _restored(task, logits_NC),
        _restored(task, task.problem.labels_N),
        _restored(task, task.groups_N),
        task.problem.class_weights_C,
    )


def _restored(task: _Task, values_N: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows in the caller's order."""
    given_N = np.empty_like(values_N)
    given_N[task.order_N] = values_N
    return given_N
