"""Versions of classifiers on the wire: their examples, and changes of them."""

from typing import Self, cast
from urllib.parse import quote

from pydantic import Field, model_validator

from service.api.shapes.base import ENCODER, TIME, Answer, Body, Identifier, Name, etag, example_of
from service.api.shapes.classifier_shapes import (
    MAX_EXAMPLES,
    ExampleSource,
    FitFields,
    Kind,
    Labelled,
)
from service.api.shapes.report_shapes import VersionReport, VersionSettings
from service.classifiers.examples import Reference
from service.classifiers.registry import Author, Classifier, ClassifierVersion, VersionExample
from service.classifiers.requests import ChangeRequest, labelling_of


class ExampleReference(Body):
    """An example of a classifier: by ``example_id``, or by ``collection`` and ``scan_id``."""

    example_id: Identifier | None = None
    collection: Name | None = None
    scan_id: Identifier | None = None

    @model_validator(mode="after")
    def _names_one_example(self) -> Self:
        is_scan = self.collection is not None and self.scan_id is not None
        is_part = self.collection is not None or self.scan_id is not None
        if (self.example_id is None) != is_scan or (self.example_id is not None and is_part):
            raise ValueError("expected example_id, or collection and scan_id")
        return self

    @property
    def reference(self) -> Reference:
        """As the use cases take it."""
        if self.collection is not None and self.scan_id is not None:
            return Reference(scan=(self.collection, self.scan_id))
        return Reference(self.example_id)


class RelabelledExample(ExampleReference, Labelled):
    """An example, and its right class or labels."""


class ExampleChangesBody(ExampleSource, FitFields):
    """What the next version has otherwise; at least one change.

    Scans and images in ``examples`` that the version has already are relabelled.
    """

    model_config = example_of(
        {
            "collection": "liver",
            "examples": [{"scan_id": "scan-7", "label": "benign"}],
            "relabel": [{"example_id": "exm_0b1e9f", "label": "malignant"}],
            "drop": [{"collection": "liver", "scan_id": "scan-2"}],
            "publish": True,
        }
    )

    publish: bool = Field(False, description="Let the new version predict at once.")
    relabel: list[RelabelledExample] = Field(default_factory=list, max_length=MAX_EXAMPLES)
    drop: list[ExampleReference] = Field(default_factory=list, max_length=MAX_EXAMPLES)

    def request(
        self, name: str, version: str, author: Author, if_revision: int | None
    ) -> ChangeRequest:
        """As the use cases take it; the kind stays that of the version."""
        return ChangeRequest(
            name,
            version,
            self.stored,
            tuple((item.reference, item.labelling) for item in self.relabel),
            tuple(item.reference for item in self.drop),
            self.fit_options(),
            author,
            self.publish,
            if_revision,
        )


class CreatedBy(Answer):
    """The key that made a version; nulls when the service asks for no key."""

    key_id: str | None
    name: str | None


class VersionAnswer(Answer):
    """A version, which never changes; the ETag is that of its classifier."""

    classifier: str = Field(examples=["finding"])
    classifier_id: str
    version: int
    published: bool
    encoder_id: str = Field(examples=[ENCODER])
    kind: Kind
    classes: list[str] = Field(examples=[["benign", "malignant"]], description="Or labels.")
    examples: int = Field(description="It was fitted from; see .../examples.")
    report: VersionReport | None = Field(description="Null of an import without one.")
    calibrated: bool
    settings: VersionSettings
    created_by: CreatedBy
    created_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])

    @classmethod
    def of(cls, classifier: Classifier, version: ClassifierVersion) -> Self:
        """The shape of a record."""
        report = VersionReport.of(version.report)
        return cls(
            classifier=classifier.name,
            classifier_id=classifier.classifier_id,
            version=version.number,
            published=version.number == classifier.published.number,
            encoder_id=version.encoder_id,
            kind=cast(Kind, version.kind),
            classes=list(version.classes),
            examples=version.examples,
            report=report,
            calibrated=report is not None and report.is_calibrated,
            settings=VersionSettings.model_validate(version.settings),
            created_by=CreatedBy(key_id=version.author.key_id, name=version.author.key_name),
            created_at=version.created_at,
            etag=etag(classifier.revision),
        )


class VersionPage(Answer):
    """Newest first; ``next_cursor`` is null on the last page."""

    items: list[VersionAnswer]
    next_cursor: str | None


class ExampleAnswer(Answer):
    """One example of a version."""

    example_id: str
    label: str | None = Field(description="Its class; null of a multi-label classifier.")
    labels: list[str] | None = Field(description="Of a multi-label classifier; else null.")
    group: int = Field(description="Equal numbers: same patient, study or image.")
    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    thumbnail: str | None = Field(description="Path of a small JPEG; null for an upload.")
    sha256: str | None = Field(description="Of the image; null once its subject was erased.")
    kept: bool = Field(description="False once its scan was deleted or its subject erased.")

    @classmethod
    def of(cls, example: VersionExample, kind: str) -> Self:
        """The shape of a record of a version of this kind."""
        collection, scan_id = example.scan or (None, None)
        label, labels = label_fields(example.label, kind)
        return cls(
            example_id=example.example_id,
            label=label,
            labels=labels,
            group=example.group,
            collection=collection,
            scan_id=scan_id,
            thumbnail=thumbnail_path(example.scan),
            sha256=example.sha256,
            kept=example.is_kept,
        )


class ExamplePage(Answer):
    """In the order of fitting; ``next_cursor`` is null on the last page."""

    items: list[ExampleAnswer]
    next_cursor: str | None


def label_fields(key: str, kind: str) -> tuple[str | None, list[str] | None]:
    """``label`` and ``labels`` of an example, of which one is null."""
    labelling = labelling_of(kind, key)
    return (labelling, None) if isinstance(labelling, str) else (None, list(labelling))


def thumbnail_path(scan: tuple[str, str] | None) -> str | None:
    """The path of a stored scan's thumbnail; None for an upload."""
    if scan is None:
        return None
    collection, scan_id = scan
    return f"/v1/collections/{quote(collection)}/scans/{quote(scan_id, safe='')}/thumbnail"
