"""Export a version as a file, and import one."""

from collections.abc import Mapping
from typing import Any

from service.catalog.records import Author, NewVersion
from service.classifiers.fitting import MULTI, REPORT_DIGITS, SINGLE
from service.classifiers.import_check import check_document, respelt, spellings
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.report_check import WHERE, check_report
from service.classifiers.views.chosen_views import VIEWS
from service.errors import ArtifactMismatch, InputError, InvalidArtifact
from service.fewshot.onnx_export import to_onnx
from service.fewshot.portable import (
    PortableClassifier,
    digest_of,
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


def version_of_document(
    document: Mapping[str, Any], author: Author, encoder_id: str, dim: int
) -> NewVersion:
    """A version without examples, from an exported document, which is checked whole.

    Names of classes are stored in their one spelling.

    Raises:
        InvalidArtifact: damaged, of another format or format version, or a value that no export
            has; the message holds its place.
        EncoderMismatch: made for another encoder than ``encoder_id``.
    """
    check_document(document)
    try:
        portable = from_document(_in_one_spelling(document), encoder_id=encoder_id)
    except ArtifactMismatch as error:
        raise InvalidArtifact(str(error)) from error
    classifier = portable.classifier
    if classifier.width != dim:
        raise InvalidArtifact(f"expected weights of width {dim}, got {classifier.width}")
    report = _report_of(portable)
    origin = {key: value for key, value in portable.card.items() if key != "report"}
    is_multi_label = None not in classifier.heads
    thresholds = {"thresholds": classifier.thresholds} if is_multi_label else {}
    views = {VIEWS: True} if classifier.asked_with == "views" else {}
    return NewVersion(
        encoder_id=classifier.encoder_id,
        classes=classifier.labels,
        artifact=to_bytes(classifier),
        out_of_fold=b"",
        report=report,
        settings={"imported": True, "origin": origin, **thresholds, **views},
        author=author,
        kind=MULTI if is_multi_label else SINGLE,
    )


def _in_one_spelling(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as a fit of today would name its classes. Raises ArtifactMismatch: changed."""
    names = spellings(document)
    if not names:
        return dict(document)
    facts: dict[str, Any] = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != digest_of(facts):
        raise ArtifactMismatch("the classifier was changed: its digest does not match")
    facts = respelt(facts, names)
    facts["heads"].sort(key=lambda head: head["label"] or "")
    report = facts["card"].get("report")
    if isinstance(report, dict) and isinstance(report.get("labels"), list):
        order = [head["label"] for head in facts["heads"]]
        heads = {h.get("label"): h for h in report["labels"] if isinstance(h, dict)}
        if len(heads) == len(report["labels"]) and heads.keys() == set(order):
            report["labels"] = [heads[label] for label in order]
    return facts | {"sha256": digest_of(facts)}


def _report_of(portable: PortableClassifier) -> dict[str, Any]:
    """The report on the card; empty without one. Raises InvalidArtifact: it cannot be used."""
    report = portable.card.get("report")
    if not report:
        return {}
    where = f"{WHERE}.card.report"
    try:
        read = from_plain(ClassifierReport, report, where=where)
    except InputError as error:
        raise InvalidArtifact(str(error)) from error
    checked: dict[str, Any] = to_plain(read, REPORT_DIGITS)
    heads = portable.classifier.heads.items()
    check_report(checked, [(label, head.head.classes) for label, head in heads])
    return checked
