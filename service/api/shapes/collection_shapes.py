"""Bodies and answers of collections: create, change, count, export, import, re-embed."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from service.api.shapes.base import (
    ENCODER,
    TIME,
    Answer,
    Body,
    Identifier,
    Name,
    PageAnswer,
    Share,
    Text,
    etag,
    example_of,
    write_cursor,
)
from service.api.shapes.filter_shapes import FilterBody
from service.embedding.analysis_terms import Reason
from service.gallery.gallery_records import Collection, Facet, Facets, PolicyPatch, Reembedding
from service.gallery.indexes import IndexStatistics


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
        False, description="Keep the embedded pixels, without metadata, for a later encoder."
    )
    retention_days: float | None = Field(
        None, gt=0, le=100_000, description="Older scans are deleted; null = never."
    )
    intake: IntakeBody = Field(default_factory=IntakeBody)


class CollectionPatchBody(Body):
    """Change a collection; what is not named stays."""

    model_config = example_of({"retention_days": 365, "keep_images": True})

    description: Text = ""
    keep_images: bool = Field(
        False, description="Keep the pixels of scans added from now on; false drops all."
    )
    retention_days: float | None = Field(
        None, gt=0, le=100_000, description="Older scans are deleted; null = never."
    )

    def patch(self) -> PolicyPatch:
        """What the gallery is to change."""
        named = frozenset(self.model_fields_set)
        return PolicyPatch(self.description, self.keep_images, self.retention_days, named)


class IntakeAnswer(Answer):
    """What the collection refuses."""

    refuse_burned_in: Literal["low", "high"] | None
    refuse_quality: list[Reason]


class IndexAnswer(Answer):
    """How a collection is searched."""

    index_id: str = Field(description="Names it in /metrics.", examples=["6f1d0c3b9a27"])
    mode: Literal["exact", "approximate"]
    scans: int
    compressed_scans: int = Field(description="Searched approximately; scores are always exact.")
    segments: int
    recall_at_10: Share | None = Field(
        description="Share of the exact 10 best that recent searches find; null = not measured."
    )
    recall_samples: int

    @classmethod
    def of(cls, statistics: IndexStatistics) -> "IndexAnswer":
        """From the state of an index."""
        state = statistics.state
        return cls(
            index_id=statistics.index_id,
            mode="approximate" if state.compressed_rows else "exact",
            scans=state.rows,
            compressed_scans=state.compressed_rows,
            segments=state.segments,
            recall_at_10=statistics.recall,
            recall_samples=statistics.recall_samples,
        )


class CollectionAnswer(Answer):
    """A collection of scans, bound to one encoder."""

    name: str = Field(examples=["liver"])
    description: str
    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    scans: int
    keep_images: bool
    retention_days: float | None
    intake: IntakeAnswer
    index: IndexAnswer | None = Field(description="Null for a collection of another encoder.")
    created_at: str = Field(examples=[TIME])
    etag: str = Field(examples=['"1"'])

    @classmethod
    def of(cls, collection: Collection, index: IndexStatistics | None) -> "CollectionAnswer":
        """From the collection and the state of its index."""
        return cls(
            name=collection.name,
            description=collection.description,
            encoder_id=collection.encoder_id,
            dim=collection.dim,
            scans=collection.scans,
            keep_images=collection.keep_images,
            retention_days=collection.retention_days,
            intake=IntakeAnswer(
                refuse_burned_in=collection.intake.get("refuse_burned_in"),
                refuse_quality=list(collection.intake.get("refuse_quality", ())),
            ),
            index=None if index is None else IndexAnswer.of(index),
            created_at=collection.created_at,
            etag=etag(collection.version),
        )


class CollectionPage(PageAnswer):
    """Collections, sorted by name; ``next_cursor`` is null on the last page."""

    items: list[CollectionAnswer]


class CollectionDeleted(Answer):
    """What was deleted."""

    deleted: str
    scans: int


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


class FacetValue(Answer):
    """One value and how many scans have it."""

    value: Any
    scans: int


class FacetAnswer(Answer):
    """Values of one label or attribute, commonest first."""

    values: list[FacetValue]
    others: int = Field(description="Scans with a value that the limit left out.")
    missing: int = Field(description="Scans that pass the filter and lack the name.")

    @classmethod
    def of(cls, facet: Facet) -> "FacetAnswer":
        """From the counts of one name."""
        values = [FacetValue(value=value, scans=scans) for value, scans in facet.values]
        return cls(values=values, others=facet.others, missing=facet.missing)


class FacetsAnswer(Answer):
    """Counts over the scans that pass the filter."""

    scans: int
    subjects: int
    studies: int
    labels: dict[str, FacetAnswer]
    attributes: dict[str, FacetAnswer]

    @classmethod
    def of(cls, facets: Facets) -> "FacetsAnswer":
        """From the catalog's counts."""
        return cls(
            scans=facets.scans,
            subjects=facets.subjects,
            studies=facets.studies,
            labels={name: FacetAnswer.of(facet) for name, facet in facets.labels.items()},
            attributes={name: FacetAnswer.of(facet) for name, facet in facets.attributes.items()},
        )


class ExportBody(Body):
    """Where to write an export."""

    model_config = example_of({"to": "liver-2026"})

    to: Name = Field(description="A new name in the workspace's folder of exports.")


class CollectionImportBody(Body):
    """Where to read an export from."""

    model_config = example_of({"from": "liver-2026"})

    source: Name = Field(alias="from", description="A name in the workspace's folder of exports.")


class ReembeddingAnswer(Answer):
    """A collection whose scans are embedded anew by another encoder."""

    collection: str
    from_encoder_id: str
    to_encoder_id: str
    state: Literal["embedding", "switched"]
    embedded: int = Field(description="Scans that have a vector of the other encoder.")

    @classmethod
    def of(cls, collection: str, change: Reembedding) -> "ReembeddingAnswer":
        """From what the catalog tells of it."""
        return cls(
            collection=collection,
            from_encoder_id=change.from_encoder_id,
            to_encoder_id=change.to_encoder_id,
            state=change.state,
            embedded=change.embedded,
        )


class ReembeddingEnded(Answer):
    """A re-embedding that was confirmed or taken back."""

    collection: str
    encoder_id: str = Field(description="Whose vectors were kept.")


def collection_page(
    items: Sequence[tuple[Collection, IndexStatistics | None]], next_after: str | None
) -> CollectionPage:
    """One page of collections."""
    return CollectionPage(
        items=[CollectionAnswer.of(*item) for item in items],
        next_cursor=write_cursor("collections", next_after),
    )
