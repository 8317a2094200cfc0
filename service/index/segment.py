"""Immutable rows on disk, with or without a compressed index.

Only the flags ``alive_N`` change, from True to False and in place, so that a reader sees a removal
at once and without a lock. Rows are addressed by position; ids ascend with positions.

Shape suffixes: N rows, P positions, Q queries, R candidates, D embedding width, K neighbours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.arrays import Floats
from service.errors import IndexDamaged
from service.index import compressed
from service.index import segment_files as files
from service.index.compressed import CompressedIndex
from service.index.neighbours import NO_IDS, NO_SCORES, Ids, Neighbours, best, merged
from service.index.vector_file import VectorFile

# Up to this number of rows an exact scan is as fast as the index (docs/measurements/search.md).
EXACT_ALLOWED = 20_000
MIN_CANDIDATES = 64
CANDIDATES_PER_HIT = 4


@dataclass(frozen=True, slots=True)
class SegmentLists:
    """How a segment is searched.

    Attributes:
        rows: that are not removed.
        lists: of its compressed index; 0 = it is searched exactly.
        probed: lists that a search looks through.
        is_measured: a build chose ``probed`` by the recall it measured; else it is the default.
    """

    rows: int
    lists: int
    probed: int
    is_measured: bool


class Segment:
    """One verified folder. Readers need no lock; methods that write need one caller at a time."""

    def __init__(self, folder: Path, manifest: files.SegmentManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.row_ids_N, self.hashes_N = files.read_ids(folder, manifest)
        self.alive_N = np.ones(manifest.rows, np.bool_)
        self.removed = 0
        self.compressed: CompressedIndex | None = None
        self._rows = VectorFile(folder / files.ROWS, manifest.rows, manifest.dim)
        self._alive_bits = np.packbits(self.alive_N, bitorder="little")
        if files.COMPRESSED in manifest.files:
            self.compressed = compressed.read(
                folder / files.COMPRESSED, rows=manifest.rows, probes=manifest.probes
            )

    def __len__(self) -> int:
        """Number of rows that are not removed."""
        return self.manifest.rows - self.removed

    @property
    def lacks_probes(self) -> bool:
        """Whether it is compressed and nobody measured how many lists a search needs."""
        return self.compressed is not None and self.manifest.probes is None

    @property
    def lists(self) -> SegmentLists:
        """How it is searched."""
        if self.compressed is None:
            return SegmentLists(len(self), 0, 0, False)
        count, probes = self.compressed.lists, self.compressed.probes
        return SegmentLists(len(self), count, min(probes, count), not self.lacks_probes)

    def positions_of(self, row_ids: Ids) -> Ids:
        """Positions of the ids that are alive in this segment, in the order of the ids."""
        at = np.minimum(np.searchsorted(self.row_ids_N, row_ids), self.manifest.rows - 1)
        return np.asarray(at[(self.row_ids_N[at] == row_ids) & self.alive_N[at]], np.int64)

    def remove(self, row_ids: Ids) -> int:
        """Remove rows; return how many were alive in this segment."""
        positions_P = self.positions_of(row_ids)
        self.alive_N[positions_P] = False
        kept_bits_P = np.invert(np.left_shift(1, positions_P & 7)).astype(np.uint8)
        np.bitwise_and.at(self._alive_bits, positions_P >> 3, kept_bits_P)
        self.removed += len(positions_P)
        return len(positions_P)

    def put_compressed(self, index: CompressedIndex) -> None:
        """Write the compressed index beside the rows, and use it. Raises IndexDamaged."""
        self.manifest = files.add_file(self.folder, self.manifest, files.COMPRESSED, index.write)
        # A built index is in memory, with half of its length as spare capacity; a read one is not.
        self.compressed = compressed.read(self.folder / files.COMPRESSED, rows=self.manifest.rows)

    def put_probes(self, probes: int) -> None:
        """Store how many lists a search looks through, and use it. Raises IndexDamaged."""
        if self.compressed is not None:
            self.manifest = files.put_probes(self.folder, self.manifest, probes)
            self.compressed.probes = probes

    def nearest_in_lists(self, probes: int, queries_QD: Floats, k: int) -> list[Neighbours]:
        """Positions of the k best that so many lists of the compressed index have, removed rows
        included. Raises IndexDamaged: it has no compressed index.
        """
        if self.compressed is None:
            raise IndexDamaged("the segment has no compressed index")
        near_QR = self.compressed.search(queries_QD, _candidates(k), None, probes=probes)
        pairs = zip(near_QR, queries_QD, strict=True)
        return [self._reranked(near_R[near_R >= 0], query_D, k) for near_R, query_D in pairs]

    def take(self, positions_P: Ids) -> Floats:
        """Stored rows, float32 (P, D)."""
        return self._rows.take(positions_P)

    def search(
        self, queries_QD: Floats, k: int, allowed_ids: Ids | None, *, exact: bool = False
    ) -> list[Neighbours]:
        """The k best alive rows per query; ``allowed_ids`` are sorted.

        A few allowed rows are scanned exactly, and all when the compressed index returns too few
        candidates, so that no row that a filter allows is lost. Rows of a filter may lie far from
        the query, so lists are looked through until farther ones do not change the answer.
        """
        positions_P = None if allowed_ids is None else self.positions_of(allowed_ids)
        allowed_rows = len(self) if positions_P is None else len(positions_P)
        depth = _candidates(k)
        few = max(depth, 0 if positions_P is None else EXACT_ALLOWED)
        exact |= allowed_rows <= few or 4 * depth > self.manifest.rows
        index = self.compressed
        if index is None or exact:
            return self._with_ids(self._scan(queries_QD, k, positions_P))
        if positions_P is not None:
            return self._with_ids(
                [self._widened(index, query_D, k, positions_P) for query_D in queries_QD]
            )
        bits = self._alive_bits if self.removed else None
        near_QR = index.search(queries_QD, depth, bits)
        full = (near_QR >= 0).sum(1) >= depth
        answers = [
            self._reranked(self._alive(near_R[near_R >= 0]), query_D, k)
            for near_R, query_D in zip(near_QR, queries_QD, strict=True)
        ]
        if not full.all():
            short = np.flatnonzero(~full)
            scanned = self._scan(queries_QD[short], k, None)
            for number, answer in zip(short, scanned, strict=True):
                answers[number] = answer
        return self._with_ids(answers)

    def _widened(
        self, index: CompressedIndex, query_D: Floats, k: int, allowed_P: Ids
    ) -> Neighbours:
        """The k best of the allowed positions: from ever more lists, until no more change them."""
        best_K = Neighbours(NO_IDS, NO_SCORES)
        for near_R in index.widening(query_D, _candidates(k), allowed_P):
            before_K = best_K
            found_K = self._reranked(self._alive(near_R), query_D, k)
            best_K = merged([before_K, found_K], k)
            if len(best_K.row_ids_K) == k and np.array_equal(best_K.row_ids_K, before_K.row_ids_K):
                break
        if len(best_K.row_ids_K) < k:
            (best_K,) = self._scan(query_D[None], k, self._alive(allowed_P))
        return best_K

    def _alive(self, positions_P: Ids) -> Ids:
        return positions_P[self.alive_N[positions_P]]

    def _reranked(self, near_R: Ids, query_D: Floats, k: int) -> Neighbours:
        return best(near_R, self._rows.scores(near_R, query_D[None])[0], k)

    def _scan(self, queries_QD: Floats, k: int, positions_P: Ids | None) -> list[Neighbours]:
        if positions_P is None:
            positions_P = np.flatnonzero(self.alive_N).astype(np.int64)
        return self._rows.scan(positions_P, queries_QD, k)

    def _with_ids(self, answers: list[Neighbours]) -> list[Neighbours]:
        """Positions -> row ids; both ascend together, so that ties stay in order."""
        return [Neighbours(self.row_ids_N[n.row_ids_K], n.scores_K) for n in answers]


def _candidates(k: int) -> int:
    """How many rows of the compressed index are scored exactly for k hits."""
    return max(MIN_CANDIDATES, CANDIDATES_PER_HIT * k)
