"""Names that modules outside ``shapes`` still import, and images as JSON instances."""

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
