"""Classifiers that leave as one file and come back from one."""

from collections.abc import Mapping
from typing import Any

from service.catalog.records import Author, NewVersion
from service.errors import ArtifactMismatch, InvalidArtifact
from service.fewshot.head import to_npz
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import from_document, to_bytes, to_document
from service.heads.opened import Opened


def as_document(opened: Opened) -> dict[str, Any]:
    """The version as JSON values with its card; distances need the anchors, so they travel."""
    return to_document(opened.head, opened.trust, card_of(opened))


def as_onnx(opened: Opened) -> bytes:
    """The version as one network: embedding -> calibrated probabilities."""
    return to_onnx(opened.head, opened.trust, card_of(opened))


def card_of(opened: Opened) -> dict[str, Any]:
    """What a reader should know of the version; names no scan, subject or key."""
    return {
        "classifier": opened.classifier.name,
        "version": opened.version.number,
        "created_at": opened.version.created_at,
        "examples": opened.version.examples,
        "report": dict(opened.version.report),
    }


def version_of_document(document: Mapping[str, Any], author: Author, encoder_id: str) -> NewVersion:
    """What an exported document becomes here: a version without examples.

    Raises:
        InvalidArtifact: damaged, of another format or of another format version.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    try:
        found = from_document(document, encoder_id=encoder_id)
    except ArtifactMismatch as error:
        raise InvalidArtifact(str(error)) from error
    report = found.card.get("report")
    origin = {k: v for k, v in found.card.items() if k != "report"}
    return NewVersion(
        encoder_id=found.head.encoder_id,
        classes=found.head.classes,
        head_npz=to_npz(found.head),
        report=report if isinstance(report, dict) else {},
        settings={"imported": True, "origin": origin},
        trust_npz=to_bytes(found.head, found.trust),
        author=author,
    )
