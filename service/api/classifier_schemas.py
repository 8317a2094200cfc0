"""The bodies that ask for predictions."""

from pydantic import Field

from service.api.schemas import Body, Identifier, Name, example_of


class PredictScansBody(Body):
    """Predict stored scans instead of uploads."""

    model_config = example_of({"collection": "liver", "scan_ids": ["scan-1", "scan-2"]})

    collection: Name
    scan_ids: list[Identifier] = Field(min_length=1)
