"""Bodies and answers of scans: upload, list, read, change, delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, RootModel, create_model

from service.api.shapes.base import (
    TIME,
    Answer,
    Attributes,
    Base64Image,
    Body,
    CollectionName,
    Deleted,
    EncodedAnswer,
    ImageAnswer,
    JsonObject,
    LabelChanges,
    Labels,
    PageAnswer,
    Problem,
    ResourceAnswer,
    ScanId,
    StudyId,
    SubjectId,
    etag,
    example_of,
)
from service.api.shapes.embedding_shapes import EmbeddingOptions, Encoding
from service.api.shapes.operation_shapes import COPIES_HELP, KNOWN_HELP, ErasedScan, OperationAnswer
from service.arrays import Floats
from service.embedding.quantisation import NumberFormat
from service.errors import InputError, ServiceError
from service.gallery.copying import MAX_COPIED
from service.gallery.gallery_records import Scan, ScanFacts, ScanPatch, StoredScan


class ScanMetadata(Body):
    """What the caller knows of an uploaded image; every field is optional."""

    scan_id: ScanId | None = None
    subject_id: SubjectId | None = None
    study_id: StudyId | None = None
    labels: Labels = Field(default_factory=dict, max_length=64)
    attributes: Attributes = Field(default_factory=dict, max_length=64)

    def facts(self) -> ScanFacts:
        """The facts as the gallery takes them."""
        return ScanFacts(self.scan_id, self.subject_id, self.study_id, self.labels, self.attributes)


class ScanMetadataList(RootModel[list[ScanMetadata]]):
    """One object per file of a form."""


class NewScansBody(Body):
    """Images as JSON, with what the caller knows of each."""

    model_config = example_of(
        {
            "images": ["iVBORw0KGgo..."],
            "metadata": [{"subject_id": "p1", "labels": {"finding": "benign"}}],
        }
    )

    images: list[Base64Image] = Field(min_length=1)
    metadata: list[ScanMetadata] | None = Field(None, description="One object per image.")


class ScanPatchBody(Body):
    """Change a scan; null in labels or attributes removes the entry."""

    model_config = example_of({"labels": {"finding": "malignant", "draft": None}, "study_id": "s7"})

    subject_id: SubjectId | None = None
    study_id: StudyId | None = None
    labels: LabelChanges = Field(default_factory=dict, max_length=64)
    attributes: Attributes = Field(default_factory=dict, max_length=64)

    def patch(self) -> ScanPatch:
        """The changes as the gallery takes them."""
        return ScanPatch(
            labels=self.labels,
            attributes=self.attributes,
            subject_id=self.subject_id,
            study_id=self.study_id,
            set_fields=frozenset(self.model_fields_set & {"subject_id", "study_id"}),
        )


class ScanRecord(ResourceAnswer):
    """A stored scan, without its encoder."""

    scan_id: str = Field(examples=["scan-1"])
    collection: str = Field(examples=["liver"])
    subject_id: str | None = Field(examples=["p1"])
    study_id: str | None
    labels: dict[str, str] = Field(examples=[{"finding": "benign"}])
    attributes: dict[str, Any] = Field(examples=[{"device": "handheld"}])
    image: ImageAnswer
    thumbnail: str = Field(
        description="Path of a small JPEG.",
        examples=["/v1/collections/liver/scans/scan-1/thumbnail"],
    )
    updated_at: str = Field(examples=[TIME])

    @classmethod
    def of(cls, scan: Scan, **others: Any) -> Self:
        """The answer for a record of the catalog; row ids and vectors stay inside."""
        return cls.of_record(
            scan,
            image=ImageAnswer.of(scan.image),
            thumbnail=thumbnail_path(scan.collection, scan.scan_id),
            etag=etag(scan.version),
            **others,
        )


class ScanAnswer(EncodedAnswer, ScanRecord):
    """A stored scan."""

    vector: list[float] | str | None = Field(
        None,
        description="Only with with_vector: numbers, or base64 of little-endian values; int8 is "
        "value x 127.",
    )


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """Whether and how to write the embeddings of stored scans."""

    with_vector: bool
    encoding_format: Encoding
    dtype: NumberFormat

    def write(self, embedding_D: Floats) -> list[float] | str:
        """Numbers, or base64, as of images that are not stored."""
        options = EmbeddingOptions(encoding_format=self.encoding_format, dtype=self.dtype)
        return options.write(embedding_D)


class ScanPage(PageAnswer):
    """Scans in the order in which they were stored."""

    items: list[ScanAnswer]


ScanField = Literal[
    "scan_id",
    "collection",
    "subject_id",
    "study_id",
    "labels",
    "attributes",
    "image",
    "thumbnail",
    "created_at",
    "updated_at",
    "etag",
    "encoder_id",
    "dim",
    "vector",
]

_SCAN_PARTS: JsonObject = {
    name: (field.annotation, Field(None, description=field.description))
    for name, field in ScanAnswer.model_fields.items()
    if name != "scan_id"
}
ScanPart: type[Answer] = create_model(
    "ScanPart",
    __base__=Answer,
    __doc__="The fields of a scan that ``fields`` names, and its id.",
    scan_id=(str, ...),
    **_SCAN_PARTS,
)


class ScanPartPage(PageAnswer):
    """Chosen fields of scans, in the order in which the scans were stored."""

    items: list[ScanPart]

    @classmethod
    def of(cls, page: ScanPage, fields: Sequence[ScanField]) -> JsonObject:
        """The answer with only these fields of each scan, as JSON."""
        include: Any = {"next_cursor": True, "items": {"__all__": {"scan_id", *fields}}}
        return page.model_dump(mode="json", exclude_unset=True, include=include)


class IgnoredAnswer(Answer):
    """Something that the upload says, but the scan that was stored before does not."""

    field: str = Field(examples=["labels.finding"])
    sent: Any = Field(description="Was ignored.")
    kept: Any = Field(description="Of the stored scan; null when it has none.")


class AddedScan(Answer):
    """``scan`` and whether it is new, or ``problem``."""

    scan: ScanAnswer | None = None
    created: bool | None = Field(None, description="False: the subject had this image already.")
    ignored: list[IgnoredAnswer] | None = Field(
        None, description="What the upload says otherwise than the stored scan, which stays as is."
    )
    copies: list[str] | None = Field(
        None,
        description="Ids of scans with the same file or pixels under another subject or none.",
    )
    problem: Problem | None = None

    @classmethod
    def of(cls, result: StoredScan | ServiceError, dim: int, request_id: str) -> Self:
        """The answer for one upload."""
        if isinstance(result, ServiceError):
            return cls(problem=Problem.of(result, request_id))
        return cls(
            scan=ScanAnswer.of(result.scan, dim=dim),
            created=result.created,
            ignored=[IgnoredAnswer.of_record(item) for item in result.ignored],
            copies=list(result.copies),
        )


class AddedScansAnswer(EncodedAnswer):
    """One item per image, in order."""

    items: list[AddedScan]


class CopyScansBody(Body):
    """Scans of a collection to store in another one too."""

    model_config = example_of({"to": "liver-masses", "scan_ids": ["scan-1", "scan-2"]})

    to: CollectionName = Field(description="A collection that exists, not the one of the scans.")
    scan_ids: list[ScanId] = Field(min_length=1, max_length=MAX_COPIED)


class CopiedScan(Answer):
    """What became of one scan: its copy, or ``problem``."""

    scan_id: str = Field(description="Of the scan that was to be copied.", examples=["scan-1"])
    copy_id: str | None = Field(
        None, description="Id in the other collection: the same, unless it had the image before."
    )
    created: bool | None = Field(
        None, description="False: the collection had this image of this subject already."
    )
    ignored: list[IgnoredAnswer] | None = Field(
        None, description="What the scan says otherwise than the one there, which stays as is."
    )
    problem: Problem | None = None

    @classmethod
    def of(cls, scan_id: str, result: StoredScan | ServiceError, request_id: str) -> Self:
        """The answer for one scan."""
        if isinstance(result, ServiceError):
            return cls(scan_id=scan_id, problem=Problem.of(result, request_id))
        return cls(
            scan_id=scan_id,
            copy_id=result.scan.scan_id,
            created=result.created,
            ignored=[IgnoredAnswer.of_record(item) for item in result.ignored],
        )


class CopiedScansAnswer(Answer):
    """One item per scan, in order."""

    to: str = Field(examples=["liver-masses"])
    created: int = Field(description="Number of scans that are new in the other collection.")
    known: int = Field(description="Number of scans that it had already.")
    failed: int = Field(description="Number of scans that were not copied.")
    items: list[CopiedScan]

    @classmethod
    def of(
        cls,
        to: str,
        scan_ids: Sequence[str],
        results: Sequence[StoredScan | ServiceError],
        request_id: str,
    ) -> Self:
        """The answer for the scans of a request."""
        pairs = zip(scan_ids, results, strict=True)
        items = [CopiedScan.of(scan_id, result, request_id) for scan_id, result in pairs]
        created, known = (sum(item.created is new for item in items) for new in (True, False))
        failed = len(items) - created - known
        return cls(to=to, created=created, known=known, failed=failed, items=items)


class ScanDeleted(Deleted):
    """What was deleted, and which classifiers were fitted from it."""

    classifiers: list[str] = Field(description="Classifiers fitted from the scan; they stay.")
    copies: list[ErasedScan] = Field(description=COPIES_HELP)
    backups_know: bool | None = Field(description=KNOWN_HELP)
    operation: OperationAnswer | None = Field(None, description="The refit, if requested.")


def thumbnail_path(collection: str, scan_id: str) -> str:
    """The path of the thumbnail of a stored scan."""
    return f"/v1/collections/{quote(collection)}/scans/{quote(scan_id, safe='')}/thumbnail"


def facts_of_query(
    ids: tuple[str | None, str | None, str | None],
    pairs: Sequence[str],
    labels: JsonObject | None,
    attributes: JsonObject | None,
) -> JsonObject:
    """The metadata in the query parameters of a raw upload; empty without any.

    Args:
        ids: scan, subject and study.
        pairs: labels as task:class.

    Raises:
        InputError: a pair is none, or a task is named twice.
    """
    named: JsonObject = dict(labels or {})
    for pair in pairs:
        task, colon, name = pair.partition(":")
        if not (task and colon and name) or task in named:
            raise InputError("expected label=task:class, once per task")
        named[task] = name
    facts: JsonObject = dict(zip(("scan_id", "subject_id", "study_id"), ids, strict=True))
    facts |= {"labels": named or None, "attributes": attributes or None}
    return {field: value for field, value in facts.items() if value is not None}
