"""Records of long work: operations, and collections on their way to another encoder.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work that was asked for.

    Attributes:
        kind: what it does, such as ``fit``.
        request: what it was asked with, enough to begin anew after a restart.
        done, total: of its own units; ``total`` 0 = not known yet.
        result: of a finished one; ``problem``: code and detail of a failed one.
        attempts: how often it was begun.
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


@dataclass(frozen=True, slots=True)
class Reembedding:
    """A collection on its way from one encoder to another.

    Attributes:
        state: ``embedding`` until every scan has a new vector, then ``switched``: the old
            vectors are kept until it is confirmed or taken back.
        embedded: scans that have a vector of the other encoder.
    """

    from_encoder_id: str
    to_encoder_id: str
    to_dim: int
    state: Literal["embedding", "switched"]
    embedded: int
