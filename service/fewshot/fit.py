"""Fit a linear head to labelled embeddings, and measure how good it is.

The head is fitted to all examples. With very many, a drawn sample serves to choose the penalty and
to evaluate the head; heads of all other examples then score the sample for calibration.

Shape suffixes: N examples, M sampled examples, C classes, D embedding width, R rank of the
examples, V views of an example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from service.arrays import Doubles, Floats, Ints
from service.errors import InputError, NotEnoughExamples
from service.fewshot.crossval import (
    MIN_GROUPS_TO_CHOOSE,
    CrossValidation,
    choose_c,
    cross_validate,
    grid_for,
    grouped_folds,
)
from service.fewshot.duplicates import fingerprints
from service.fewshot.head import (
    LinearHead,
    TeachingViews,
    asked_and_views,
    unit_rows,
    unit_views,
)
from service.fewshot.heldout import HeadScores, HeldOut, guesses, shares_of_pairs
from service.fewshot.large_fits.samples import LARGE, logits_of_all, sample_rows
from service.fewshot.large_fits.slim_rows import slim_unit_rows
from service.fewshot.report import FitReport, fit_report, sample_report
from service.fewshot.semi_supervision.semi_supervised import (
    NumberedScans,
    SemiSupervised,
    UnlabelledReport,
    UnlabelledScans,
    with_unlabelled,
)
from service.fewshot.solver import LogisticProblem

Counted: TypeAlias = Literal["groups", "frames"]
Name = TypeVar("Name", str, bytes)

MAX_CLASS_NAME = 128  # characters
MAX_CLASSES = 1000
MAX_WEIGHT_RATIO = 1000.0  # between two classes; beyond it one would be ignored


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted head with its report and its out-of-fold scores, rows in the caller's order."""

    head: LinearHead
    report: FitReport
    scores: HeadScores


def fit(
    embeddings_ND: npt.NDArray[np.floating] | TeachingViews,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    encoder_id: str,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
    unlabelled: UnlabelledScans | None = None,
) -> Fit:
    """Fit class-balanced multinomial logistic regression on unit-length embeddings.

    C is 10 when a class has fewer than 100 groups. Otherwise cross-validation over groups chooses
    it, and for the reported accuracy chooses it again without the fold that is scored.

    Args:
        embeddings_ND: one row per example, or its views and the row that it is asked with.
        labels: N class names.
        groups: N patients, studies or images that must not be on both sides of a split.
        weights: class -> weight relative to the others; None = all the same.
        counted: whether the frames of one group and class count once together, or one by one.
        unlabelled: scans that teach the head too where that helps (``semi_supervised``).

    Raises:
        NotEnoughExamples: fewer than two classes.
        InputError: lengths differ, too many classes, a class name is blank or too long, a weight
            of no class or out of range, or rows are zero or not finite.
    """
    task = _task(embeddings_ND, labels, groups, weights, counted)
    scans = None if unlabelled is None else NumberedScans.of(unlabelled, groups)
    # One small problem per request: BLAS threads would only compete with other requests.
    with threadpool_limits(1):
        return _fit(task, encoder_id, seed, scans)


def fit_head(
    embeddings_ND: npt.NDArray[np.floating] | TeachingViews,
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    encoder_id: str,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
) -> LinearHead:
    """The head of ``fit`` without its evaluation, for studies with held-out data.

    Raises:
        NotEnoughExamples, InputError: as ``fit``.
    """
    task = _task(embeddings_ND, labels, groups, weights, counted)
    with threadpool_limits(1):
        rows_M = sample_rows(task.problem, task.groups_N, seed)
        part, groups_M = task.problem.part(rows_M), task.groups_N[rows_M]
        folds = grouped_folds(part, groups_M, seed)
        return _head(task, choose_c(part, folds, grid_for(part, groups_M)), encoder_id)


@dataclass(frozen=True)
class _Task:
    """Checked examples in an order that the upload cannot change.

    The solution of an L2 problem lies in the span of its rows. Rotating the rows to at most N
    dimensions (``axes_RD``) therefore changes no prediction, and every fit is cheaper.
    """

    problem: LogisticProblem
    groups_N: Ints
    classes: tuple[str, ...]
    axes_RD: Doubles
    order_N: Ints


