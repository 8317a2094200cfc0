"""The bodies that travel over HTTP. Pydantic stops here."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.imaging.quality import Reason

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
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


class FilterBody(Body):
    """Conditions joined by AND; a list of values means any of them."""

    labels: dict[Identifier, Label | list[Label]] = Field(default_factory=dict, max_length=64)
    attributes: dict[Identifier, Value | list[Value]] = Field(default_factory=dict, max_length=64)
    subject_id: Identifier | list[Identifier] | None = None
    study_id: Identifier | list[Identifier] | None = None
    not_subject_id: Identifier | list[Identifier] | None = None
    not_study_id: Identifier | list[Identifier] | None = None


class SearchOptions(Body):
    """How to answer a search, whatever its query is."""

    model_config = example_of({"k": 5, "subject_id": "p1", "exclude_same": "subject"})

    k: int = Field(10, ge=1)
    filter: FilterBody = Field(default_factory=FilterBody)
    group_by: Literal["subject", "study"] | None = None
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
