"""Bodies and answers of collections: create, change, count, export, import, re-embed."""

from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field

from service.api.shapes.base import (
    Answer,
    Body,
    Deleted,
    EncodedAnswer,
    Identifier,
    Name,
    NewCollectionName,
    PageAnswer,
    ResourceAnswer,
    Share,
    Text,
    etag,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.embedding.analysis_terms import Reason
from service.gallery.gallery_records import Collection, Facet, Facets, IndexStatistics, PolicyPatch


class IntakeBody(Body):
    """What a collection refuses and stores; by default it refuses nothing, and only advises."""

    refuse_burned_in: Literal["low", "high"] | None = Field(
        None, description="The lowest burned-in risk that is refused."
    )
    refuse_quality: list[Reason] = Field(
        default_factory=list, max_length=16, description="Quality problems that are refused."
    )
    high_risk_thumbnails: bool = Field(
        False,
        description="Store thumbnails of pictures of burned-in risk high, in which names may be "
        "legible; otherwise such a scan has none.",
    )


class CollectionPatchBody(Body):
    """Change a collection; what is not named stays."""

    model_config = example_of({"retention_days": 365, "keep_images": True})

    description: Text = ""
    keep_images: bool = Field(
        False,
        description="Keep the embedded pixels of new scans, without metadata, for a later "
        "encoder; false deletes those that were kept.",
    )
    retention_days: float | None = Field(
        None, gt=0, le=100_000, description="Older scans are deleted; null means never."
    )

    def patch(self) -> PolicyPatch:
        """The changes as the gallery takes them."""
        set_fields = frozenset(self.model_fields_set)
        return PolicyPatch(self.description, self.keep_images, self.retention_days, set_fields)


class CollectionChangeBody(CollectionPatchBody):
    """Change a collection, or confirm its expiry."""

    confirm_retention: bool = Field(
        False,
        description="Delete now all scans that are past retention_days, also those that the sweep "
        "held back because they are many.",
    )

    def patch(self) -> PolicyPatch:
        """The changes as the gallery takes them."""
        return replace(super().patch(), set_fields=frozenset(self.model_fields_set - _ACTIONS))


_ACTIONS = {"confirm_retention"}


class NewCollectionBody(CollectionPatchBody):
    """Create a collection."""

    model_config = example_of(
        {
            "name": "liver",
            "description": "Abdominal scans of 2026",
            "intake": {"refuse_burned_in": "high", "refuse_quality": ["blank"]},
        }
    )

    name: NewCollectionName
    intake: IntakeBody = Field(default_factory=IntakeBody)


class IntakeAnswer(Answer):
    """What the collection refuses and stores."""

    refuse_burned_in: Literal["low", "high"] | None
    refuse_quality: list[Reason]
    high_risk_thumbnails: bool


class SegmentAnswer(Answer):
    """How one segment of an index is searched."""

    scans: int
    lists: int = Field(description="Lists of its compressed index; 0: it is searched exactly.")
    probed_lists: int = Field(description="Lists that a search looks through.")
    measured: bool = Field(
        description="Whether a build chose probed_lists by the recall it measured; an index of "
        "release 0.1.0 has the default until its next build."
    )


class IndexAnswer(Answer):
    """How a collection is searched."""

    index_id: str = Field(description="Name of the index in /metrics.", examples=["6f1d0c3b9a27"])
    mode: Literal["exact", "approximate"]
    scans: int
    compressed_scans: int = Field(
        description="Scans that are searched approximately; scores are always exact."
    )
    segments: int
    recall_at_10: Share | None = Field(
        description="Share of the exact 10 best that recent searches found; null: not measured."
    )
    recall_samples: int
    lists: list[SegmentAnswer] = Field(
        description="Of each segment, oldest first; empty on PostgreSQL, whose index has no lists."
    )

    @classmethod
    def of(cls, statistics: IndexStatistics) -> Self:
        """The answer for the state of an index."""
        state = statistics.state
        return cls.of_record(
            statistics,
            mode="approximate" if state.compressed_rows else "exact",
            scans=state.rows,
            compressed_scans=state.compressed_rows,
            segments=state.segments,
            recall_at_10=statistics.recall,
            lists=[
                SegmentAnswer(
                    scans=part.rows,
                    lists=part.lists,
                    probed_lists=part.probed,
                    measured=part.is_measured,
                )
                for part in state.lists
            ],
        )


class CollectionAnswer(EncodedAnswer, ResourceAnswer):
    """A collection of scans, bound to one encoder."""

    name: str = Field(examples=["liver"])
    description: str
    scans: int
    keep_images: bool
    retention_days: float | None
    retention_held: int = Field(
        description="Scans past retention_days that the last sweep did not delete, because too "
        "many were due at once; confirm_retention deletes them."
    )
    intake: IntakeAnswer
    index: IndexAnswer | None = Field(description="Null for a collection of another encoder.")

    @classmethod
    def of(cls, collection: Collection, index: IndexStatistics | None) -> Self:
        """The answer for a collection and the state of its index."""
        return cls.of_record(
            collection,
            intake=IntakeBody.model_validate(collection.intake).model_dump(),
            index=None if index is None else IndexAnswer.of(index),
            etag=etag(collection.version),
        )


class CollectionPage(PageAnswer):
    """Collections, sorted by name."""

    items: list[CollectionAnswer]


class CollectionDeleted(Deleted):
    """What was deleted, with its number of scans."""

    scans: int


class FacetsBody(Body):
    """Which tasks and attributes to count."""

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
        None, max_length=64, description="Tasks whose classes are counted; null: the commonest 64."
    )
    attributes: list[Identifier] = Field(default_factory=list, max_length=64)
    limit: int = Field(
        20, ge=1, le=1000, description="Most values of each task or attribute, commonest first."
    )


class FacetValue(Answer):
    """A value and how many scans have it."""

    value: Any
    scans: int


class FacetAnswer(Answer):
    """Values of one task or attribute, commonest first."""

    values: list[FacetValue]
    others: int = Field(description="Scans with a value that the limit left out.")
    missing: int = Field(description="Scans that pass the filter and lack the task or attribute.")

    @classmethod
    def of(cls, facet: Facet) -> Self:
        """The answer for the counts of one task or attribute."""
        values = [FacetValue(value=value, scans=scans) for value, scans in facet.values]
        return cls.of_record(facet, values=values)


class FacetsAnswer(Answer):
    """Counts over the scans that pass the filter."""

    scans: int
    subjects: int
    studies: int
    labels: dict[str, FacetAnswer]
    attributes: dict[str, FacetAnswer]

    @classmethod
    def of(cls, facets: Facets) -> Self:
        """The answer for the counts of the catalog."""
        return cls.of_record(
            facets,
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
    """The change of a collection from one encoder to another."""

    collection: str
    from_encoder_id: str
    to_encoder_id: str
    state: Literal["embedding", "switched"]
    embedded: int = Field(description="Scans that have a vector of the new encoder.")


class ReembeddingEnded(Answer):
    """A re-embedding that was confirmed or taken back."""

    collection: str
    encoder_id: str = Field(description="The encoder whose vectors were kept.")
