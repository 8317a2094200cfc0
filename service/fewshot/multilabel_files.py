"""A multi-label classifier as JSON or ONNX that outlives this program.

The document (format 1) holds one document of ``portable`` per label, whose digests guard the
arrays, the anchors once, and a digest of all of it.

Shape suffixes: S anchors, M distances, L labels, D embedding width.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.errors import ArtifactMismatch
from service.fewshot.head import LinearHead
from service.fewshot.multilabel_answers import CLASSES, LabelHead, MultiLabel
from service.fewshot.novelty import Novelty
from service.fewshot.onnx_export import to_onnx_sigmoid
from service.fewshot.portable import from_document, to_document

FORMAT = "sonoprobe-multi-label-classifier"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PortableLabels:
    """What one document carries; ``card`` is any JSON that should travel along."""

    made: MultiLabel
    card: dict[str, Any]


def to_labels_document(made: MultiLabel, card: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON values; ``from_labels_document`` reads them."""
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "encoder_id": made.encoder_id,
        "labels": [
            {
                "name": head.name,
                "threshold": head.threshold,
                "classifier": to_document(head.head, _without_anchors(head, made.width)),
            }
            for head in made.heads
        ],
        # The anchors ride with a copy of the first head: one format for arrays, not two.
        "usual": to_document(
            made.heads[0].head, replace(made.heads[0].trust, novelty=made.novelty)
        ),
        "card": dict(card or {}),
    }
    return facts | {"sha256": _digest(facts)}


def from_labels_document(
    document: Mapping[str, Any], *, encoder_id: str | None = None
) -> PortableLabels:
    """Read what ``to_labels_document`` made.

    Raises:
        ArtifactMismatch: damaged, of another format, or of a version this reader does not know.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        facts = {key: value for key, value in document.items() if key != "sha256"}
        if (facts["format"], facts["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ArtifactMismatch(
                f"expected {FORMAT} {FORMAT_VERSION}, got another format or version"
            )
        if _digest(facts) != document["sha256"]:
            raise ArtifactMismatch("the classifier was changed: its digest does not match")
        usual = from_document(facts["usual"], encoder_id=encoder_id).trust.novelty
        heads = tuple(_label(item, usual, encoder_id) for item in facts["labels"])
        made = MultiLabel(str(facts["encoder_id"]), heads, usual)
        card = dict(facts["card"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactMismatch("the classifier document cannot be read") from error
    _check(made)
    return PortableLabels(made, card)


def to_labels_bytes(made: MultiLabel) -> bytes:
    """The document as UTF-8."""
    return json.dumps(to_labels_document(made), sort_keys=True).encode()


def from_labels_bytes(data: bytes, *, encoder_id: str | None = None) -> MultiLabel:
    """Read what ``to_labels_bytes`` wrote. Raises as ``from_labels_document``."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ArtifactMismatch("the classifier file cannot be read") from error
    if not isinstance(document, dict):
        raise ArtifactMismatch("the classifier file cannot be read")
    return from_labels_document(document, encoder_id=encoder_id).made


def to_labels_onnx(made: MultiLabel, card: Mapping[str, Any] | None = None) -> bytes:
    """A model with input ``embedding`` float32 (N, D) and output ``probabilities`` (N, L).

    Of two classes softmax is the sigmoid of the difference, here divided by the temperature.
    """
    scales_L = np.array([1 / head.trust.calibration.temperature for head in made.heads])
    weights_LD = np.stack([h.head.weights_CD[1] - h.head.weights_CD[0] for h in made.heads])
    bias_L = np.array([h.head.bias_C[1] - h.head.bias_C[0] for h in made.heads])
    metadata = {
        "encoder_id": made.encoder_id,
        "kind": "multi_label",
        "classes": json.dumps(list(made.labels)),
        "thresholds": json.dumps({head.name: head.threshold for head in made.heads}),
        "card": json.dumps(dict(card or {})),
    }
    return to_onnx_sigmoid(weights_LD * scales_L[:, None], bias_L * scales_L, metadata)


def stacked_head(made: MultiLabel) -> LinearHead:
    """Weights of ``present`` minus ``absent``, one row per label."""
    return LinearHead(
        made.encoder_id,
        made.labels,
        np.stack([h.head.weights_CD[1] - h.head.weights_CD[0] for h in made.heads]),
        np.stack([h.head.bias_C[1] - h.head.bias_C[0] for h in made.heads]),
    )


def _without_anchors(head: LabelHead, width: int) -> Any:
    nothing = Novelty("nearest", np.empty((0, width), np.float32), np.empty(0), float("inf"))
    return replace(head.trust, novelty=nothing)


def _label(item: Mapping[str, Any], usual: Novelty, encoder_id: str | None) -> LabelHead:
    found = from_document(item["classifier"], encoder_id=encoder_id)
    trusted = replace(found.trust, novelty=usual)
    return LabelHead(str(item["name"]), found.head, trusted, float(item["threshold"]))


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check(made: MultiLabel) -> None:
    names = made.labels
    same = all(
        head.head.encoder_id == made.encoder_id
        and head.head.classes == CLASSES
        and head.head.weights_CD.shape[1] == made.width
        and 0 < head.threshold < 1
        for head in made.heads
    )
    if not names or list(names) != sorted(set(names)) or not all(names) or not same:
        raise ArtifactMismatch("the labels of the classifier do not fit together")
    if made.novelty.anchors_SD.shape[1] != made.width:
        raise ArtifactMismatch("the arrays of the classifier do not fit together")
