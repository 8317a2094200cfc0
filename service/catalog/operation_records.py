"""Records of long work: operations, and collections on their way to another encoder.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})
KEEP_ENDED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class NamedItems:
    """The collections and classifiers that a request or an operation names."""

    collections: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()

    def with_collections(self, names: Iterable[str]) -> "NamedItems":
        """These items and further collections, each once."""
        return NamedItems(tuple(dict.fromkeys((*self.collections, *names))), self.classifiers)


NAMELESS = NamedItems()  # such as a backup, which concerns everything


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work in the background.

    Attributes:
        kind: such as ``fit``.
        request: enough to start again after a restart.
        done, total: progress in units of the work; ``total`` 0 = not known yet.
        result: of finished work; ``problem``: code and detail of failed work.
        attempts: how often it was started.
        for_service: it is work of the service itself, such as a scheduled backup.
        names: what its request named; kept when the request is deleted, at the end of the work.
    """

    operation_id: str
    workspace_id: str
    kind: str
    state: State
    request: Mapping[str, Any]
    created_at: str
    updated_at: str
    done: int = 0
    total: int = 0
    cancel_asked: bool = False
    attempts: int = 0
    result: Mapping[str, Any] | None = None
    problem: Mapping[str, Any] | None = None
    for_service: bool = False
    names: NamedItems = NAMELESS

    @property
    def turn(self) -> str:
        """Who queues for it: the id of its workspace, or '' for the service."""
        return "" if self.for_service else self.workspace_id


@dataclass(frozen=True, slots=True)
class Reembedding:
    """A collection on its way from one encoder to another.

    Attributes:
        state: ``embedding`` until every scan has a new vector, then ``switched``; the old
            vectors are kept until the switch is confirmed or reverted.
        embedded: number of scans that have a vector of the other encoder.
    """

    from_encoder_id: str
    to_encoder_id: str
    to_dim: int
    state: Literal["embedding", "switched"]
    embedded: int
