"""What the catalog tells of the life of its data, as frozen dataclasses.

Times are UTC, ISO 8601 with a trailing ``Z``. Shape suffixes: D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.records import ClipFrame, Scalar, Scan

State: TypeAlias = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of one label or attribute occurs, commonest first.

    Attributes:
        others: scans with a value that the limit left out.
        missing: scans that pass the filter and lack the name.
    """

    values: tuple[tuple[Scalar, int], ...]
    others: int
    missing: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over the scans that pass one filter."""

    scans: int
    subjects: int
    studies: int
    labels: Mapping[str, Facet]
    attributes: Mapping[str, Facet]


@dataclass(frozen=True, slots=True)
class PolicyPatch:
    """Changes to a collection; what ``set_fields`` does not name stays.

    Attributes: as of ``Collection``.
    """

    description: str = ""
    keep_images: bool = False
    retention_days: float | None = None
    set_fields: frozenset[str] = frozenset()


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
    problem: Mapping[str, Any] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class WholeScan:
    """A scan with everything that belongs to it; ``png`` where images are kept.

    Attributes:
        embedding_D: float32.
    """

    scan: Scan
    embedding_D: npt.NDArray[np.float32]
    jpeg: bytes
    png: bytes | None
    frames: tuple[ClipFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A collection on its way from one encoder to another.

    Attributes:
        state: ``embedding`` until every scan has a new vector, then ``switched``: the old
            vectors are kept until the move is confirmed or taken back.
        embedded: scans that have a vector of the other encoder.
    """

    from_encoder_id: str
    to_encoder_id: str
    to_dim: int
    state: Literal["embedding", "switched"]
    embedded: int
