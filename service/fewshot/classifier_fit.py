"""Fit a classifier to labelled embeddings, with its report and its out-of-fold scores.

Shape suffixes: N examples, D embedding width.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from service.errors import InputError, NotEnoughExamples
from service.fewshot.calibrator import fit_calibrator
from service.fewshot.classifier import (
    ABSENT,
    PRESENT,
    AskedWith,
    CalibratedHead,
    FewShotClassifier,
)
from service.fewshot.fit import Counted, Fit, check_names, fit
from service.fewshot.forecast import affordable_forecasts
from service.fewshot.head import TeachingViews
from service.fewshot.heldout import OutOfFold
from service.fewshot.novelty import novelty
from service.fewshot.report import ClassifierReport, classifier_report, head_report
from service.fewshot.semi_supervision.semi_supervised import MAX_POOL, UnlabelledScans

MAX_LABELS = 64


@dataclass(frozen=True, slots=True)
class ClassifierFit:
    """A fitted classifier; rows of ``out_of_fold`` are in the caller's order."""

    classifier: FewShotClassifier
    report: ClassifierReport
    out_of_fold: OutOfFold


@dataclass(frozen=True, slots=True)
class ViewedRows:
    """Examples of a fit with views.

    Attributes:
        frames_ND: their embeddings, for distances.
        views_ND: the mean embedding of the views of each, to which the heads are fitted.
    """

    frames_ND: npt.NDArray[np.floating]
    views_ND: npt.NDArray[np.floating]


def presence(labels: Sequence[frozenset[str]]) -> dict[str | None, Sequence[str]]:
    """The targets of a multi-label classifier: label -> ``present`` or ``absent`` per example.

    Args:
        labels: those of each example; an empty set says that none of the labels applies.

    Raises:
        NotEnoughExamples: no label, or a label that every example has.
        InputError: too many labels, or a bad name.
    """
    names = tuple(sorted(frozenset[str]().union(*labels)))
    if not names:
        raise NotEnoughExamples("expected examples of at least 1 label, got none")
    if len(names) > MAX_LABELS:
        raise InputError(f"expected at most {MAX_LABELS} labels, got {len(names)}")
    check_names(names, "label")
    everywhere = frozenset(names).intersection(*labels)
    if everywhere:
        raise NotEnoughExamples(
            f"{len(everywhere)} of {len(names)} labels are in every example: "
            "expected examples without them too"
        )
    return {name: [PRESENT if name in example else ABSENT for example in labels] for name in names}


def fit_classifier(
    embeddings_ND: npt.NDArray[np.floating] | ViewedRows | TeachingViews,
    targets: Mapping[str | None, Sequence[str]],
    groups: Sequence[str],
    *,
    encoder_id: str,
    thresholds: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
    unlabelled: UnlabelledScans | None = None,
) -> ClassifierFit:
    """Fit one head per target.

    Args:
        embeddings_ND: one row per example, or its rows in a fit with views.
        targets: ``{None: class of each example}``, or ``presence`` of several labels.
        groups: N patients, studies or images.
        thresholds: class or label -> probability from which it is called.
        weights: class -> how much it counts beside the others; label -> how much ``present``
            counts beside ``absent``; 1 where left out.
        unlabelled: scans that teach each head too where that helps it.

    Raises:
        NotEnoughExamples: fewer than two classes.
        InputError: lengths differ, a bad name, weight or threshold, or rows of no finite length.
    """
    if None not in targets:
        _refuse_unknown(targets, thresholds, "thresholds")
        _refuse_unknown(targets, weights, "class weights")
    scans = _affordable(unlabelled, len(targets))
    frames_ND, rows, asked_with = _rows(embeddings_ND)
    fits = {
        label: fit(
            rows,
            classes,
            groups,
            encoder_id=encoder_id,
            weights=_weights(label, weights or {}),
            counted=counted,
            unlabelled=scans,
        )
        for label, classes in targets.items()
    }
    first = next(iter(fits.values())).scores.chosen
    heads: dict[str | None, CalibratedHead] = {
        label: CalibratedHead(fitted.head, fit_calibrator(fitted.scores.chosen), {})
        for label, fitted in fits.items()
    }
    # Products are small: their threads would only wait for those of other requests.
    with threadpool_limits(1):
        usual = novelty(frames_ND, first.labels_N, first.groups_N)
        classifier = FewShotClassifier(encoder_id, heads, usual, asked_with)
        classifier = classifier.with_thresholds(thresholds or {})
        report = _report(classifier, fits, rows)
    without_label = None if None in targets else _without_label(targets)
    return ClassifierFit(
        classifier,
        replace(report, examples_without_label=without_label),
        OutOfFold({label: fitted.scores for label, fitted in fits.items()}),
    )


def _refuse_unknown(
    targets: Mapping[str | None, Sequence[str]], values: Mapping[str, float] | None, what: str
) -> None:
    """Raises InputError: a value names a label without examples."""
    unknown = set(values or {}) - targets.keys()
    if unknown:
        raise InputError(f"{len(unknown)} of the {what} name a label without examples")


def _rows(
    rows: npt.NDArray[np.floating] | ViewedRows | TeachingViews,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating] | TeachingViews, AskedWith]:
    """For distances, for the heads, and what these are then asked with."""
    if isinstance(rows, ViewedRows):
        return rows.frames_ND, rows.views_ND, "views"
    if isinstance(rows, TeachingViews):
        return rows.asked_ND, rows, "frame"
    return rows, rows, "frame"


def _affordable(scans: UnlabelledScans | None, heads: int) -> UnlabelledScans | None:
    """Fewer scans for many heads: the graph of each takes the square of their number."""
    return None if scans is None else scans.drawn(int(MAX_POOL / math.sqrt(heads)))


def _report(
    classifier: FewShotClassifier,
    fits: Mapping[str | None, Fit],
    rows: npt.NDArray[np.floating] | TeachingViews,
) -> ClassifierReport:
    nested = {label: fitted.scores.nested for label, fitted in fits.items()}
    forecasts = affordable_forecasts(rows, nested)
    heads = tuple(
        head_report(label, fits[label].report, head, fits[label].scores, forecasts[label])
        for label, head in classifier.heads.items()
    )
    return classifier_report(heads, classifier.novelty, len(rows))


def _weights(label: str | None, weights: Mapping[str, float]) -> Mapping[str, float] | None:
    if label is None:
        return weights or None
    return {PRESENT: weights[label]} if label in weights else None


def _without_label(targets: Mapping[str | None, Sequence[str]]) -> int:
    """How many examples have none of the labels."""
    return sum(PRESENT not in example for example in zip(*targets.values(), strict=True))
