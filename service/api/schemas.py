"""Names that modules outside ``shapes`` still import, and images as JSON instances."""

from typing import Literal

from pydantic import Field

from service.api.shapes.base import NAME as NAME
from service.api.shapes.base import REGION_HELP
from service.api.shapes.base import Body as Body
from service.api.shapes.base import FrameChoice as FrameChoice
from service.api.shapes.base import Identifier as Identifier
from service.api.shapes.base import JsonObject as JsonObject
from service.api.shapes.base import Label as Label
from service.api.shapes.base import Name as Name
from service.api.shapes.base import RegionChoice as RegionChoice
from service.api.shapes.base import example_of as example_of
from service.api.shapes.filter_shapes import FilterBody as FilterBody
from service.api.shapes.scan_shapes import ScanMetadata as ScanMetadata

REGION_SAYS = REGION_HELP


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