def _task(
    embeddings: npt.NDArray[np.floating] | TeachingViews,
    labels: Sequence[str],
    groups: Sequence[str],
    weights: Mapping[str, float] | None,
    counted: Counted,
) -> _Task:
    if not len(embeddings) == len(labels) == len(groups):
        raise InputError(
            f"expected one label and group per row, got {len(embeddings)} rows, "
            f"{len(labels)} labels, {len(groups)} groups"
        )
    classes = _classes(labels)
    embeddings_ND, views_NVD = asked_and_views(embeddings)
    large = _is_large(embeddings)
    labels_N, groups_N = _numbered(labels), _numbered(groups)
    # The order of the upload must not change the folds.
    rows_N = (
        fingerprints(embeddings_ND) if large else _numbered([r.tobytes() for r in embeddings_ND])
    )
    order_N = np.lexsort((rows_N, labels_N, groups_N))
    labels_N, groups_N = labels_N[order_N], groups_N[order_N]
    weights_C = class_weights(classes, weights)
    views_NVR: npt.NDArray[np.floating] | None = None
    if large:
        rows_NR: npt.NDArray[np.floating] = slim_unit_rows(embeddings_ND, order_N)
        axes_RD = np.eye(rows_NR.shape[1])  # there are more rows than axes: rotation gains nothing
        views_NVR = None if views_NVD is None else _slim_views(views_NVD, order_N)
    elif views_NVD is None:
        rows_NR, axes_RD = _rotated(unit_rows(embeddings_ND[order_N]))
    else:  # the solution lies in the span of the views; the rest of a row changes no score
        views_NVR, axes_RD = _rotated(unit_views(views_NVD[order_N]))
        rows_NR = unit_rows(embeddings_ND[order_N]) @ axes_RD.T
    counts_N = counts_of(labels_N, groups_N, counted)
    problem = LogisticProblem(rows_NR, labels_N, len(classes), counts_N, weights_C, views_NVR)
    return _Task(problem, groups_N, classes, axes_RD, order_N)


def _is_large(rows: npt.NDArray[np.floating] | TeachingViews) -> bool:
    """Whether so many rows teach that a sample of the examples is scored."""
    views = rows.views if isinstance(rows, TeachingViews) else 1
    return len(rows) * views > LARGE


def _rotated(unit: Doubles) -> tuple[Doubles, Doubles]:
    """Rows (N, D), or views (N, V, D), in their own span (.., R), and the axes of it (R, D)."""
    flat_ND = unit.reshape(-1, unit.shape[-1])
    with threadpool_limits(1):
        axes_RD: Doubles = np.linalg.svd(flat_ND, full_matrices=False)[2]
        return unit @ axes_RD.T, axes_RD


def _slim_views(views_NVD: npt.NDArray[np.floating], order_N: Ints) -> Floats:
    _, views, width = views_NVD.shape
    order_M = (order_N[:, None] * views + np.arange(views)).ravel()
    return slim_unit_rows(views_NVD.reshape(-1, width), order_M).reshape(-1, views, width)


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise NotEnoughExamples(f"expected examples of at least 2 classes, got {len(classes)}")
    if len(classes) > MAX_CLASSES:
        raise InputError(f"expected at most {MAX_CLASSES} classes, got {len(classes)}")
    check_names(classes, "class")
    return classes


def check_names(names: Sequence[str], what: str) -> None:
    """Raises InputError: a blank name, or one that is too long."""
    longest = max(len(name) for name in names)
    if longest > MAX_CLASS_NAME or not all(name.strip() for name in names):
        raise InputError(
            f"expected {what} names of 1 to {MAX_CLASS_NAME} characters that are not blank, "
            f"the longest has {longest}"
        )


def _numbered(names: Sequence[Name]) -> Ints:
    """(N,) the place of each name, or of the bytes of each row, among the sorted distinct ones."""
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.fromiter((places[name] for name in names), np.int64, len(names))


def _head(task: _Task, c: float, encoder_id: str) -> LinearHead:
    weights_CR, bias_C = task.problem.solve(np.arange(task.problem.size), c)
    weights_CD = (weights_CR @ task.axes_RD).astype(np.float32)
    return LinearHead(encoder_id, task.classes, weights_CD, bias_C.astype(np.float32))


