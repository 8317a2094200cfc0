"""Classifiers that leave as one file and come back from one."""

from collections.abc import Mapping
from typing import Any

from service.catalog.records import Author, NewVersion
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.loaded_labels import OpenedLabels
from service.errors import ArtifactMismatch, InvalidArtifact
from service.fewshot.head import to_npz
from service.fewshot.multilabel_files import FORMAT as LABELS_FORMAT
from service.fewshot.multilabel_files import (
    from_labels_document,
    stacked_head,
    to_labels_bytes,
    to_labels_document,
    to_labels_onnx,
)
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import from_document, to_bytes, to_document


def as_document(loaded: LoadedClassifier | OpenedLabels) -> dict[str, Any]:
    """The version as JSON values with its card; distances need the anchors, so they travel."""
    if isinstance(loaded, OpenedLabels):
        return to_labels_document(loaded.made, card_of(loaded))
    return to_document(loaded.head, loaded.trust, card_of(loaded))


def as_onnx(loaded: LoadedClassifier | OpenedLabels) -> bytes:
    """The version as one network: embedding -> calibrated probabilities."""
    if isinstance(loaded, OpenedLabels):
        return to_labels_onnx(loaded.made, card_of(loaded))
    return to_onnx(loaded.head, loaded.trust, card_of(loaded))


def card_of(loaded: LoadedClassifier | OpenedLabels) -> dict[str, Any]:
    """What a reader should know of the version; names no scan, subject or key."""
    return {
        "classifier": loaded.classifier.name,
        "version": loaded.version.number,
        "created_at": loaded.version.created_at,
        "examples": loaded.version.examples,
        "report": dict(loaded.version.report),
    }


def version_of_document(document: Mapping[str, Any], author: Author, encoder_id: str) -> NewVersion:
    """What an exported document becomes here: a version without examples.

    Raises:
        InvalidArtifact: damaged, of another format or of another format version.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        if document.get("format") == LABELS_FORMAT:
            return _version_of_labels(document, author, encoder_id)
        found = from_document(document, encoder_id=encoder_id)
    except ArtifactMismatch as error:
        raise InvalidArtifact(str(error)) from error
    return NewVersion(
        encoder_id=found.head.encoder_id,
        classes=found.head.classes,
        head_npz=to_npz(found.head),
        report=_report_of(found.card),
        settings=_settings_of(found.card),
        trust_npz=to_bytes(found.head, found.trust),
        author=author,
    )


def _version_of_labels(document: Mapping[str, Any], author: Author, encoder_id: str) -> NewVersion:
    found = from_labels_document(document, encoder_id=encoder_id)
    thresholds = {head.name: head.threshold for head in found.made.heads}
    return NewVersion(
        encoder_id=found.made.encoder_id,
        classes=found.made.labels,
        head_npz=to_npz(stacked_head(found.made)),
        report=_report_of(found.card),
        settings=_settings_of(found.card) | {"thresholds": thresholds},
        trust_npz=to_labels_bytes(found.made),
        author=author,
        kind="multi_label",
    )


def _report_of(card: Mapping[str, Any]) -> dict[str, Any]:
    report = card.get("report")
    return report if isinstance(report, dict) else {}


def _settings_of(card: Mapping[str, Any]) -> dict[str, Any]:
    origin = {key: value for key, value in card.items() if key != "report"}
    return {"imported": True, "origin": origin}
