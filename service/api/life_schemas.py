"""The bodies that are sent about the life of data."""

from typing import Literal

from pydantic import Field

from service.api.schemas import Body, FilterBody, Identifier, Name, Text, example_of

Days = float


class CollectionPatchBody(Body):
    """Change a collection; what is not named stays."""

    model_config = example_of({"retention_days": 365, "keep_images": True})

    description: Text = ""
    keep_images: bool = Field(
        False, description="Keep looked-at pixels of scans added from now on; false drops all."
    )
    retention_days: Days | None = Field(
        None, gt=0, le=100_000, description="Older scans are deleted; null = never."
    )


class FacetsBody(Body):
    """What to count."""

    model_config = example_of(
        {
            "filter": {"subject_id": {"exists": True}},
            "labels": ["finding"],
            "attributes": ["device"],
            "limit": 10,
        }
    )

    filter: FilterBody = Field(default_factory=FilterBody)
    labels: list[Identifier] | None = Field(
        None, max_length=64, description="Tasks to count classes of; null = the commonest 64."
    )
    attributes: list[Identifier] = Field(default_factory=list, max_length=64)
    limit: int = Field(20, ge=1, le=1000, description="Most values each, commonest first.")


class MoveBody(Body):
    """What to do with a collection that moves to another encoder."""

    model_config = example_of({"action": "start"})

    action: Literal["start", "confirm", "take_back"] = Field(
        description="Start or go on; drop the old vectors; or go back to them (or give up)."
    )


class ExportBody(Body):
    """Where to write an export."""

    model_config = example_of({"to": "liver-2026"})

    to: Name = Field(description="A new name in the workspace's folder of exports.")


class ImportBody(Body):
    """Where to read an export from."""

    model_config = example_of({"from": "liver-2026"})

    source: Name = Field(alias="from", description="A name in the workspace's folder of exports.")
