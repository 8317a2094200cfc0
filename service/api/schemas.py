"""The bodies that travel over HTTP. Pydantic stops here."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.imaging.analysis.quality import Reason

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_FILTER_DEPTH = 8  # as the catalog's; refused here before anything recurses
JsonObject: TypeAlias = dict[str, Any]
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
REGION_SAYS = "Of each frame: auto, none, or a box x0,y0,x1,y1 in pixels; default as set."
Component = Annotated[float, Field(ge=-1e6, le=1e6)]


def example_of(value: JsonObject) -> ConfigDict:
    """The example that the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"example": value})


class Body(BaseModel):
    """A request: unknown fields are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class IntakeBody(Body):
    """What a collection refuses; by default nothing, and answers only advise."""

    refuse_burned_in: Literal["low", "high"] | None = Field(
        None, description="Least burned-in risk that is refused."
    )
    refuse_quality: list[Reason] = Field(
        default_factory=list, max_length=16, description="Findings that are refused."
    )


class NewCollectionBody(Body):
    """Create a collection."""

    model_config = example_of(
        {
            "name": "liver",
            "description": "Abdominal scans of 2026",
            "intake": {"refuse_burned_in": "high", "refuse_quality": ["blank"]},
        }
    )

    name: Name
    description: Text = ""
    keep_images: bool = Field(
        False, description="Keep looked-at pixels, without metadata, for a later encoder."
    )
    retention_days: float | None = Field(
        None, gt=0, le=100_000, description="Older scans are deleted; null = never."
    )
    intake: IntakeBody = Field(default_factory=IntakeBody)


class ScanMetadata(Body):
    """What is known of one uploaded image; all of it optional."""

    scan_id: ScanId | None = None
    subject_id: Identifier | None = None
    study_id: Identifier | None = None
    labels: dict[Identifier, Label] = Field(default_factory=dict, max_length=64)
    attributes: dict[Identifier, Value] = Field(default_factory=dict, max_length=64)


class ScanPatchBody(Body):
    """Change a scan: a value sets, null in labels or attributes removes the entry."""

    model_config = example_of({"labels": {"finding": "malignant", "draft": None}, "study_id": "s7"})

    subject_id: Identifier | None = None
    study_id: Identifier | None = None
    labels: dict[Identifier, Label | None] = Field(default_factory=dict, max_length=64)
    attributes: dict[Identifier, Value] = Field(default_factory=dict, max_length=64)


class Presence(Body):
    """Whether it is there at all."""

    exists: bool


class TimeRange(Body):
    """Between two times; a day alone means its first moment, no offset means UTC."""

    gte: datetime | date | None = None
    gt: datetime | date | None = None
    lte: datetime | date | None = None
    lt: datetime | date | None = None


Bound = Annotated[str, StringConstraints(max_length=1000)] | int | float


class AttributeTest(Body):
    """Every test named must pass. Bounds are all numbers or all text (ISO dates, for example)."""

    exists: bool | None = Field(None, description="Whether the scan has the attribute, null too.")
    any_of: list[Value] | None = Field(None, alias="in", max_length=1000)
    none_of: list[Value] | None = Field(None, alias="not_in", max_length=1000)
    gte: Bound | None = None
    gt: Bound | None = None
    lte: Bound | None = None
    lt: Bound | None = None


class FilterBody(Body):
    """Conditions joined by AND; a list of values means any of them.

    ``and``, ``or`` and ``not`` hold further filters, 8 deep and 100 conditions at most.
    """

    model_config = example_of(
        {
            "labels": {"finding": ["benign", "malignant"]},
            "attributes": {"age": {"gte": 40, "lt": 60}, "device": {"exists": True}},
            "created_at": {"gte": "2026-01-01"},
            "not": {"or": [{"subject_id": "p1"}, {"study_id": {"exists": False}}]},
        }
    )

    labels: dict[Identifier, Label | list[Label] | Presence] = Field(
        default_factory=dict, max_length=64
    )
    attributes: dict[Identifier, Value | list[Value] | AttributeTest] = Field(
        default_factory=dict, max_length=64
    )
    subject_id: Identifier | list[Identifier] | Presence | None = None
    study_id: Identifier | list[Identifier] | Presence | None = None
    not_subject_id: Identifier | list[Identifier] | None = None
    not_study_id: Identifier | list[Identifier] | None = None
    created_at: TimeRange | None = None
    updated_at: TimeRange | None = None
    all_of: "list[FilterBody] | None" = Field(None, alias="and", min_length=1, max_length=100)
    any_of: "list[FilterBody] | None" = Field(None, alias="or", min_length=1, max_length=100)
    none_of: "FilterBody | None" = Field(None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _is_not_too_deep(cls, document: Any) -> Any:
        level, depth = [document], 0
        while level:
            depth += 1
            if depth > MAX_FILTER_DEPTH:
                raise ValueError(f"expected filters at most {MAX_FILTER_DEPTH} deep")
            level = [inner for each in level for inner in _filters_in(each)]
        return document


def _filters_in(document: Any) -> list[Any]:
    if not isinstance(document, dict):
        return []
    lists = [found for word in ("and", "or") if isinstance(found := document.get(word), list)]
    inner = [each for found in lists for each in found]
    return inner + ([document["not"]] if "not" in document else [])


class SearchOptions(Body):
    """How to answer a search, whatever its query is."""

    model_config = example_of({"k": 5, "subject_id": "p1", "exclude_same": "subject"})

    k: int = Field(10, ge=1)
    filter: FilterBody = Field(default_factory=FilterBody)
    group_by: Literal["subject", "study", "cine"] | None = Field(
        None, description="At most group_size hits per patient, study or attribute cine_id."
    )
    group_size: int = Field(1, ge=1, le=1000)
    diversity: float = Field(
        0.0, ge=0, le=1, description="0 = best first; more = hits that differ (MMR, 1 - lambda)."
    )
    exclude_same: Literal["subject", "study"] | None = None
    min_score: float = Field(-1.0, ge=-1, le=1)
    match: Literal["scan", "frame"] = Field(
        "scan", description="A cine scores as a whole, or as its nearest frame."
    )
    region: RegionChoice | None = Field(None, description=REGION_SAYS)
    subject_id: Identifier | None = Field(None, description="Of the uploaded query.")
    study_id: Identifier | None = Field(None, description="Of the uploaded query.")


class SearchBody(SearchOptions):
    """A search by exactly one of: scan, vector, image, or positive examples."""

    model_config = example_of(
        {
            "scan_id": "scan-1",
            "k": 5,
            "filter": {"labels": {"finding": ["benign", "malignant"]}},
            "exclude_same": "subject",
            "group_by": "study",
            "min_score": 0.5,
        }
    )

    scan_id: Identifier | None = None
    vector: list[Component] | None = Field(None, max_length=65_536)
    encoder_id: str | None = Field(None, description="Of the vector; checked when given.")
    image: str | None = Field(None, description="A whole image file, base64.")
    positive: list[Identifier] = Field(default_factory=list, max_length=256)
    negative: list[Identifier] = Field(default_factory=list, max_length=256)


class Instance(Body):
    """One image of a JSON request."""

    image: str = Field(description="A whole image file, base64.")
    metadata: ScanMetadata = Field(default_factory=ScanMetadata)


class InstancesBody(Body):
    """Images as JSON."""

    model_config = example_of(
        {
            "instances": [
                {
                    "image": "iVBORw0KGgo...",
                    "metadata": {"subject_id": "p1", "labels": {"finding": "benign"}},
                }
            ]
        }
    )

    instances: list[Instance] = Field(min_length=1)


class EmbeddingOptions(Body):
    """How embeddings are written; query parameters, or fields of a form."""

    encoding_format: Literal["float", "base64"] = "float"
    dtype: Literal["float32", "float16", "int8"] = "float32"
    frames: FrameChoice | None = Field(
        None, description="Of a clip: all, uniform:N, fps:F or different:N; null = as set."
    )
    region: RegionChoice | None = Field(None, description=REGION_SAYS)
    pool: Literal["mean", "none"] = Field(
        "mean", description="none adds the embedding of each used frame of a clip."
    )


class EmbeddingsBody(InstancesBody):
    """Images as JSON; what is named here counts more than the query parameters."""

    model_config = example_of(
        {"instances": [{"image": "iVBORw0KGgo..."}], "encoding_format": "base64", "dtype": "int8"}
    )

    encoding_format: Literal["float", "base64"] | None = None
    dtype: Literal["float32", "float16", "int8"] | None = None
    frames: FrameChoice | None = None
    region: RegionChoice | None = None
    pool: Literal["mean", "none"] | None = None
