"""What all requests and answers share. Pydantic stops here.

Answers are built by their models: ``of`` makes one from a record, ``to_json`` writes the fields
that were set.
"""

import base64
import binascii
import json
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from service.api.problems import problem
from service.embedding.analysis_terms import Reason
from service.errors import InputError, InvalidCursor, ServiceError
from service.gallery.gallery_records import ScanImage

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DIGITS = 6  # of every score, similarity and probability
ENCODER = "enc_9f2c61b0a7d84e35c1f0b6aa"
TIME = "2026-11-24T09:30:00.000000Z"
REGION_NUMBER = "In the image's regions, from 0."
REGION_HELP = "Of each frame: auto, none, or a box x0,y0,x1,y1 in pixels; default as set."
FRAMES_HELP = "Of a clip: all, uniform:N, fps:F or different:N; default as set."

JsonObject: TypeAlias = dict[str, Any]
Responses: TypeAlias = dict[int | str, dict[str, Any]]
Name = Annotated[str, StringConstraints(pattern=NAME)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
# Part of a path: a slash could not be addressed, and clients resolve a leading dot.
ScanId = Annotated[
    str,
    StringConstraints(max_length=128, pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$"),
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Value = Annotated[str, StringConstraints(max_length=1000)] | bool | int | float | None
FrameChoice = Annotated[
    str,
    StringConstraints(
        pattern=r"^(all|(uniform|different):[1-9][0-9]{0,4}|fps:[0-9]{1,4}(\.[0-9]{1,3})?)$"
    ),
]
RegionChoice = Annotated[
    str, StringConstraints(pattern=r"^(auto|none|[0-9]{1,6},[0-9]{1,6},[0-9]{1,6},[0-9]{1,6})$")
]
Base64Image = Annotated[str, Field(description="A whole image file, base64.")]
Component = Annotated[float, Field(ge=-1e6, le=1e6)]
Limit = Annotated[int, Query(ge=1, description="Most items on this page.")]
Cursor = Annotated[str | None, Query(max_length=2000)]


def example_of(value: JsonObject) -> ConfigDict:
    """The example that the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"example": value})


class Body(BaseModel):
    """A request: unknown fields are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Answer(BaseModel):
    """Of the service; it holds these fields and no others."""

    model_config = ConfigDict(extra="forbid")

    def to_json(self) -> JsonObject:
        """The fields that were set."""
        return self.model_dump(mode="json", exclude_unset=True)


def _rounded(value: Any) -> Any:
    return round(float(value), DIGITS) if isinstance(value, float) else value


Rounded = Annotated[float, BeforeValidator(_rounded)]
Cosine = Annotated[float, BeforeValidator(_rounded), Field(ge=-1, le=1)]
Share = Annotated[float, BeforeValidator(_rounded), Field(ge=0, le=1)]


class BrokenRule(Answer):
    """One rule that a request broke; the value is never told."""

    where: str = Field(examples=["body.name"])
    rule: str = Field(examples=["string_pattern_mismatch"])
    says: str


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
    errors: list[BrokenRule] | None = Field(None, description="Of a validation_error.")

    @classmethod
    def of(cls, error: ServiceError, request_id: str) -> "Problem":
        """The problem of one item of a batch, or of an operation."""
        return cls(**problem(error, request_id))


class RegionSeen(Answer):
    """A used scan area, in pixels of the frame."""

    box: list[int] = Field(description="x0, y0, x1, y1, half open.", examples=[[120, 60, 800, 518]])
    outline: list[list[int]] = Field(description="Corners x, y inside the box; empty = the box.")
    found: Literal["declared", "pixels", "motion", "caller", "whole"]
    confidence: Share
    spacing_mm: list[float] | None = Field(description="Row and column size of a pixel.")


class QualitySeen(Answer):
    """One finding, with what was measured and the limit that it passed."""

    reason: Reason
    value: float
    limit: float


class DeviceSeen(Answer):
    """What made the picture, as far as the file tells; empty = not told."""

    manufacturer: str
    model: str
    transducer: str
    depth_mm: float | None = Field(description="DepthOfScanField.")


class ImageSeen(Answer):
    """What was read of a file, and which of it was embedded."""

    kind: Literal["frame", "cine"]
    format: str = Field(examples=["png"])
    width_px: int
    height_px: int
    frames: int = Field(description="In the file.")
    frames_used: int = Field(description="Of them, those that were embedded.")
    frame_rate_hz: float | None
    sha256: str
    content_sha256: str = Field(description="Of the pixels that were embedded.")
    regions: list[RegionSeen] = Field(description="Used ones, largest first.")
    regions_used: int = Field(
        description="Of them, those that were embedded, each by itself; the embedding of a file "
        "is the unit mean of all that was embedded of it."
    )
    device: DeviceSeen | None = Field(description="Of DICOM; null when the file tells nothing.")
    masked_px: int = Field(description="Of the frame: not used, or filled.")
    burned_in_risk: Literal["none", "low", "high"] = Field(
        description="That names are left in the frame."
    )
    burned_in_reasons: list[
        Literal["text_masked", "text_kept", "much_text", "region_unsure", "tagged_by_file"]
    ]
    quality: list[QualitySeen] = Field(description="Why the frame had better not be trusted.")

    @classmethod
    def of(cls, image: ScanImage) -> "ImageSeen":
        """What the catalog holds of a file, or will."""
        analysis = _UNMEASURED | dict(image.analysis)
        return cls(
            kind=image.kind,
            format=image.format,
            width_px=image.width_px,
            height_px=image.height_px,
            frames=image.frames,
            frames_used=image.frames_used,
            frame_rate_hz=image.frame_rate_hz,
            sha256=image.sha256,
            content_sha256=image.content_sha256,
            regions_used=image.regions_used,
            **analysis,
        )


_UNMEASURED: JsonObject = {  # where an imported scan tells nothing
    "regions": [],
    "device": None,
    "masked_px": 0,
    "burned_in_risk": "high",
    "burned_in_reasons": [],
    "quality": [],
}


class Deleted(Answer):
    """What was deleted."""

    deleted: str


class PageAnswer(Answer):
    """``next_cursor`` is null on the last page."""

    next_cursor: str | None


def responses_of(model: Any, *statuses: int) -> Responses:
    """The ``responses`` of a route that answers ``model``, or a union; without statuses, 200."""
    described = {200: "Done.", 201: "Created.", 207: "Some items failed; each says so."}
    return {
        status: {"model": model, "description": described[status]} for status in statuses or (200,)
    }


# conventions of the wire ----------------------------------------------------------------------


def etag(version: int) -> str:
    """Strong entity tag of a version."""
    return f'"{version}"'


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match header names; None for ``*`` or no header.

    Raises:
        InputError: not one of our entity tags.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("expected If-Match to hold one ETag of this service")
    return int(text)


def write_cursor(kind: str, after: str | None) -> str | None:
    """An opaque cursor of the list ``kind``; None on the last page."""
    if after is None:
        return None
    text = json.dumps([kind, after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def read_cursor(kind: str, cursor: str | None) -> str | None:
    """Where the list goes on. Raises InvalidCursor: not a cursor of this list."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor("expected a cursor that this service gave") from error
    if not (isinstance(parts, list) and len(parts) == 2 and parts[0] == kind):
        raise InvalidCursor("expected a cursor of this list")
    if not isinstance(parts[1], str):
        raise InvalidCursor("expected a cursor that this service gave")
    return parts[1]


def number_of(text: str) -> int:
    """What a cursor over numbers holds. Raises InvalidCursor."""
    # The length goes first: int() refuses texts of many thousand digits with a ValueError.
    if len(text) < 16 and text.isascii() and text.isdecimal():
        return int(text)
    raise InvalidCursor("expected a cursor that this service gave")
