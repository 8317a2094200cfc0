"""Bodies and answers of scans: upload, list, read, change, delete."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic import Field

from service.api.shapes.base import (
    ENCODER,
    TIME,
    Answer,
    Base64Image,
    Body,
    Identifier,
    ImageSeen,
    Label,
    PageAnswer,
    Problem,
    ScanId,
    Value,
    etag,
    example_of,
)
from service.api.shapes.operation_shapes import OperationAnswer
from service.errors import InputError, ServiceError
from service.gallery.gallery_records import Scan, ScanFacts, ScanPatch, StoredScan


class ScanMetadata(Body):
    """What is known of one uploaded image; all of it optional."""

    scan_id: ScanId | None = None
    subject_id: Identifier | None = None
    study_id: Identifier | None = None
    labels: dict[Identifier, Label] = Field(default_factory=dict, max_length=64)
    attributes: dict[Identifier, Value] = Field(default_factory=dict, max_length=64)

    def facts(self) -> ScanFacts:
        """For the gallery."""
        return ScanFacts(self.scan_id, self.subject_id, self.study_id, self.labels, self.attributes)


class NewScansBody(Body):
    """Images as JSON, and what is known of each."""

    model_config = example_of(
        {
            "images": ["iVBORw0KGgo..."],
            "metadata": [{"subject_id": "p1", "labels": {"finding": "benign"}}],
        }
    )

    images: list[Base64Image] = Field(min_length=1)
    metadata: list[ScanMetadata] | None = Field(None, description="One object per image.")


class ScanPatchBody(Body):
    """Change a scan: a value sets, null in labels or attributes removes the entry."""

    model_config = example_of({"labels": {"finding": "malignant", "draft": None}, "study_id": "s7"})

    subject_id: Identifier | None = None
    study_id: Identifier | None = None
    labels: dict[Identifier, Label | None] = Field(default_factory=dict, max_length=64)
    attributes: dict[Identifier, Value] = Field(default_factory=dict, max_length=64)

    def patch(self) -> ScanPatch:
        """What the gallery is to change."""
        return ScanPatch(
            labels=self.labels,
            attributes=self.attributes,
            subject_id=self.subject_id,
            study_id=self.study_id,
            set_fields=frozenset(self.model_fields_set & {"subject_id", "study_id"}),
        )


class ScanRecord(Answer):
    """A stored scan, wherever it is told of."""

    scan_id: str = Field(examples=["scan-1"])
    collection: str = Field(examples=["liver"])
    subject_id: str | None = Field(examples=["p1"])
    study_id: str | None
    labels: dict[str, str] = Field(examples=[{"finding": "benign"}])
    attributes: dict[str, Any] = Field(examples=[{"device": "handheld"}])
    image: ImageSeen
    thumbnail: str = Field(
        description="Path of a small JPEG.",
        examples=["/v1/collections/liver/scans/scan-1/thumbnail"],
    )
    created_at: str = Field(examples=[TIME])
    updated_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])


class HitScan(ScanRecord):
    """A similar scan; the encoder is told once for all hits."""

    @classmethod
    def of(cls, scan: Scan) -> "HitScan":
        """From the catalog's record; row ids and vectors stay inside."""
        return cls(**_fields(scan))


class ScanAnswer(ScanRecord):
    """A stored scan."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])

    @classmethod
    def of(cls, scan: Scan, dim: int) -> "ScanAnswer":
        """From the catalog's record; row ids and vectors stay inside."""
        return cls(encoder_id=scan.encoder_id, dim=dim, **_fields(scan))


def _fields(scan: Scan) -> dict[str, Any]:
    return {
        "scan_id": scan.scan_id,
        "collection": scan.collection,
        "subject_id": scan.subject_id,
        "study_id": scan.study_id,
        "labels": dict(scan.labels),
        "attributes": dict(scan.attributes),
        "image": ImageSeen.of(scan.image),
        "thumbnail": thumbnail_path(scan.collection, scan.scan_id),
        "created_at": scan.created_at,
        "updated_at": scan.updated_at,
        "etag": etag(scan.version),
    }


class ScanPage(PageAnswer):
    """Scans in the order of storing; ``next_cursor`` is null on the last page."""

    items: list[ScanAnswer]


class AddedScan(Answer):
    """``scan`` and whether it is new, or ``problem``."""

    scan: ScanAnswer | None = None
    created: bool | None = None
    problem: Problem | None = None

    @classmethod
    def of(cls, result: StoredScan | ServiceError, dim: int, request_id: str) -> "AddedScan":
        """From what became of one upload."""
        if isinstance(result, ServiceError):
            return cls(problem=Problem.of(result, request_id))
        return cls(scan=ScanAnswer.of(result.scan, dim), created=result.created)


class AddedScansAnswer(Answer):
    """One item per image, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    items: list[AddedScan]


class ScanDeleted(Answer):
    """What was deleted, and which classifiers had learnt from it."""

    deleted: str
    classifiers: list[str] = Field(description="That learnt from the scan; they stay.")
    operation: OperationAnswer | None = Field(None, description="The refit, when asked for.")


def thumbnail_path(collection: str, scan_id: str) -> str:
    """Where the thumbnail of a stored scan is read."""
    return f"/v1/collections/{quote(collection)}/scans/{quote(scan_id, safe='')}/thumbnail"


def facts_of_query(
    scan_id: str | None, subject_id: str | None, study_id: str | None, labels: Sequence[str]
) -> ScanFacts:
    """What the query parameters of a raw upload tell. Raises InputError."""
    pairs: dict[str, str] = {}
    for pair in labels:
        task, colon, name = pair.partition(":")
        if not (task and colon and name) or task in pairs:
            raise InputError("expected label=task:class, once per task")
        pairs[task] = name
    return ScanFacts(scan_id, subject_id, study_id, pairs)
