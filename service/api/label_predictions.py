"""Predictions of multi-label classifiers: every label of every item, each with its own doubt."""

import base64
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from fastapi.responses import JSONResponse
from pydantic import Field

from service.api.answering import Asked, Frame, Seen, evidence_json, told
from service.api.answers import ENCODER, Answer, ImageSeen, Problem
from service.api.schemas import JsonObject
from service.api.wire import batch_status, is_calibrated, label_json
from service.classifiers.fitting import MULTI
from service.classifiers.label_evidence import (
    asked_thresholds,
    label_cine,
    label_heat,
    label_number,
)
from service.classifiers.loaded_labels import OpenedLabels
from service.embedding.pipeline import MappedImage
from service.errors import InputError
from service.fewshot.multilabel_answers import LabelsAnswer

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
    set_by: Literal["request", "version"] = Field(description="The threshold.")


class LabelHeatmap(Answer):
    """Where each label comes from: sigmoid((image_term + bias) / temperature) is the answer."""

    label: str = Field(description="That the PNG shows.")
    image_terms: dict[str, float] = Field(description="The mean of each label's map, exactly.")
    biases: dict[str, float]
    temperatures: dict[str, float]
    maps: dict[str, list[list[float]]] | None = Field(
        description="Rows of places that tile the whole frame, per label; null for a PNG."
    )
    png: str | None = Field(
        description="Base64: the frame with orange where it speaks for the label, blue where "
        "against; null for arrays."
    )


class LabelFrame(Answer):
    """What one frame gives to the labels of its cine."""

    index: int = Field(description="Of the item of the request, or of the frame in its file.")
    region: int = Field(description="Of the frame, numbered as in its image's regions.")
    copies: int = Field(description="Frames that it stands for, itself included.")
    probabilities: dict[str, float] = Field(description="Of the frame alone.")
    image_terms: dict[str, float] = Field(
        description="How much it speaks for each label; the mean over frames is the cine's."
    )


class LabelEvidence(Answer):
    """A labelled example that resembles the item."""

    example_id: str
    label: None
    labels: list[str]
    similarity: float = Field(ge=-1.001, le=1.001, description="Cosine.")
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")


class LabelsSaid(Answer):
    """What a multi-label classifier says of one embedding."""

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
    heatmap: LabelHeatmap | None = None


class LabelledItem(LabelsSaid):
    """The labels of one image, clip or stored scan, or ``problem``."""

    scan_id: str | None = None
    no_heatmap_because: str | None = Field(None, description="Where one was asked for.")
    image: ImageSeen | None = None
    problem: Problem | None = None
    frames: list[LabelFrame] | None = Field(None, description="Of a clip, in order.")
    carried_by: dict[str, list[int]] | None = Field(
        None, description="By label: frames that give half of all that speaks for it."
    )


class LabelledCine(LabelsSaid):
    """One answer for all items as frames of a cine."""

    frames: list[LabelFrame] = Field(description="In order.")
    carried_by: dict[str, list[int]] = Field(
        description="By label: items that give half of all that speaks for it, strongest first."
    )
    left_out: list[int] = Field(description="Items that failed.")


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
    cine: LabelledCine | None = Field(description="Of a request with ``cine=true``; else null.")


def labels_answer(
    loaded: OpenedLabels, seen: Sequence[Seen], asked: Asked, *, cine: bool = False
) -> JSONResponse:
    """The whole answer; failed items stay as they are.

    Args:
        cine: the items are frames of one cine, which is answered as well.

    Raises:
        InputError: coverage outside 0.5 to 0.999, a threshold or heat map of no label, a cine
            without a readable frame.
    """
    loaded = asked_thresholds(loaded, asked.thresholds)
    if asked.heatmap.label is not None:
        label_number(loaded, asked.heatmap.label)
    rows = [item.embedding_D for item in seen if item.embedding_D is not None]
    stacked_QD = np.stack(rows) if rows else np.eye(1, loaded.made.width, dtype=np.float32)
    found = _Answered(loaded, stacked_QD, asked)
    items = told(seen, asked, found.item)
    body = _about(loaded) | {
        "coverage": asked.coverage,
        "prediction_sets": found.sets_json(),
        "items": items,
        "cine": _cine_json(loaded, seen, asked) if cine else None,
    }
    return JSONResponse(body, batch_status(items))


