"""What all requests and answers share. Pydantic stops here."""

import re
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from service.access.name_limits import NamedItems, current_limits
from service.access.workspace_rules import stored_study, stored_subject
from service.api.problems import MAX_RULES, problem
from service.api.strict_json import MAX_INLINE_BYTES
from service.classifiers.refusals import RefusalReason
from service.embedding.analysis_terms import CorrectedFact, Reason
from service.errors import InputError, ServiceError, UnknownItem
from service.gallery.gallery_records import ScanImage, require_name, require_value

VERSION_NAME = r"^([1-9][0-9]{0,8}|published|latest)$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DIGITS = 6  # of scores, similarities, probabilities, distances; logits that add up stay whole
ENCODER = "enc_9f2c61b0a7d84e35c1f0b6aa"
TIME = "2026-11-24T09:30:00.000000Z"
REGION_NUMBER = "Number of the region in the image's list, from 0."
REGION_HELP = (
    "Part of each frame to use: auto, none, or a box x0,y0,x1,y1 in pixels; "
    "the settings hold the default."
)
FRAMES_HELP = (
    "Frames of a clip to use: all, uniform:N, fps:F or different:N; the settings hold the default."
)
THUMBNAIL_HELP = "Path of a small JPEG; null for an upload."


def _name(text: Any) -> Any:
    try:
        return require_name(text, "the text") if isinstance(text, str) else text
    except InputError as error:
        raise ValueError(str(error)) from None


def _value(text: Any) -> Any:
    try:
        return require_value(text, "the text") if isinstance(text, str) else text
    except InputError as error:
        raise ValueError(str(error)) from None


def _distinct(values: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Refuse two names of an object that become one text in the stored form."""
    checked = handler(values)
    if isinstance(values, dict) and len(checked) < len(values):
        raise ValueError("two names are the same text")
    return checked


def _written_time(text: Any) -> Any:
    """Pydantic also reads seconds since 1970, so that 20260131 would be a day of that year."""
    if text is not None and not (isinstance(text, str) and _WRITTEN_DAY.match(text)):
        raise ValueError("expected an ISO 8601 time, which begins with a date: YYYY-MM-DD")
    return text


def _named_collection(name: str) -> str:
    current_limits().require(NamedItems(collections=(name,)))
    return name


def _new_collection(name: str) -> str:
    current_limits().require_new(NamedItems(collections=(name,)))
    return name


def _named_classifier(name: str) -> str:
    current_limits().require(NamedItems(classifiers=(name,)))
    return name


def _new_classifier(name: str) -> str:
    current_limits().require_new(NamedItems(classifiers=(name,)))
    return name


JsonObject: TypeAlias = dict[str, Any]
Responses: TypeAlias = dict[int | str, dict[str, Any]]
Name = Annotated[str, StringConstraints(pattern=NAME)]
# Every collection or classifier that a body or a query names has one of these types: they hold
# the limits of the caller. The errors that they raise are no ValueErrors, so Pydantic passes them.
CollectionName = Annotated[Name, AfterValidator(_named_collection)]
NewCollectionName = Annotated[Name, AfterValidator(_new_collection)]
ClassifierName = Annotated[Name, AfterValidator(_named_classifier)]
NewClassifierName = Annotated[Name, AfterValidator(_new_classifier)]
# Ids, names and values of labels get the form in which they are stored: composed and trimmed.
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128), BeforeValidator(_name)]
# Of what is stored: where the policy of the workspace says so, the validated value is a pseudonym
# already, so that nothing behind it (a fingerprint, an operation, a log) sees the id as given.
SubjectId = Annotated[Identifier, AfterValidator(stored_subject)]
StudyId = Annotated[Identifier, AfterValidator(stored_study)]
# An id is a part of a path: no slash, and no leading dot, which clients would resolve.
ScanId = Annotated[
    str,
    StringConstraints(max_length=128, pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$"),
    BeforeValidator(_name),
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128), BeforeValidator(_name)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Value = (
    Annotated[str, StringConstraints(max_length=1000), BeforeValidator(_value)]
    | bool
    | int
    | float
    | None
)
# Of every object of a request whose names get the form in which they are stored; after its length.
DISTINCT_NAMES = WrapValidator(_distinct)
Labels = Annotated[dict[Identifier, Label], DISTINCT_NAMES]
Attributes = Annotated[dict[Identifier, Value], DISTINCT_NAMES]
LabelChanges = Annotated[dict[Identifier, Label | None], DISTINCT_NAMES]
WRITTEN_TIME = BeforeValidator(_written_time)  # of every time of a request
ZonedTime = Annotated[AwareDatetime, WRITTEN_TIME]
FrameChoice = Annotated[
    str,
    StringConstraints(
        pattern=r"^(all|(uniform|different):[1-9][0-9]{0,4}|fps:[0-9]{1,4}(\.[0-9]{1,3})?)$"
    ),
]
RegionChoice = Annotated[
    str, StringConstraints(pattern=r"^(auto|none|[0-9]{1,6},[0-9]{1,6},[0-9]{1,6},[0-9]{1,6})$")
]
Base64Image = Annotated[str, Field(description="One image file, base64.")]
Component = Annotated[float, Field(ge=-1e6, le=1e6)]


def example_of(value: JsonObject) -> ConfigDict:
    """The example that the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"example": value})


