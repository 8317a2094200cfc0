"""A collection on a plane, on the wire: columns, because a map has up to 100,000 points."""

from pydantic import Field

from service.api.shapes.base import Answer, Body, Identifier, example_of
from service.api.shapes.filter_shapes import FilterBody
from service.gallery.projection import CollectionMap

MAX_POINTS = 100_000
DIGITS = 4


class MapBody(Body):
    """Which scans are on the map, and the task whose classes colour it."""

    model_config = example_of({"task": "finding", "limit": 20000})

    filter: FilterBody = Field(default_factory=FilterBody)
    task: Identifier | None = Field(None, description="Task of `labels`; null: no labels.")
    limit: int = Field(
        20_000, ge=1, le=MAX_POINTS, description="Most points; others are not drawn."
    )


class MapAnswer(Answer):
    """One entry of each list per scan."""

    collection: str
    total: int = Field(description="Scans that pass the filter; a drawn part is on the map.")
    explained: list[float] = Field(
        description="Share of the variance of the embeddings along x and y."
    )
    scan_ids: list[str]
    subject_ids: list[str | None]
    labels: list[str | None] = Field(description="Of the task; null: the scan has none.")
    x: list[float]
    y: list[float]

    @classmethod
    def of_map(cls, found: CollectionMap, *, collection: str, task: str | None) -> "MapAnswer":
        """The answer for a map."""
        x, y = found.points_N2.round(DIGITS).astype(float).T.tolist()
        return cls(
            collection=collection,
            total=found.total,
            explained=[round(share, DIGITS) for share in found.explained],
            scan_ids=found.scan_ids,
            subject_ids=found.subject_ids,
            labels=[None if task is None else labels.get(task) for labels in found.labels],
            x=x,
            y=y,
        )
