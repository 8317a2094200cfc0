"""Predictions of multi-label classifiers: every label of every item, each with its own doubt."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from fastapi.responses import JSONResponse
from pydantic import Field

from service.api.answering import Asked, Seen, evidence_json
from service.api.answers import ENCODER, Answer, ImageSeen, Problem
from service.api.schemas import JsonObject
from service.api.wire import batch_status, is_calibrated, label_json
from service.fewshot.multilabel_answers import LabelsAnswer
from service.heads.fitting import MULTI
from service.heads.multilabel import OpenedLabels

Floats: TypeAlias = npt.NDArray[np.float32]


class LabelSaid(Answer):
    """One label of one item."""

    label: str = Field(examples=["b_lines"])
    probability: float = Field(ge=0, le=1, description="That it is there; labels do not sum to 1.")
    threshold: float
    present: bool = Field(description="Probability at or above the threshold, also if abstained.")
    prediction_set: list[Literal["absent", "present"]] | None = Field(
        description="Holds the truth with the asked coverage; both: cannot tell."
    )
    abstained_because: Literal["ambiguous"] | None


class LabelEvidence(Answer):
    """A labelled example that resembles the item."""

    example_id: str
    label: None
    labels: list[str]
    similarity: float = Field(ge=-1.001, le=1.001, description="Cosine.")
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")


class LabelledItem(Answer):
    """The labels of one image or stored scan, or ``problem``."""

    scan_id: str | None = None
    image: ImageSeen | None = None
    present: list[str] | None = Field(None, description="Labels at or above their thresholds.")
    labels: list[LabelSaid] | None = None
    abstained_because: Literal["far_from_every_example", "not_ultrasound"] | None = Field(
        None, description="Then no label should be used."
    )
    distance: float | None = Field(None, description="To the nearest example, 1 - cosine.")
    distance_percentile: float | None = Field(
        None, description="Share of the examples' own distances that are smaller, percent."
    )
    nearest: list[LabelEvidence] | None = None
    problem: Problem | None = None


class LabelSets(Answer):
    """What the prediction sets of one label promise, or why there are none."""

    per_class: bool = Field(description="Presence and absence each have the coverage.")
    not_enough_because: str | None
    missing: dict[str, int]


class LabelPredictions(Answer):
    """Of a multi-label classifier: one item per image or scan, in order."""

    kind: Literal["multi_label"]
    classifier: str = Field(examples=["lung"])
    classifier_id: str
    version: int
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    calibrated: bool = Field(description="Every label is.")
    coverage: float
    prediction_sets: dict[str, LabelSets] = Field(description="By label.")
    balanced_accuracy: float | None = Field(description="Mean over labels.")
    warnings: list[str]
    items: list[LabelledItem]


def labels_answer(
    opened: OpenedLabels,
    seen: Sequence[Seen],
    asked: Asked,
) -> JSONResponse:
    """The whole answer; failed items stay as they are.

    Raises:
        InputError: coverage outside 0.5 to 0.999.
    """
    rows = [item.embedding_D for item in seen if item.embedding_D is not None]
    stacked_QD = np.stack(rows) if rows else np.eye(1, opened.made.width, dtype=np.float32)
    answers, sets = opened.answers(stacked_QD, asked.coverage)
    passed = np.ones(len(stacked_QD), bool)
    if asked.ultrasound is not None:
        passed = asked.ultrasound.passed(stacked_QD)
    remaining = iter(zip(answers, passed.tolist(), strict=True))
    items = [
        item.about
        if item.embedding_D is None
        else item.about | _item_json(opened, *next(remaining), item.embedding_D, asked.nearest)
        for item in seen
    ]
    said = {
        name: {
            "per_class": one.per_class,
            "not_enough_because": one.not_enough_because,
            "missing": one.missing,
        }
        for name, one in sets.items()
    }
    body = _about(opened) | {"coverage": asked.coverage, "prediction_sets": said, "items": items}
    return JSONResponse(body, batch_status(items))


def _item_json(
    opened: OpenedLabels,
    answer: LabelsAnswer,
    is_ultrasound: bool,
    embedding_D: Floats,
    nearest: int,
) -> JsonObject:
    reason = "far_from_every_example" if answer.far else None
    return {
        "present": [label.name for label in answer.labels if label.present],
        "labels": [label.to_json() for label in answer.labels],
        "abstained_because": reason if is_ultrasound else "not_ultrasound",
        "distance": answer.distance if opened.knows_distances else None,
        "distance_percentile": answer.distance_percentile,
        "nearest": [
            evidence_json(each, label_json(each.example.label, MULTI))
            for each in opened.support.nearest(embedding_D, nearest)
        ],
    }


def _about(opened: OpenedLabels) -> JsonObject:
    report = opened.version.report
    return {
        "kind": MULTI,
        "classifier": opened.classifier.name,
        "classifier_id": opened.classifier.classifier_id,
        "version": opened.version.number,
        "encoder_id": opened.version.encoder_id,
        "dim": opened.made.width,
        "calibrated": is_calibrated(opened.version),
        "balanced_accuracy": report.get("balanced_accuracy"),
        "warnings": report.get("warnings", []),
    }