def _fit(task: _Task, encoder_id: str, seed: int, scans: NumberedScans | None) -> Fit:
    rows_M = sample_rows(task.problem, task.groups_N, seed)
    part, groups_M = task.problem.part(rows_M), task.groups_N[rows_M]
    grid = grid_for(part, groups_M)
    folds = grouped_folds(part, groups_M, seed)
    validation = cross_validate(part, folds, grid)
    semi, unlabelled = None, None
    if scans is not None:
        semi, unlabelled = _semi_supervised(task, part, folds, validation, scans)
    if part.size < task.problem.size and validation.n_folds:
        logits_MC = logits_of_all(task.problem, task.groups_N, rows_M, validation.chosen_c, seed)
        validation = replace(validation, chosen_NC=logits_MC)
    if semi is not None:
        validation = replace(validation, nested_NC=semi.logits_NC, chosen_NC=semi.logits_NC)
    report = fit_report(
        part.labels_N,
        groups_M,
        guesses(validation.nested_NC),
        task.classes,
        validation.chosen_c,
        validation.n_folds,
        seed,
        part.counts_N,
    )
    if len(grid) == 1:
        reason = f"default: a class has fewer than {MIN_GROUPS_TO_CHOOSE} groups"
        report = replace(report, c_chosen_by=reason)
    if part.size < task.problem.size:
        report = sample_report(report, task.problem.labels_N, task.groups_N)
    nested = _held_out(task, rows_M, validation.nested_NC)
    chosen = nested
    if validation.chosen_NC is not validation.nested_NC:
        chosen = _held_out(task, rows_M, validation.chosen_NC)
    if semi is None:
        head = _head(task, validation.chosen_c, encoder_id)
    else:
        weights_CD, bias_C = semi.weights_CD.astype(np.float32), semi.bias_C.astype(np.float32)
        head = LinearHead(encoder_id, task.classes, weights_CD, bias_C)
    report = replace(report, **_counted(task), unlabelled=unlabelled)
    return Fit(head, report, HeadScores(nested, chosen))


def _semi_supervised(
    task: _Task,
    part: LogisticProblem,
    folds: list[Ints],
    validation: CrossValidation,
    scans: NumberedScans,
) -> tuple[SemiSupervised | None, UnlabelledReport]:
    views_NVR = task.problem.views_NVR
    if part.size < task.problem.size:
        most = LARGE // task.problem.views
        because = f"there are more than {most} labelled examples, which are enough"
        return None, UnlabelledReport(len(scans.groups_U), False, because)
    # Unlabelled rows do not lie in the span of the labelled ones.
    labelled = replace(
        task.problem,
        rows_NR=task.problem.rows_NR @ task.axes_RD,
        views_NVR=None if views_NVR is None else views_NVR @ task.axes_RD,
    )
    logits_NC, c = validation.chosen_NC, validation.chosen_c
    return with_unlabelled(labelled, task.groups_N, folds, logits_NC, scans, c)


def _counted(task: _Task) -> dict[str, Any]:
    """Group, example and class weights, for the report."""
    weights_C = task.problem.class_weights_C
    weights = None if weights_C is None else zip(task.classes, weights_C.tolist(), strict=True)
    return {
        "groups": len(np.unique(task.groups_N)),
        "effective_examples": round(float(task.problem.shares(np.arange(task.problem.size)).sum())),
        "class_weights": weights and {name: round(weight, 6) for name, weight in weights},
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
    restored_N = np.empty_like(values_N)
    restored_N[task.order_N] = values_N
    return restored_N


def counts_of(labels_N: Ints, groups_N: Ints, counted: Counted = "groups") -> Doubles:
    """(N,) the weight of each example: 1 / examples of the same group and class, or 1.

    Their sum is the number of independent examples: a cine of 30 frames of one class is one.
    """
    if counted == "frames":
        return np.ones(len(labels_N))
    return shares_of_pairs(labels_N, groups_N)


def class_weights(classes: tuple[str, ...], factors: Mapping[str, float] | None) -> Doubles | None:
    """(C,) weights with mean 1 on top of balanced classes; None when all are the same.

    Args:
        factors: class -> weight relative to the others; 1 for a class that is left out.

    Raises:
        InputError: a class that has no examples, or a weight that is not finite, not above 0, or
            over 1000 times another.
    """
    if not factors:
        return None
    unknown = len(set(factors) - set(classes))
    if unknown:
        raise InputError(f"{unknown} of {len(factors)} class weights name a class without examples")
    weights_C = np.array([float(factors.get(name, 1.0)) for name in classes])
    good = np.isfinite(weights_C).all() and (weights_C > 0).all()
    if not good or weights_C.max() > MAX_WEIGHT_RATIO * weights_C.min():
        raise InputError(
            f"expected finite class weights above 0, none over {MAX_WEIGHT_RATIO:g} times another"
        )
    scaled_C: Doubles = weights_C / weights_C.mean()
    return None if np.allclose(scaled_C, 1) else scaled_C
