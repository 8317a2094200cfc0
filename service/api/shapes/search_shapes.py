"""Bodies and answers of searches."""

from typing import Literal

from pydantic import Field, model_validator

from service.api.shapes.base import (
    ENCODER,
    REGION_HELP,
    REGION_NUMBER,
    Answer,
    Base64Image,
    Body,
    Component,
    Cosine,
    Identifier,
    ImageSeen,
    Name,
    Problem,
    RegionChoice,
    example_of,
)
from service.api.shapes.filter_shapes import FilterBody
from service.api.shapes.scan_shapes import HitScan
from service.errors import InputError
from service.gallery.gallery_records import NearestFrame, SearchHit


class SearchExample(Body):
    """One example to search by: exactly one of a stored scan, a vector, an image."""

    scan_id: Identifier | None = None
    vector: list[Component] | None = Field(None, max_length=65_536)
    image: Base64Image | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "SearchExample":
        if sum(part is not None for part in (self.scan_id, self.vector, self.image)) != 1:
            raise ValueError("expected exactly one of scan_id, vector, image")
        return self


ExampleChoice = Identifier | SearchExample


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
        0.0, ge=0, le=1, description="0 = best first; more = hits that differ (MMR, 1 - lambda)."
    )
    exclude_same: Literal["subject", "study"] | None = None
    min_score: float = Field(-1.0, ge=-1, le=1)
    match: Literal["scan", "frame"] = Field(
        "scan", description="A cine scores as a whole, or as its nearest frame."
    )
    region: RegionChoice | None = Field(None, description=REGION_HELP)
    subject_id: Identifier | None = Field(None, description="Of the uploaded query.")
    study_id: Identifier | None = Field(None, description="Of the uploaded query.")
    stored_in: Name | None = Field(
        None, description="Collection of the scans that the query names; default: the first."
    )
    positive: list[ExampleChoice] = Field(
        default_factory=list, max_length=256, description="Scan ids, or objects of other examples."
    )
    negative: list[ExampleChoice] = Field(
        default_factory=list, max_length=256, description="As positive; what to avoid."
    )
    with_vector: bool = Field(False, description="Answer the embedding of each hit.")

    def examples(self) -> tuple[list[SearchExample], list[SearchExample]]:
        """Positive and negative ones, uploaded files left out. Raises InputError."""
        return _examples(self.positive), _examples(self.negative)


class SearchOptionsAcross(SearchOptions):
    """And in which collections, one at least."""

    model_config = example_of({"collections": ["liver", "liver-2025"], "k": 5})

    collections: list[Name] = Field(default_factory=list, max_length=32)


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
    vector: list[Component] | None = Field(None, max_length=65_536)
    encoder_id: str | None = Field(None, description="Of the vectors; checked when given.")
    image: Base64Image | None = None

    def examples(self) -> tuple[list[SearchExample], list[SearchExample]]:
        """Positive and negative ones. Raises InputError: not one query."""
        own = {"scan_id": self.scan_id, "vector": self.vector, "image": self.image}
        named = {name: value for name, value in own.items() if value is not None}
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

    Each of ``queries`` is a search of its own, with options of its own; beside them stand only
    ``collections``.
    """

    model_config = example_of(
        {"collections": ["liver", "liver-2025"], "scan_id": "scan-1", "stored_in": "liver", "k": 5}
    )

    collections: list[Name] = Field(min_length=1, max_length=32)
    queries: list[QueryBody] | None = Field(None, min_length=1)

    def many(self) -> list[QueryBody]:
        """The ``queries``; empty for one query. Raises InputError: both."""
        if self.queries is None:
            return []
        if self.model_fields_set - {"collections", "queries"}:
            raise InputError("expected nothing but collections beside queries")
        return self.queries


class HitFrame(Answer):
    """What of a cine or dual screen is nearest to the query; ``score`` is its cosine."""

    index: int = Field(ge=0, examples=[12])
    region: int = Field(ge=0, description=REGION_NUMBER)
    time_s: float | None = Field(examples=[0.48])
    score: Cosine

    @classmethod
    def of(cls, frame: NearestFrame) -> "HitFrame":
        """From the nearest frame."""
        return cls(index=frame.index, region=frame.region, time_s=frame.time_s, score=frame.score)


class HitAnswer(Answer):
    """A similar scan; ``score`` is the cosine."""

    score: Cosine = Field(examples=[0.93])
    scan: HitScan
    frame: HitFrame | None = Field(description="Null for a still of one region.")
    vector: list[float] | None = Field(None, description="When with_vector asks for it.")

    @classmethod
    def of(cls, hit: SearchHit) -> "HitAnswer":
        """From one hit."""
        frame = None if hit.frame is None else HitFrame.of(hit.frame)
        scan = HitScan.of(hit.scan)
        if hit.embedding_D is None:
            return cls(score=hit.score, scan=scan, frame=frame)
        return cls(score=hit.score, scan=scan, frame=frame, vector=hit.embedding_D.tolist())


class SeenQuery(Answer):
    """The uploaded images of the query as they were read."""

    images: list[ImageSeen]


class SearchAnswer(Answer):
    """Best hits first."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    query: SeenQuery
    items: list[HitAnswer]


class SearchesItem(Answer):
    """``query`` and its hits in ``items``, or ``problem``."""

    query: SeenQuery | None = None
    items: list[HitAnswer] | None = None
    problem: Problem | None = None


class SearchesAnswer(Answer):
    """One item per query, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    items: list[SearchesItem]
