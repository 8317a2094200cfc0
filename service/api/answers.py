"""What each route answers, as the OpenAPI document tells it.

Routes write plain dictionaries (``wire``); a test holds every answer against these shapes.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.schemas import JsonObject

ENCODER = "enc_9f2c61b0a7d84e35c1f0b6aa"
TIME = "2026-11-24T09:30:00.000000Z"


class Answer(BaseModel):
    """Of the service; it holds these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """RFC 9457 problem document; match on ``code``, a closed list (docs/errors.md)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:sonoprobe:error:unknown_item",
                "title": "Unknown item",
                "status": 404,
                "detail": "no such collection in this workspace",
                "code": "unknown_item",
                "request_id": "req_5f2b1c0d9e8a7463",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = Field(description="Also in the header X-Request-Id and in the log.")
    errors: list[JsonObject] | None = Field(
        None, description="Of a validation_error: where, rule and says; never the value."
    )


class Live(Answer):
    """The process answers."""

    status: Literal["live"]


class Ready(Answer):
    """The service takes work."""

    status: Literal["ready"]
    encoder_id: str = Field(examples=[ENCODER])


class EncoderAnswer(Answer):
    """The loaded bundle."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    manifest: JsonObject | None
    model_card: str = Field(description="Markdown.")


class ImageSeen(Answer):
    """What was looked at."""

    kind: Literal["frame"]
    format: str = Field(examples=["png"])
    width_px: int
    height_px: int
    frames: int = Field(description="In the file.")
    frames_used: int = Field(description="Whose embeddings were pooled.")
    frame_rate_hz: float | None
    regions: list[JsonObject] = Field(description="Used regions; a still is used as a whole.")
    masked_px: int
    burned_in_risk: Literal["unknown"]
    sha256: str
    content_sha256: str = Field(description="Of the pixels that were looked at; empty if unknown.")


class FrameEmbeddingAnswer(Answer):
    """One used frame of a clip, with `pool=none`."""

    index: int = Field(ge=0, description="In the file.")
    time_s: float | None = Field(description="Since the first frame of the file.")
    embedding: list[float] | str


class EmbeddingItem(Answer):
    """``embedding`` and ``image``, or ``problem``."""

    embedding: list[float] | str | None = Field(
        None, description="Numbers, or base64 of little-endian values; int8 is value x 127."
    )
    frames: list[FrameEmbeddingAnswer] | None = None
    image: ImageSeen | None = None
    problem: Problem | None = None


class EmbeddingsAnswer(Answer):
    """One item per image, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    dtype: Literal["float32", "float16", "int8"]
    encoding_format: Literal["float", "base64"]
    items: list[EmbeddingItem]


class CollectionAnswer(Answer):
    """A gallery."""

    name: str = Field(examples=["liver"])
    description: str
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    scans: int
    created_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])


class CollectionPage(Answer):
    """``next_cursor`` is null on the last page."""

    items: list[CollectionAnswer]
    next_cursor: str | None


class CollectionDeleted(Answer):
    """What went."""

    deleted: str
    scans: int


class ScanAnswer(Answer):
    """A stored scan."""

    scan_id: str = Field(examples=["scan-1"])
    collection: str = Field(examples=["liver"])
    subject_id: str | None = Field(examples=["p1"])
    study_id: str | None
    labels: dict[str, str] = Field(examples=[{"finding": "benign"}])
    attributes: dict[str, Any] = Field(examples=[{"device": "handheld"}])
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    image: ImageSeen
    created_at: str = Field(examples=[TIME])
    updated_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])


class StoredItem(Answer):
    """``scan`` and whether it is new, or ``problem``."""

    scan: ScanAnswer | None = None
    created: bool | None = None
    problem: Problem | None = None


class StoredAnswer(Answer):
    """One item per image, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    items: list[StoredItem]


class ScanPage(Answer):
    """``next_cursor`` is null on the last page."""

    items: list[ScanAnswer]
    next_cursor: str | None


class KnownAnswer(Answer):
    """{sha256: scan_id}."""

    known: dict[str, str]


class Deleted(Answer):
    """What went."""

    deleted: str


class ErasedScan(Answer):
    """One scan that went."""

    collection: str
    scan_id: str


class Receipt(Answer):
    """Of an erased subject."""

    scans: list[ErasedScan]
    classifiers: list[str] = Field(description="That learnt from the subject; they stay.")
    uploads: int = Field(description="Erased examples that were uploaded to classifiers.")


class HitFrame(Answer):
    """The frame of a cine that is nearest to the query; ``score`` is its cosine."""

    index: int = Field(ge=0, examples=[12])
    time_s: float | None = Field(examples=[0.48])
    score: float = Field(ge=-1, le=1)


class HitAnswer(Answer):
    """A similar scan; ``score`` is the cosine."""

    score: float = Field(ge=-1, le=1, examples=[0.93])
    scan: ScanAnswer
    frame: HitFrame | None = Field(description="Null for a still.")


class QueryAnswer(Answer):
    """The uploaded query as it was seen; null for others."""

    image: ImageSeen | None


class SearchAnswer(Answer):
    """Best hits first."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[512])
    query: QueryAnswer
    hits: list[HitAnswer]


def says(model: type[Answer], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers ``model``; without statuses, 200."""
    described = {200: "Done.", 201: "Made.", 207: "Some items failed; each says so."}
    return {
        status: {"model": model, "description": described[status]} for status in statuses or (200,)
    }