class _Answered:
    """Answers to all queries at once, told one by one."""

    def __init__(self, loaded: OpenedLabels, embeddings_QD: Floats, asked: Asked) -> None:
        self._opened, self._embeddings_QD, self._asked = loaded, embeddings_QD, asked
        self._answers, self._sets = loaded.answers(embeddings_QD, asked.coverage)
        passed_Q = np.ones(len(embeddings_QD), bool)
        if asked.ultrasound is not None:
            passed_Q = asked.ultrasound.passed(embeddings_QD)
        self._is_ultrasound: list[bool] = passed_Q.tolist()

    def sets_json(self) -> JsonObject:
        """What the prediction sets of each label promise."""
        return {
            name: {
                "per_class": one.per_class,
                "not_enough_because": one.not_enough_because,
                "missing": one.missing,
            }
            for name, one in self._sets.items()
        }

    def item(
        self, row: int, mapped: MappedImage | None, frames: Sequence[Frame] = ()
    ) -> JsonObject:
        """What is said of one query."""
        answer, loaded = self._answers[row], self._opened
        given = self._asked.thresholds
        reason = "far_from_every_example" if answer.far else None
        nearest = loaded.support.nearest(self._embeddings_QD[row], self._asked.nearest)
        return {
            "present": [label.name for label in answer.labels if label.present],
            "labels": [
                label.to_json() | {"set_by": "request" if label.name in given else "version"}
                for label in answer.labels
            ],
            "abstained_because": reason if self._is_ultrasound[row] else "not_ultrasound",
            "distance": answer.distance if loaded.knows_distances else None,
            "distance_percentile": answer.distance_percentile,
            "nearest": [
                evidence_json(each, label_json(each.example.label, MULTI)) for each in nearest
            ],
            "heatmap": None if mapped is None else self._heatmap(answer, mapped),
            **(_frames_json(loaded, frames) if frames else {}),
        }

    def _heatmap(self, answer: LabelsAnswer, mapped: MappedImage) -> JsonObject:
        labels, wish = self._opened.made.labels, self._asked.heatmap
        likely = max(answer.labels, key=lambda label: label.probability).name
        shown, heat = wish.label or likely, label_heat(self._opened, mapped.map_Dhw)
        values = {
            "image_terms": heat.maps_Lhw.mean((1, 2)),
            "biases": heat.bias_L,
            "temperatures": heat.temperature_L,
        }
        body: JsonObject = {"label": shown, "maps": None, "png": None}
        body |= {name: _by_label(labels, of_L) for name, of_L in values.items()}
        if wish.kind == "array":
            return body | {"maps": _by_label(labels, heat.maps_Lhw)}
        picture = mapped.picture(heat.maps_Lhw[labels.index(shown)])
        return body | {"png": base64.b64encode(picture).decode()}


def _by_label(labels: Sequence[str], values_L: npt.NDArray[np.float64]) -> JsonObject:
    return dict(zip(labels, values_L.tolist(), strict=True))


def _frames_json(loaded: OpenedLabels, frames: Sequence[Frame]) -> JsonObject:
    """Each frame's scores and shares, and which carried each label."""
    embeddings_TD = np.stack([frame.embedding_D for frame in frames])
    cine = label_cine(loaded, embeddings_TD, [frame.copies for frame in frames])
    labels = loaded.made.labels
    told = [
        {
            "index": frame.index,
            "region": frame.region,
            "copies": frame.copies,
            "probabilities": _by_label(labels, cine.probabilities_TL[t]),
            "image_terms": _by_label(labels, cine.terms_TL[t]),
        }
        for t, frame in enumerate(frames)
    ]
    carried = {
        label: list(dict.fromkeys(frames[t].index for t in cine.carried_by(i)))
        for i, label in enumerate(labels)
    }
    return {"frames": told, "carried_by": carried}


def _cine_json(loaded: OpenedLabels, seen: Sequence[Seen], asked: Asked) -> JsonObject:
    """One answer for the items together; those that failed are left out and named."""
    frames = [Frame(i, s.embedding_D) for i, s in enumerate(seen) if s.embedding_D is not None]
    if not frames:
        raise InputError("expected at least one readable frame of the cine, got none")
    cine = label_cine(loaded, np.stack([frame.embedding_D for frame in frames]))
    found = _Answered(loaded, cine.embedding_D[None], asked)
    left_out = [i for i, item in enumerate(seen) if item.embedding_D is None]
    return found.item(0, None, frames) | {"left_out": left_out}


def _about(loaded: OpenedLabels) -> JsonObject:
    report = loaded.version.report
    return {
        "kind": MULTI,
        "classifier": loaded.classifier.name,
        "classifier_id": loaded.classifier.classifier_id,
        "version": loaded.version.number,
        "encoder_id": loaded.version.encoder_id,
        "dim": loaded.made.width,
        "calibrated": is_calibrated(loaded.version),
        "balanced_accuracy": report.get("balanced_accuracy"),
        "warnings": report.get("warnings", []),
    }
