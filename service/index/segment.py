"""Rows that no longer change, on disk, with or without a compressed index in front of them.

Only the flags of life change, one way and in place: a reader sees a removal at once, without a
lock. Rows are found by position, ids ascend with positions.

Shape suffixes: N rows, P positions, Q queries, R candidates, D embedding width, K neighbours.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.index import compressed as coarse
from service.index import segment_files as files
from service.index.compressed import Coarse
from service.index.neighbours import Floats, Ids, Neighbours, best
from service.index.vector_file import RowFile

# Up to so many rows an exact scan is as fast as the index (docs/measurements/search.md).
EXACT_ALLOWED = 20_000
LEAST_CANDIDATES = 64
CANDIDATES_PER_HIT = 4


class Segment:
    """One verified folder. Readers need no lock; ``remove`` and ``put_coarse`` have one caller."""

    def __init__(self, folder: Path, facts: files.Facts) -> None:
        self.folder = folder
        self.facts = facts
        self.row_ids_N, self.marks_N = files.read_ids(folder, facts)
        self.alive_N = np.ones(facts.rows, np.bool_)
        self.dead = 0
        self.coarse: Coarse | None = None
        self._rows = RowFile(folder / files.ROWS, facts.rows, facts.dim)
        self._alive_bits = np.packbits(self.alive_N, bitorder="little")
        if files.COARSE in facts.files:
            self.coarse = coarse.read(folder / files.COARSE, rows=facts.rows)

    def __len__(self) -> int:
        """Living rows."""
        return self.facts.rows - self.dead

    def positions_of(self, row_ids: Ids) -> Ids:
        """Positions of those of the ids that live here, in the order of the ids."""
        at = np.minimum(np.searchsorted(self.row_ids_N, row_ids), self.facts.rows - 1)
        here = (self.row_ids_N[at] == row_ids) & self.alive_N[at]
        positions: Ids = at[here].astype(np.int64)
        return positions

    def remove(self, row_ids: Ids) -> int:
        """Let rows die; return how many lived here."""
        positions_P = self.positions_of(row_ids)
        self.alive_N[positions_P] = False
        np.bitwise_and.at(
            self._alive_bits,
            positions_P >> 3,
            np.invert(np.left_shift(1, positions_P & 7)).astype(np.uint8),
        )
        self.dead += len(positions_P)
        return len(positions_P)

    def put_coarse(self, built: Coarse) -> None:
        """Write the compressed index beside the rows and search through it from now on.

        Raises:
            IndexDamaged: the disk refuses.
        """
        self.facts = files.add_file(self.folder, self.facts, files.COARSE, built.write)
        # What was read has no spare room in its lists, where what was grown has half as much again.
        self.coarse = coarse.read(self.folder / files.COARSE, rows=self.facts.rows)

    def take(self, positions_P: Ids) -> Floats:
        """Stored rows, float32 (P, D)."""
        return self._rows.take(positions_P)

    def search(
        self, queries_QD: Floats, k: int, allowed_ids: Ids | None, *, exact: bool = False
    ) -> list[Neighbours]:
        """The k best living rows per query; ``allowed_ids`` are sorted.

        Few allowed rows are scanned exactly, and so are more when the compressed index finds
        fewer than there are: what a filter lets through is never lost.
        """
        positions_P = None if allowed_ids is None else self.positions_of(allowed_ids)
        open_rows = len(self) if positions_P is None else len(positions_P)
        depth = max(LEAST_CANDIDATES, CANDIDATES_PER_HIT * k)
        few = max(depth, 0 if positions_P is None else EXACT_ALLOWED)
        if self.coarse is None or exact or open_rows <= few or 4 * depth > self.facts.rows:
            return self._named(self._scan(queries_QD, k, positions_P))
        near_QR = self.coarse.search(queries_QD, depth, self._open_bits(positions_P))
        full = (near_QR >= 0).sum(1) >= depth
        found = [
            self._reranked(near_R[near_R >= 0], query_D, k)
            for near_R, query_D in zip(near_QR, queries_QD, strict=True)
        ]
        if not full.all():
            short = np.flatnonzero(~full)
            again = self._scan(queries_QD[short], k, positions_P)
            for number, answer in zip(short, again, strict=True):
                found[number] = answer
        return self._named(found)

    def _reranked(self, near_R: Ids, query_D: Floats, k: int) -> Neighbours:
        near_R = near_R[self.alive_N[near_R]]
        return best(near_R, self._rows.scores(near_R, query_D[None])[0], k)

    def _scan(self, queries_QD: Floats, k: int, positions_P: Ids | None) -> list[Neighbours]:
        if positions_P is None:
            positions_P = np.flatnonzero(self.alive_N).astype(np.int64)
        return self._rows.scan(positions_P, queries_QD, k)

    def _open_bits(self, positions_P: Ids | None) -> npt.NDArray[np.uint8] | None:
        """A bit per row that may be found, None = all may."""
        if positions_P is None:
            return self._alive_bits if self.dead else None
        open_N = np.zeros(self.facts.rows, np.bool_)
        open_N[positions_P] = True
        return np.packbits(open_N, bitorder="little")

    def _named(self, found: list[Neighbours]) -> list[Neighbours]:
        """Positions -> row ids; both ascend together, so ties stay in order."""
        return [Neighbours(self.row_ids_N[n.row_ids_K], n.scores_K) for n in found]


def open_segment(folder: Path, *, encoder_id: str, dim: int) -> Segment:
    """Verify and open. Raises IndexDamaged: see ``files.verified``."""
    return Segment(folder, files.verified(folder, encoder_id=encoder_id, dim=dim))
