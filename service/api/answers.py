"""What each route answers, as the OpenAPI document tells it.

Routes write plain dictionaries (``wire``); a test holds every answer against these shapes.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.schemas import JsonObject
from service.imaging.analysis.quality import Reason

ENCODER = "enc_9f2c61b0a7d84e35c1f0b6aa"
REGION_NUMBER = "In the image's regions, from 0."
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
    dim: int = Field(examples=[1024])
    manifest: JsonObject | None
    model_card: str = Field(description="Markdown.")


class RegionSeen(Answer):
    """A used scan area, in pixels of the frame."""

    box: list[int] = Field(description="x0, y0, x1, y1, half open.", examples=[[120, 60, 800, 518]])
    outline: list[list[int]] = Field(description="Corners x, y inside the box; empty = the box.")
    found: Literal["declared", "pixels", "motion", "caller", "whole"]
    confidence: float = Field(ge=0, le=1)
    spacing_mm: list[float] | None = Field(description="Row and column size of a pixel.")


class QualitySeen(Answer):
    """One finding, with what was measured and the limit that it passed."""

    reason: Reason
    value: float
    limit: float


class IntakeAnswer(Answer):
    """What the collection refuses."""

    refuse_burned_in: Literal["low", "high"] | None
    refuse_quality: list[Reason]


class DeviceSeen(Answer):
    """What made the picture, as far as the file tells; empty = not told."""

    manufacturer: str
    model: str
    transducer: str
    depth_mm: float | None = Field(description="DepthOfScanField.")


class ImageSeen(Answer):
    """What was looked at."""

    kind: Literal["frame", "cine"]
    format: str = Field(examples=["png"])
    width_px: int
    height_px: int
    frames: int = Field(description="In the file.")
    frames_used: int = Field(description="Of them, those that were embedded.")
    frame_rate_hz: float | None
    regions: list[RegionSeen] = Field(description="Used ones, largest first.")
    regions_used: int = Field(
        description="Of them, those that were embedded, each by itself; the embedding of a file "
        "is the unit mean of all that was embedded of it."
    )
    device: DeviceSeen | None = Field(description="Of DICOM; null when the file tells nothing.")
    masked_px: int = Field(description="Of the frame: not used, or filled.")
    burned_in_risk: Literal["none", "low", "high"] = Field(description="Of names in the frame.")
    burned_in_reasons: list[
        Literal["text_masked", "text_kept", "much_text", "region_unsure", "tagged_by_file"]
    ]
    quality: list[QualitySeen] = Field(description="Why the frame had better not be trusted.")
    sha256: str
    content_sha256: str = Field(description="Of the pixels that were embedded.")


class FrameEmbeddingAnswer(Answer):
    """One used frame of a clip, or one region of a frame, with `pool=none`."""

    index: int = Field(ge=0, description="In the file.")
    region: int = Field(ge=0, description=REGION_NUMBER)
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
    dim: int = Field(examples=[1024])
    dtype: Literal["float32", "float16", "int8"]
    encoding_format: Literal["float", "base64"]
    items: list[EmbeddingItem]


class CollectionAnswer(Answer):
    """A gallery."""

    name: str = Field(examples=["liver"])
    description: str
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    scans: int
    keep_images: bool
    retention_days: float | None
    intake: IntakeAnswer
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
    dim: int = Field(examples=[1024])
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
    dim: int = Field(examples=[1024])
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


class HitFrame(Answer):
    """What of a cine or dual screen is nearest to the query; ``score`` is its cosine."""

    index: int = Field(ge=0, examples=[12])
    region: int = Field(ge=0, description=REGION_NUMBER)
    time_s: float | None = Field(examples=[0.48])
    score: float = Field(ge=-1, le=1)


class HitAnswer(Answer):
    """A similar scan; ``score`` is the cosine."""

    score: float = Field(ge=-1, le=1, examples=[0.93])
    scan: ScanAnswer
    frame: HitFrame | None = Field(description="Null for a still of one region.")


class QueryAnswer(Answer):
    """The uploaded query as it was seen; null for others."""

    image: ImageSeen | None


class SearchAnswer(Answer):
    """Best hits first."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    query: QueryAnswer
    hits: list[HitAnswer]


def says(model: Any, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that answers ``model``, or a union; without statuses, 200."""
    described = {200: "Done.", 201: "Made.", 207: "Some items failed; each says so."}
    return {
        status: {"model": model, "description": described[status]} for status in statuses or (200,)
    }
