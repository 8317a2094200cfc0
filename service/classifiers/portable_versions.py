"""Export a version as a file, and import one."""

from collections.abc import Mapping
from typing import Any

from service.catalog.records import Author, NewVersion
from service.classifiers.fitting import MULTI, REPORT_DIGITS, SINGLE
from service.classifiers.loaded import LoadedClassifier
from service.errors import ArtifactMismatch, InputError, InvalidArtifact
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import (
    PortableClassifier,
    from_document,
    from_plain,
    to_bytes,
    to_document,
    to_plain,
)
from service.fewshot.report import ClassifierReport


def export_document(loaded: LoadedClassifier) -> dict[str, Any]:
    """The version as JSON values, with its card and the anchors that distances need."""
    return to_document(loaded.model, card_of(loaded))


def export_onnx(loaded: LoadedClassifier) -> bytes:
    """The version as one network: embedding -> calibrated probabilities."""
    return to_onnx(loaded.model, card_of(loaded))


def card_of(loaded: LoadedClassifier) -> dict[str, Any]:
    """Facts about the version for its reader, without scans, subjects or keys."""
    return {
        "classifier": loaded.classifier.name,
        "version": loaded.version.number,
        "created_at": loaded.version.created_at,
        "examples": loaded.version.examples,
        "report": dict(loaded.version.report),
    }


def version_of_document(document: Mapping[str, Any], author: Author, encoder_id: str) -> NewVersion:
    """A version without examples, from an exported document.

    Raises:
        InvalidArtifact: damaged, of another format or of another format version.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        portable = from_document(document, encoder_id=encoder_id)
        report = _report_of(portable)
    except ArtifactMismatch as error:
        raise InvalidArtifact(str(error)) from error
    classifier = portable.classifier
    origin = {key: value for key, value in portable.card.items() if key != "report"}
    is_multi_label = None not in classifier.heads
    thresholds = {"thresholds": classifier.thresholds} if is_multi_label else {}
    return NewVersion(
        encoder_id=classifier.encoder_id,
        classes=classifier.labels,
        artifact=to_bytes(classifier),
        out_of_fold=b"",
        report=report,
        settings={"imported": True, "origin": origin, **thresholds},
        author=author,
        kind=MULTI if is_multi_label else SINGLE,
    )


def _report_of(portable: PortableClassifier) -> dict[str, Any]:
    """The report on the card; empty without one. Raises ArtifactMismatch: it cannot be read."""
    report = portable.card.get("report")
    if not report:
        return {}
    try:
        checked: dict[str, Any] = to_plain(from_plain(ClassifierReport, report), REPORT_DIGITS)
    except InputError as error:
        raise ArtifactMismatch(f"the report of the card cannot be read: {error}") from error
    if len(checked["labels"]) != len(portable.classifier.heads):
        raise ArtifactMismatch("the report is of another classifier")
    return checked
