"""A collection on a plane, on the wire: columns, because a map has up to 100,000 points."""

from typing import Literal, Self

from pydantic import Field

from service.api.shapes.base import (
    TIME,
    Answer,
    Body,
    ClassifierName,
    Identifier,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.arrays import Doubles
from service.gallery.projection import CollectionMap, LayoutState, MapRequest

MAX_POINTS = 100_000
DIGITS = 4


class MapBody(Body):
    """Which scans are on the map, how they lie there, and what colours them."""

    model_config = example_of({"task": "finding", "limit": 20000})

    filter: FilterBody = Field(default_factory=FilterBody)
    task: Identifier | None = Field(None, description="Task of `labels`; null: no labels.")
    limit: int = Field(
        20_000, ge=1, le=MAX_POINTS, description="Most points; others are not drawn."
    )
    layout: Literal["principal", "neighbours"] = Field(
        "principal",
        description="principal: the plane in which the scans differ most, at once. neighbours: "
        "the layout that `POST .../layout` stored, where near scans resemble each other.",
    )
    machines: bool = Field(False, description="Whether `machines` is wanted.")
    classifier: ClassifierName | None = Field(
        None, description="Whose `doubts` are wanted; needs `classifier.read`."
    )

    def request(self) -> MapRequest:
        """What the gallery is asked for."""
        return MapRequest(self.filter.where(), self.limit, self.layout, self.machines)


class MapAnswer(Answer):
    """One entry of each list per scan."""

    collection: str
    total: int = Field(description="Scans that pass the filter; a drawn part is on the map.")
    explained: list[float] | None = Field(
        description="Share of the variance of the embeddings along x and y; null for a layout "
        "whose axes mean nothing."
    )
    layout: Literal["principal", "neighbours"]
    placed_at: str | None = Field(
        description="When the layout was stored; scans of later are not on it.", examples=[TIME]
    )
    kept: float | None = Field(
        description="Mean share of the nearest neighbours of a scan (10, fewer of a small "
        "collection) that are its nearest on the map; null: not measured."
    )
    scan_ids: list[str]
    subject_ids: list[str | None]
    labels: list[str | None] = Field(description="Of the task; null: the scan has none.")
    machines: list[str | None] | None = Field(
        description="Manufacturer and model, as far as the file says; null: not asked for."
    )
    doubts: list[float] | None = Field(
        description="0 to 1: of an example of the classifier, how improbable its own label is to "
        "heads that had not seen it; of another scan, 1 minus the highest probability."
    )
    x: list[float]
    y: list[float]

    @classmethod
    def of_map(
        cls, found: CollectionMap, body: MapBody, *, collection: str, doubts_S: Doubles | None
    ) -> Self:
        """The answer for a map."""
        x, y = found.points_N2.round(DIGITS).astype(float).T.tolist()
        shares = found.explained
        task = body.task
        return cls(
            collection=collection,
            total=found.total,
            explained=None if shares is None else [round(share, DIGITS) for share in shares],
            layout=body.layout,
            placed_at=found.placed_at,
            kept=None if found.kept is None else round(found.kept, DIGITS),
            scan_ids=found.scan_ids,
            subject_ids=found.subject_ids,
            labels=[None if task is None else labels.get(task) for labels in found.labels],
            machines=found.machines,
            doubts=None if doubts_S is None else doubts_S.round(DIGITS).tolist(),
            x=x,
            y=y,
        )


class LayoutAnswer(Answer):
    """The stored layout of a collection."""

    collection: str
    placed: int = Field(description="Scans with a place.")
    scans: int = Field(description="Scans of the collection; those without a place came later.")
    kept: float = Field(
        description="Mean share of the nearest neighbours of a scan (10, fewer of a small "
        "collection) that are its nearest on the map."
    )
    placed_at: str = Field(examples=[TIME])

    @classmethod
    def of(cls, state: LayoutState, collection: str) -> Self:
        """The answer for a layout."""
        return cls.of_record(state, collection=collection, kept=round(state.kept, DIGITS))
