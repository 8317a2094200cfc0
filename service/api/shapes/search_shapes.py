"""Bodies and answers of searches."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.api.shapes.base import (
    REGION_HELP,
    REGION_NUMBER,
    Answer,
    Base64Image,
    Body,
    CollectionName,
    Component,
    Cosine,
    EncodedAnswer,
    Identifier,
    ImageAnswer,
    Problem,
    RegionChoice,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.scan_shapes import ScanRecord
from service.errors import InputError
from service.gallery.gallery_records import SearchHit

# fail_fast: one wrong number is told, not each of thousands.
Vector = Annotated[list[Component], Field(fail_fast=True)]


class SearchExample(Body):
    """An example to search by: a stored scan, a vector or an image."""

    scan_id: Identifier | None = None
    vector: Vector | None = Field(None, max_length=65_536)
    image: Base64Image | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(part is not None for part in (self.scan_id, self.vector, self.image)) != 1:
            raise ValueError("expected exactly one of scan_id, vector, image")
        return self


ExampleChoice = Identifier | SearchExample
ExampleChoices = Annotated[list[ExampleChoice], Field(fail_fast=True)]


class SearchOptions(Body):
    """How to search; the ``options`` of a form or of a raw image."""

    model_config = example_of({"k": 5, "subject_id": "p1", "exclude_same": "subject"})

    k: int = Field(10, ge=1)
    filter: FilterBody = Field(default_factory=FilterBody)
    group_by: Literal["subject", "study", "cine"] | None = Field(
        None, description="At most group_size hits per patient, study or attribute cine_id."
    )
    group_size: int = Field(1, ge=1, le=1000)
    diversity: float = Field(
        0.0, ge=0, le=1, description="0: best first; higher: more varied hits (MMR, 1 - lambda)."
    )
    exclude_same: Literal["subject", "study"] | None = None
    min_score: float = Field(-1.0, ge=-1, le=1)
    match: Literal["scan", "frame"] = Field(
        "scan", description="Whether a cine scores as a whole or by its nearest frame."
    )
    region: RegionChoice | None = Field(None, description=REGION_HELP)
    subject_id: Identifier | None = Field(None, description="Subject of the uploaded query.")
    study_id: Identifier | None = Field(None, description="Study of the uploaded query.")
    stored_in: CollectionName | None = Field(
        None, description="Collection of the scans in the query; null: the first collection."
    )
    positive: ExampleChoices = Field(
        default_factory=list, max_length=256, description="Scan ids or other examples."
    )
    negative: ExampleChoices = Field(
        default_factory=list, max_length=256, description="Scan ids or other examples to avoid."
    )
    with_vector: bool = Field(False, description="Return the embedding of each hit.")

    def examples(self) -> tuple[list[SearchExample], list[SearchExample]]:
        """Positive and negative examples, without uploaded files. Raises InputError."""
        return _examples(self.positive), _examples(self.negative)


class SearchOptionsAcross(SearchOptions):
    """How to search, and in which collections: at least one."""

    model_config = example_of({"collections": ["liver", "liver-2025"], "k": 5})

    collections: list[CollectionName] = Field(default_factory=list, max_length=32)


class QueryBody(SearchOptions):
    """One query: exactly one of scan_id, vector, image, or positive examples."""

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
    vector: Vector | None = Field(None, max_length=65_536)
    encoder_id: Identifier | None = Field(
        None, description="Encoder of the vectors; checked if present."
    )
    image: Base64Image | None = None

    def examples(self) -> tuple[list[SearchExample], list[SearchExample]]:
        """Positive and negative examples. Raises InputError: not exactly one query."""
        fields = {"scan_id": self.scan_id, "vector": self.vector, "image": self.image}
        named = {name: value for name, value in fields.items() if value is not None}
        if len(named) + bool(self.positive) != 1:
            raise InputError("expected exactly one of image, scan_id, vector, positive")
        positive = [SearchExample.model_validate(named)] if named else _examples(self.positive)
        return positive, _examples(self.negative)


def _examples(choices: list[ExampleChoice]) -> list[SearchExample]:
    return [
        SearchExample(scan_id=choice) if isinstance(choice, str) else choice for choice in choices
    ]


class SearchBody(QueryBody):
    """One query over one or several collections, which are ranked as one; or ``queries``.

    Each of ``queries`` is a separate search with its own options; the only other field is then
    ``collections``.
    """

    model_config = example_of(
        {"collections": ["liver", "liver-2025"], "scan_id": "scan-1", "stored_in": "liver", "k": 5}
    )

    collections: list[CollectionName] = Field(min_length=1, max_length=32)
    queries: list[QueryBody] | None = Field(None, min_length=1)

    def many(self) -> list[QueryBody]:
        """The ``queries``; empty for one query. Raises InputError: both."""
        if self.queries is None:
            return []
        if self.model_fields_set - {"collections", "queries"}:
            raise InputError("expected nothing but collections beside queries")
        return self.queries


class HitFrame(Answer):
    """The frame or region that is nearest to the query; ``score`` is its cosine."""

    index: int = Field(ge=0, examples=[12])
    region: int = Field(ge=0, description=REGION_NUMBER)
    time_s: float | None = Field(examples=[0.48])
    score: Cosine


class HitAnswer(Answer):
    """A similar scan; ``score`` is the cosine."""

    score: Cosine = Field(examples=[0.93])
    scan: ScanRecord
    frame: HitFrame | None = Field(description="Null for a still of one region.")
    vector: list[float] | None = Field(None, description="Only with with_vector.")

    @classmethod
    def of(cls, hit: SearchHit) -> Self:
        """The answer for one hit."""
        vector = {} if hit.embedding_D is None else {"vector": hit.embedding_D.tolist()}
        return cls.of_record(hit, scan=ScanRecord.of(hit.scan), **vector)


class QueryAnswer(Answer):
    """The uploaded images of the query as the service read them."""

    images: list[ImageAnswer]


class SearchAnswer(EncodedAnswer):
    """Best hits first."""

    query: QueryAnswer
    items: list[HitAnswer]


class SearchesItem(Answer):
    """``query`` and its hits in ``items``, or ``problem``."""

    query: QueryAnswer | None = None
    items: list[HitAnswer] | None = None
    problem: Problem | None = None


class SearchesAnswer(EncodedAnswer):
    """One item per query, in order."""

    items: list[SearchesItem]
