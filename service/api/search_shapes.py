"""Bodies and answers of the searches beyond a single one, and of an index."""

from typing import Literal

from pydantic import Field

from service.api.answers import ENCODER, Answer, HitAnswer, Problem, QueryAnswer
from service.api.schemas import Body, Name, SearchBody, example_of


class ManySearchesBody(Body):
    """Several searches of one collection; each is a search body of its own."""

    model_config = example_of({"queries": [{"scan_id": "scan-1", "k": 5}, {"scan_id": "scan-2"}]})

    queries: list[SearchBody] = Field(min_length=1)


class WideSearchBody(SearchBody):
    """A search of several collections; the scans it names are those of ``stored_in``."""

    model_config = example_of(
        {"collections": ["liver", "liver-2025"], "scan_id": "scan-1", "stored_in": "liver", "k": 5}
    )

    collections: list[Name] = Field(min_length=1, max_length=32)
    stored_in: Name | None = Field(None, description="Default: the first collection.")


class SearchItem(Answer):
    """``query`` and ``hits``, or ``problem``."""

    query: QueryAnswer | None = None
    hits: list[HitAnswer] | None = None
    problem: Problem | None = None


class ManySearchesAnswer(Answer):
    """One item per query, in order."""

    encoder_id: str = Field(examples=[ENCODER])
    dim: int = Field(examples=[1024])
    items: list[SearchItem]


class IndexAnswer(Answer):
    """How a collection is searched."""

    index_id: str = Field(description="Names it in /metrics.", examples=["6f1d0c3b9a27"])
    mode: Literal["exact", "approximate"]
    scans: int
    compressed_scans: int = Field(description="Searched approximately; scores are always exact.")
    segments: int
    recall_at_10: float | None = Field(
        description="Share of the exact 10 best that recent searches find; null = not measured."
    )
    recall_samples: int
