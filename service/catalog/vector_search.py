"""The interface of vector search: what every engine promises about the nearest scans.

It stands beside the catalog because an engine searches what the catalog stores, and some engines
search in the catalog's own database. Methods block and are thread safe. An engine serves one
encoder; callers check that their vectors are of it.

Shape suffixes: N rows, K hits, D embedding width.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Floats
from service.catalog.filter_records import ScanFilter
from service.catalog.records import Collection
from service.errors import EncoderMismatch


@dataclass(frozen=True, slots=True)
class NearestRows:
    """Best first; of equal scores the older row first.

    Attributes:
        row_ids_K: int64.
        scores_K: float32, cosine in [-1, 1], always of the whole float32 vectors.
    """

    row_ids_K: npt.NDArray[np.int64]
    scores_K: Floats


Ranking: TypeAlias = Callable[[int], NearestRows]  # k -> the k nearest


@dataclass(frozen=True, slots=True)
class PartLists:
    """How one part of an index is searched.

    Attributes:
        lists: of its approximate index; 0 = it is searched exactly.
        probed: lists that a search looks through.
        is_measured: ``probed`` was chosen by the recall that its build measured.
    """

    rows: int
    lists: int
    probed: int
    is_measured: bool


@dataclass(frozen=True, slots=True)
class SearchState:
    """How the rows of one collection are searched.

    Attributes:
        compressed_rows: rows that are searched approximately.
        segments: parts that were built so far.
        tail_rows: rows that are not in a part yet and are searched exactly.
        lists: of each part, oldest first; empty where the parts have none.
    """

    rows: int
    compressed_rows: int
    segments: int
    tail_rows: int
    lists: tuple[PartLists, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """The state of search in one collection.

    Attributes:
        index_id: names the index in metrics without naming the collection.
        recall: mean share of the exact 10 best that recent searches would find; None = every
            search is exact, or nobody has searched.
        recall_samples: number of searches in that mean.
    """

    index_id: str
    state: SearchState
    recall: float | None
    recall_samples: int


@dataclass(frozen=True, slots=True)
class IndexedRows:
    """Rows that the catalog has committed.

    Attributes:
        row_ids_N: int64, no id twice.
        hashes_N: uint64, the content hashes (``ids.content_hash``).
        embeddings_ND: float32, of the engine's encoder.
    """

    row_ids_N: npt.NDArray[np.int64]
    hashes_N: npt.NDArray[np.uint64]
    embeddings_ND: Floats


class VectorSearch(Protocol):
    """The nearest scans in the collections of one encoder.

    Every write happens inside ``writing``: first to the catalog, then ``add``, ``remove`` or
    ``drop``. The search that begins after one of these returned sees the change.
    """

    @property
    def encoder_id(self) -> str:
        """The encoder of every row and query."""

    @property
    def dim(self) -> int:
        """The embedding width of that encoder."""

    # searching ----------------------------------------------------------------------------

    def search(
        self,
        workspace_id: str,
        collection: str,
        query_D: Floats,
        *,
        k: int,
        where: ScanFilter,
    ) -> NearestRows:
        """The k nearest of the scans that pass ``where``; fewer only if fewer pass.

        Which rows are found is exact in small collections and under a selective filter. A row
        that is erased while the search runs may still be among them; the catalog has no scan
        for it.

        Args:
            query_D: float32, any length above 0.
            k: at least 1.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection is of another encoder.
            InputError: ``query_D``, ``k`` or the filter is not valid.
        """

    def ranking(
        self, workspace_id: str, collection: str, query_D: Floats, *, where: ScanFilter
    ) -> Ranking:
        """As ``search``, for a caller that asks for more rows until it has enough hits.

        The engine need not evaluate the filter again for a longer answer. A longer answer may
        contain a row that a shorter one missed. The errors may come now or with an answer.
        """

    def statistics(self, workspace_id: str, collection: str) -> IndexStatistics:
        """The state of search in a collection; zeros for one that is not there."""

    def all_statistics(self) -> list[IndexStatistics]:
        """The state of search in every collection that has rows; others may be left out."""

    # writing ------------------------------------------------------------------------------

    def writing(self) -> AbstractContextManager[None]:
        """Hold it from the write to the catalog until the search has learnt of it.

        An engine that keeps a copy of the rows lets one writer in at a time, so that the copy
        follows the catalog's order. An engine that searches the catalog's own rows lets all in.
        """

    def add(self, workspace_id: str, collection: str, rows: IndexedRows) -> None:
        """Learn of rows that the catalog has committed; a known id is replaced.

        Raises:
            InputError: the shape or type is wrong, a row is zero or not finite, or an id is
                repeated.
        """

    def remove(self, workspace_id: str, collection: str, row_ids_N: npt.NDArray[np.int64]) -> None:
        """Learn of rows that the catalog has erased; unknown ids are ignored.

        Background work then removes their bytes from what the engine stores.
        """

    def drop(self, workspace_id: str, collection: str) -> None:
        """Forget a collection that the catalog has deleted, and everything stored for it."""

    def exchange(self, workspace_id: str, collection: str) -> AbstractContextManager[None]:
        """The block replaces all vectors of a collection in the catalog, or its encoder.

        A search sees all old vectors or all new ones. Raises UnknownItem at the end of the block.
        """

    # running ------------------------------------------------------------------------------

    def open(self) -> int:
        """Make everything searchable and start work in the background; call it first.

        Returns:
            Number of scans in the collections of the encoder.
        """

    def wake(self) -> None:
        """Rows came or went: background work need not wait for its next turn."""

    def close(self) -> None:
        """End the work in the background, before the catalog is closed."""


def digest_of(workspace_id: str, name: str) -> str:
    """A name that reveals nothing about the collection."""
    return hashlib.sha256(f"{workspace_id}\0{name}".encode()).hexdigest()[:32]


def require_encoder(collection: Collection, encoder_id: str) -> None:
    """Raises EncoderMismatch: the collection is of another encoder than the loaded one."""
    require_same_encoder(collection.encoder_id, encoder_id)


def require_same_encoder(stored_id: str, encoder_id: str) -> None:
    """Raises EncoderMismatch: the encoder of stored vectors is not the loaded one."""
    if stored_id != encoder_id:
        raise EncoderMismatch(
            f"the collection was made by {stored_id}, loaded is {encoder_id}: "
            "re-embed the collection, or upload its files into a new one"
        )