class Body(BaseModel):
    """A request. Unknown fields are refused, so that a misspelt name is not silently ignored.

    Every list and object of a request has a greatest length, which is checked before its items:
    Pydantic would write an error for each wrong one. ``max_bytes`` is the longest JSON of the model
    where it is the whole body of a request.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    max_bytes: ClassVar[int] = 2 * MAX_INLINE_BYTES

    @model_validator(mode="before")
    @classmethod
    def _counts_its_items(cls, document: Any) -> Any:
        if isinstance(document, dict):
            names = _names_of(cls)
            unknown = sum(name not in names for name in document)
            if unknown > MAX_RULES:  # Pydantic names a few
                raise ValueError(f"expected only known names, got {unknown} unknown")
            for name, most in _lengths_of(cls).items():
                items = document.get(name)
                if isinstance(items, list | dict) and len(items) > most:
                    raise ValueError(f"{name}: expected at most {most} items, got {len(items)}")
        return document


@cache
def _names_of(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


@cache
def _lengths_of(model: type[BaseModel]) -> dict[str, int]:
    """{name: most} of the fields with a greatest length of their own."""
    return {
        field.alias or name: rule.max_length
        for name, field in model.model_fields.items()
        for rule in field.metadata
        if isinstance(getattr(rule, "max_length", None), int)
    }


class Answer(BaseModel):
    """An answer. It reads records by their attributes and has exactly the declared fields."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    @classmethod
    def of_record(cls, record: object, /, **others: Any) -> Self:
        """The required fields are the attributes of ``record``, except for ``others``."""
        required = (name for name, field in cls.model_fields.items() if field.is_required())
        fields = {name: getattr(record, name) for name in required if name not in others}
        return cls.model_validate(fields | others)

    def to_json(self) -> JsonObject:
        """The fields that were set."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_bytes(self) -> bytes:
        """``to_json`` as JSON text: five times as fast where there are many numbers."""
        return self.model_dump_json(exclude_unset=True).encode()


class ResourceAnswer(Answer):
    """A resource that can change; its ETag guards changes by If-Match."""

    created_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])


class EncodedAnswer(Answer):
    """An answer that depends on the encoder; ``dim`` is the width of its embeddings."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])


def _rounded(value: Any) -> Any:
    return round(float(value), DIGITS) if isinstance(value, float) else value


Rounded = Annotated[float, BeforeValidator(_rounded)]
Cosine = Annotated[float, Field(ge=-1, le=1), BeforeValidator(_rounded)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_rounded)]
Similarity = Annotated[float, Field(ge=-1.001, le=1.001), BeforeValidator(_rounded)]  # float32


class BrokenRule(Answer):
    """One rule that a request broke, without the value."""

    where: str = Field(examples=["body.name"])
    rule: str = Field(examples=["string_pattern_mismatch"])
    says: str


class RefusedExampleAnswer(Answer):
    """A labelled example that cannot evaluate a version."""

    collection: str | None
    scan_id: str | None = Field(description="Null for an upload.")
    file: int | None = Field(description="Number of the upload, from 0; null for a stored scan.")
    reason: RefusalReason
    code: str | None = Field(description="Of the error of an unreadable image.")


