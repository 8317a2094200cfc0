"""The newest rows, in memory: one writer appends, readers search without a lock.

A Tail is a view of the first ``count`` rows of arrays that only ever grow behind it, so a reader
keeps what it took while the writer goes on. Deaths are flags that are set in place.

Shape suffixes: C capacity, N rows, Q queries, D embedding width.
"""

from dataclasses import dataclass, replace

import numpy as np

from service.index.neighbours import Flags, Floats, Ids, Marks, Neighbours, best, inner_products

FIRST_CAPACITY = 64


@dataclass(frozen=True, slots=True)
class Tail:
    """Rows in the order of adding; ``marks`` tell what an id stood for (see ``index``)."""

    row_ids_C: Ids
    marks_C: Marks
    vectors_CD: Floats
    alive_C: Flags
    count: int = 0

    def ids(self) -> Ids:
        """Ids of all rows, dead ones too."""
        return self.row_ids_C[: self.count]

    def living(self) -> Flags:
        """Which rows are not removed."""
        return self.alive_C[: self.count]

    def appended(self, row_ids_N: Ids, marks_N: Marks, vectors_ND: Floats) -> "Tail":
        """This tail and more rows; only for its one writer, and only on the newest tail."""
        end = self.count + len(row_ids_N)
        grown = self if end <= len(self.row_ids_C) else _grown(self, end)
        grown.row_ids_C[self.count : end] = row_ids_N
        grown.marks_C[self.count : end] = marks_N
        grown.vectors_CD[self.count : end] = vectors_ND
        grown.alive_C[self.count : end] = True
        return replace(grown, count=end)

    def after(self, start: int) -> "Tail":
        """A tail of its own of the living rows from ``start`` on."""
        keep = slice(start, self.count)
        alive = self.alive_C[keep]
        rows = (self.row_ids_C[keep][alive], self.marks_C[keep][alive])
        return empty(self.vectors_CD.shape[1]).appended(*rows, self.vectors_CD[keep][alive])

    def search(self, queries_QD: Floats, k: int, allowed_ids: Ids | None) -> list[Neighbours]:
        """The k best living rows per query, exactly; ``allowed_ids`` are sorted."""
        open_N = self.living().copy()
        if allowed_ids is not None:
            open_N &= np.isin(self.ids(), allowed_ids)
        places_P = np.flatnonzero(open_N)
        ids_P = self.ids()[places_P]
        scores_QP = inner_products(self.vectors_CD, places_P, queries_QD)
        return [best(ids_P, scores_P, k) for scores_P in scores_QP]


def empty(dim: int) -> Tail:
    """A tail without rows."""
    return _of_capacity(FIRST_CAPACITY, dim)


def _of_capacity(capacity: int, dim: int) -> Tail:
    return Tail(
        np.empty(capacity, np.int64),
        np.empty(capacity, np.uint64),
        np.empty((capacity, dim), np.float32),
        np.zeros(capacity, np.bool_),
    )


def _grown(tail: Tail, least: int) -> Tail:
    """A copy with room for ``least`` rows and as much again, so that appending stays cheap."""
    grown = _of_capacity(max(least, 2 * len(tail.row_ids_C)), tail.vectors_CD.shape[1])
    n = tail.count
    grown.row_ids_C[:n], grown.marks_C[:n] = tail.row_ids_C[:n], tail.marks_C[:n]
    grown.vectors_CD[:n], grown.alive_C[:n] = tail.vectors_CD[:n], tail.alive_C[:n]
    return grown
