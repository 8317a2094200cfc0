"""The newest rows, in memory: one writer appends, readers search without a lock.

A Tail is a view of the first ``count`` rows of arrays that only grow behind it, so a reader keeps
its rows while the writer continues. A removal clears a flag in place.

Shape suffixes: C capacity, N rows, Q queries, D embedding width.
"""

from dataclasses import dataclass, replace

import numpy as np

from service.arrays import Bools, Floats
from service.index.neighbours import ContentHashes, Ids, Neighbours, best, inner_products

FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Tail:
    """Rows in the order of adding, with their content hashes (see ``vector_index``)."""

    row_ids_C: Ids
    hashes_C: ContentHashes
    vectors_CD: Floats
    alive_C: Bools
    count: int = 0

    def ids(self) -> Ids:
        """Ids of all rows, including removed ones."""
        return self.row_ids_C[: self.count]

    def alive(self) -> Bools:
        """Which rows are not removed."""
        return self.alive_C[: self.count]

    def appended(self, row_ids_N: Ids, hashes_N: ContentHashes, vectors_ND: Floats) -> "Tail":
        """This tail with more rows; only for the one writer, and only on the newest tail."""
        end = self.count + len(row_ids_N)
        grown = self if end <= len(self.row_ids_C) else _grown(self, end)
        grown.row_ids_C[self.count : end] = row_ids_N
        grown.hashes_C[self.count : end] = hashes_N
        grown.vectors_CD[self.count : end] = vectors_ND
        grown.alive_C[self.count : end] = True
        return replace(grown, count=end)

    def after(self, start: int) -> "Tail":
        """A new tail with the alive rows from ``start`` on."""
        keep = slice(start, self.count)
        alive = self.alive_C[keep]
        rows = (self.row_ids_C[keep][alive], self.hashes_C[keep][alive])
        return empty(self.vectors_CD.shape[1]).appended(*rows, self.vectors_CD[keep][alive])

    def search(self, queries_QD: Floats, k: int, allowed_ids: Ids | None) -> list[Neighbours]:
        """The k best alive rows per query, exactly; ``allowed_ids`` are sorted."""
        allowed_N = self.alive().copy()
        if allowed_ids is not None:
            allowed_N &= np.isin(self.ids(), allowed_ids)
        places_P = np.flatnonzero(allowed_N)
        ids_P = self.ids()[places_P]
        scores_QP = inner_products(self.vectors_CD, places_P, queries_QD)
        return [best(ids_P, scores_P, k) for scores_P in scores_QP]


def empty(dim: int) -> Tail:
    """A tail without rows."""
    return _allocated(FIRST_CAPACITY, dim)


def _allocated(capacity: int, dim: int) -> Tail:
    return Tail(
        np.empty(capacity, np.int64),
        np.empty(capacity, np.uint64),
        np.empty((capacity, dim), np.float32),
        np.zeros(capacity, np.bool_),
    )


def _grown(tail: Tail, min_rows: int) -> Tail:
    """A copy for at least ``min_rows`` rows, doubled so that appending stays cheap."""
    grown = _allocated(max(min_rows, 2 * len(tail.row_ids_C)), tail.vectors_CD.shape[1])
    n = tail.count
    grown.row_ids_C[:n], grown.hashes_C[:n] = tail.row_ids_C[:n], tail.hashes_C[:n]
    grown.vectors_CD[:n], grown.alive_C[:n] = tail.vectors_CD[:n], tail.alive_C[:n]
    return grown