class Problem(BaseModel):
    """RFC 9457 problem document; match on ``code``, a closed list (docs/errors.md)."""

    model_config = example_of(
        problem(UnknownItem("no such collection in this workspace"), "req_5f2b1c0d9e8a7463")
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str = Field(description="Also in the header X-Request-Id and in the log.")
    errors: list[BrokenRule] | None = Field(
        None, description=f"Only for validation_error; the first {MAX_RULES}."
    )
    more_errors: int | None = Field(
        None, description="Number of broken rules that are not in errors; only if there are any."
    )
    refused: list[RefusedExampleAnswer] | None = Field(
        None, description="Only for an evaluation: the first 50 examples that it cannot use."
    )

    @classmethod
    def of(cls, error: ServiceError, request_id: str) -> Self:
        """The problem of one item of a batch, or of an operation."""
        return cls(**problem(error, request_id))


class RegionAnswer(Answer):
    """A region of the frame that was used, in pixels of the upright frame, which are square."""

    box: list[int] = Field(description="x0, y0, x1, y1, half open.", examples=[[120, 60, 800, 518]])
    outline: list[list[int]] = Field(
        description="Corners x, y inside the box; empty when the region fills the box."
    )
    found: Literal["declared", "pixels", "motion", "caller", "whole"]
    confidence: Share
    spacing_mm: list[float] | None = Field(description="Row and column size of a pixel.")


class QualityAnswer(Answer):
    """A quality problem, with the measured value and the limit that it passed."""

    reason: Reason
    value: float
    limit: float


class DeviceAnswer(Answer):
    """The device, as far as the file names it; unknown fields are empty."""

    manufacturer: str
    model: str
    transducer: str
    depth_mm: float | None = Field(description="DepthOfScanField.")


class CorrectionAnswer(Answer):
    """A statement of the file that its own content contradicts, and that was not believed."""

    fact: CorrectedFact
    declared: float | None = Field(description="By the file; null when it gives no number.")
    used: float | None = Field(description="Instead; null when nothing was used.")


class ImageAnswer(Answer):
    """What the service read from a file, and which part of it was embedded."""

    kind: Literal["frame", "cine"]
    format: str = Field(examples=["png"])
    width_px: int = Field(description="Of the upright frame, after its pixels became square.")
    height_px: int
    frames: int = Field(description="Frames in the file.")
    frames_used: int = Field(description="Frames that were embedded.")
    frame_rate_hz: float | None
    sha256: str
    content_sha256: str = Field(description="SHA-256 of the pixels that were embedded.")
    regions: list[RegionAnswer] = Field(description="Regions that were used, largest first.")
    regions_used: int = Field(
        description="Number of regions of each frame that were embedded, each by itself; the "
        "embedding of the file is the unit mean of all its embeddings."
    )
    spacing_mm: list[float] | None = Field(
        description="Row and column size of a pixel anywhere in the frame; null when unknown."
    )
    device: DeviceAnswer | None = Field(description="From DICOM; null when the file names none.")
    masked_px: int = Field(description="Pixels of the frame that were not used or were filled.")
    burned_in_risk: Literal["none", "low", "high"] = Field(
        description="Risk that names are left in the frame."
    )
    burned_in_reasons: list[
        Literal["text_masked", "text_kept", "much_text", "region_unsure", "tagged_by_file"]
    ]
    quality: list[QualityAnswer] = Field(description="Reasons not to trust the frame.")
    corrections: list[CorrectionAnswer] = Field(description="What the file states wrongly.")

    @classmethod
    def of(cls, image: ScanImage) -> Self:
        """The answer for a file that the catalog holds, or will hold."""
        return cls.of_record(image, **{**_UNMEASURED, **image.analysis})


_UNMEASURED: JsonObject = {  # of an imported scan without an analysis
    "regions": [],
    "spacing_mm": None,
    "device": None,
    "masked_px": 0,
    "burned_in_risk": "high",
    "burned_in_reasons": [],
    "quality": [],
    "corrections": [],
}


class Deleted(Answer):
    """What was deleted."""

    deleted: str


class PageAnswer(Answer):
    """One page of a list; ``next_cursor`` is null on the last page."""

    next_cursor: str | None


def responses_of(model: Any, *statuses: int) -> Responses:
    """The ``responses`` of a route that answers ``model``, or a union; without statuses, 200."""
    described = {200: "Done.", 201: "Created.", 207: "Some items failed; each holds its problem."}
    return {
        status: {"model": model, "description": described[status]} for status in statuses or (200,)
    }


def etag(version: int) -> str:
    """Strong entity tag of a version."""
    return f'"{version}"'
