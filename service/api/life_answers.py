"""What the routes about the life of data answer."""

from typing import Any, Literal

from pydantic import Field

from service.api.answers import Answer, ErasedScan, Problem
from service.api.schemas import JsonObject


class ProgressAnswer(Answer):
    """In units of the operation's own; ``total`` is 0 while it is not known."""

    done: int
    total: int


class OperationAnswer(Answer):
    """Long work that was asked for."""

    operation_id: str = Field(examples=["op_5f2b1c0d9e8a7463aa01"])
    kind: Literal["fit", "refit", "move", "export", "import", "backup"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: ProgressAnswer
    cancel_asked: bool
    result: JsonObject | None
    problem: Problem | None
    created_at: str
    updated_at: str


class OperationPage(Answer):
    """``next_cursor`` is null on the last page."""

    items: list[OperationAnswer]
    next_cursor: str | None


class FacetValue(Answer):
    """One value and how many scans have it."""

    value: Any
    scans: int


class FacetAnswer(Answer):
    """Values of one label or attribute, commonest first."""

    values: list[FacetValue]
    others: int = Field(description="Scans with a value that the limit left out.")
    missing: int = Field(description="Scans that pass the filter and lack the name.")


class FacetsAnswer(Answer):
    """Counts over the scans that pass the filter."""

    scans: int
    subjects: int
    studies: int
    labels: dict[str, FacetAnswer]
    attributes: dict[str, FacetAnswer]


class ErasureAnswer(Answer):
    """What went, and who had learnt from it."""

    scans: list[ErasedScan]
    classifiers: list[str] = Field(description="That learnt from them; they stay.")
    uploads: int = Field(description="Erased examples that were uploaded to classifiers.")
    operation: OperationAnswer | None = Field(None, description="The refit, when asked for.")


class ScanDeleted(Answer):
    """What went, and who had learnt from it."""

    deleted: str
    classifiers: list[str] = Field(description="That learnt from the scan; they stay.")
    operation: OperationAnswer | None = Field(None, description="The refit, when asked for.")


class MoveAnswer(Answer):
    """A collection on its way to another encoder."""

    collection: str
    from_encoder_id: str
    to_encoder_id: str
    state: Literal["embedding", "switched"]
    embedded: int = Field(description="Scans that have a vector of the other encoder.")


class MoveEnded(Answer):
    """A move that was confirmed or taken back."""

    collection: str
    encoder_id: str = Field(description="That the collection is of now.")
