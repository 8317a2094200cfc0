"""Several labels that may all be there at once: one calibrated head per label against the rest.

Each label is a classifier of two classes, ``present`` and ``absent``, fitted, judged and calibrated
as any other; what is usual among the examples is measured once for all labels. Probabilities are
independent: those of one row need not sum to 1.

Shape suffixes: N examples, D embedding width.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.errors import InputError, NotEnoughExamples
from service.fewshot.calibrator import Calibrator, choose_margin
from service.fewshot.conformal import conformal
from service.fewshot.fit import MAX_CLASS_NAME, Fit, fit
from service.fewshot.metrics import compute_metrics
from service.fewshot.multilabel_answers import (
    ABSENT,
    PRESENT,
    THRESHOLD,
    LabelHead,
    MultiLabel,
)
from service.fewshot.novelty import Novelty, novelty
from service.fewshot.operating_points import at_threshold
from service.fewshot.temperature import calibrate
from service.fewshot.weights import Counted

MAX_LABELS = 64


@dataclass(frozen=True, slots=True)
class MultiLabelFit:
    """A multi-label classifier with the fits behind it.

    Attributes:
        fits: label -> its fit against the rest, rows in the caller's order.
        report: plain JSON values.
    """

    made: MultiLabel
    fits: dict[str, Fit]
    report: dict[str, Any]


def fit_labels(
    embeddings_ND: npt.NDArray[np.floating],
    labels: Sequence[frozenset[str]],
    groups: Sequence[str],
    *,
    encoder_id: str,
    thresholds: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    counted: Counted = "groups",
    seed: int = 0,
) -> MultiLabelFit:
    """Fit one head per label that occurs.

    Args:
        embeddings_ND: one row per example.
        labels: what is there in each example; an empty set says that none of the labels is.
        groups: N patients, studies or images.
        thresholds: label -> probability from which it counts as present; 0.5 where left out.
        weights: label -> how much ``present`` counts beside ``absent``; 1 where left out.

    Raises:
        NotEnoughExamples: no label, or a label that every example has.
        InputError: lengths differ, too many labels, a bad name, weight or threshold, or rows that
            are zero or not finite.
    """
    names = _names(labels)
    chosen = _thresholds(names, thresholds or {})
    strange = set(weights or {}) - set(names)
    if strange:
        raise InputError(f"{len(strange)} of the class weights name a label without examples")
    fits = {
        name: fit(
            embeddings_ND,
            [PRESENT if name in there else ABSENT for there in labels],
            groups,
            encoder_id=encoder_id,
            seed=seed,
            weights={PRESENT: weights[name]} if weights and name in weights else None,
            counted=counted,
        )
        for name in names
    }
    shared = _usual(fits[names[0]], embeddings_ND, seed)
    heads = tuple(_label_head(name, fits[name], shared, chosen[name], seed) for name in names)
    made = MultiLabel(encoder_id, heads, shared)
    return MultiLabelFit(made, fits, _report(made, fits, labels, seed))


def _names(labels: Sequence[frozenset[str]]) -> tuple[str, ...]:
    names = tuple(sorted(frozenset[str]().union(*labels)))
    if not names:
        raise NotEnoughExamples("expected examples of at least 1 label, got none")
    if len(names) > MAX_LABELS:
        raise InputError(f"expected at most {MAX_LABELS} labels, got {len(names)}")
    longest = max(len(name) for name in names)
    if longest > MAX_CLASS_NAME or not all(name.strip() for name in names):
        raise InputError(
            f"expected label names of 1 to {MAX_CLASS_NAME} characters that are not blank, "
            f"the longest has {longest}"
        )
    everywhere = [name for name in names if all(name in there for there in labels)]
    if everywhere:
        raise NotEnoughExamples(
            f"{len(everywhere)} of {len(names)} labels are in every example: "
            "expected examples without them too"
        )
    return names


def _thresholds(names: tuple[str, ...], wanted: Mapping[str, float]) -> dict[str, float]:
    strange = set(wanted) - set(names)
    if strange:
        raise InputError(f"{len(strange)} of the thresholds name a label without examples")
    if not all(math.isfinite(value) and 0 < value < 1 for value in wanted.values()):
        raise InputError("expected thresholds above 0 and below 1")
    return {name: float(wanted.get(name, THRESHOLD)) for name in names}


def _usual(found: Fit, embeddings_ND: npt.NDArray[np.floating], seed: int) -> Novelty:
    held_out = found.for_calibration
    return novelty(embeddings_ND, held_out.labels_N, held_out.groups_N, seed=seed)


def _label_head(name: str, found: Fit, shared: Novelty, threshold: float, seed: int) -> LabelHead:
    held_out = found.for_calibration
    calibration = calibrate(held_out)
    shares_N2 = calibration.probabilities(held_out.logits_NC)
    margin, chosen_by = choose_margin(held_out, shares_N2)
    sets = conformal(held_out, shares_N2, seed=seed)
    trusted = Calibrator(calibration, sets, shared, margin, chosen_by)
    return LabelHead(name, found.head, trusted, threshold)


def _report(
    made: MultiLabel, fits: Mapping[str, Fit], labels: Sequence[frozenset[str]], seed: int
) -> dict[str, Any]:
    scores = [found.report.balanced_accuracy for found in fits.values()]
    judged = [score for score in scores if score is not None]
    whole = len(judged) == len(scores)
    return {
        "kind": "multi_label",
        "labels": [head.name for head in made.heads],
        "examples": len(labels),
        "examples_without_label": sum(not there for there in labels),
        "groups": max(found.report.groups for found in fits.values()),
        "effective_examples": max(found.report.effective_examples for found in fits.values()),
        "balanced_accuracy": round(float(np.mean(judged)), 4) if whole else None,
        "not_judged_because": None if whole else "a label, or its absence, has a single group",
        "per_label": {head.name: _of_label(head, fits[head.name], seed) for head in made.heads},
        "novelty": made.novelty.to_json(),
        "warnings": [
            f"label {name!r}: {said}"
            for name, found in fits.items()
            for said in found.report.warnings
        ],
    }


def _of_label(head: LabelHead, found: Fit, seed: int) -> dict[str, Any]:
    """Fit, calibration, judgement, and what the threshold gives."""
    held_out = found.held_out
    given = head.trust.to_json()
    figures = compute_metrics(held_out, seed=seed).to_json()
    for rows in ("confusion_rows",):  # of the fit's examples, which the report does not list
        del figures[rows]
    return {
        **found.report.to_json(),
        "calibration": given["calibration"],
        "conformal": given["conformal"],
        "least_margin": given["least_margin"],
        "margin_chosen_by": given["margin_chosen_by"],
        "judgement": figures,
        "operating_point": _point(head, found, seed),
    }


def _point(head: LabelHead, found: Fit, seed: int) -> dict[str, Any]:
    shares_N2 = head.trust.calibration.probabilities(found.for_calibration.logits_NC)
    try:
        point = at_threshold(found.for_calibration, shares_N2, PRESENT, head.threshold, seed=seed)
    except NotEnoughExamples as error:
        return {"threshold": head.threshold, "not_judged_because": str(error)}
    return {k: v for k, v in point.to_json().items() if k != "name"}
