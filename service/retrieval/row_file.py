"""Vectors on disk, read by memory map; exact scores of chosen rows.

They are whole: half precision moved a cosine by 1e-5, which is enough to exchange a tenth hit
for the eleventh.

Shape suffixes: N rows, P positions, Q queries, D embedding width.
"""

import mmap
import threading
from pathlib import Path

import numpy as np

from service.errors import IndexDamaged
from service.retrieval.rows import Floats, Ids, Neighbours, best, inner_products, merged

SCAN_ROWS = 4096
TAKE_ROWS = 1024
# The kernel maps neighbours of every touched page; beyond this the map is emptied again, so that
# the process does not seem to own the whole file. The pages stay in the operating system's cache.
MAPPED_BYTES = 256 * 2**20
BYTES_PER_TOUCH = 64 * 2**10


class RowFile:
    """N rows of D little-endian float32. Thread safe: nothing of it changes."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise IndexDamaged("an index file cannot be mapped") from error
        if len(self._map) != 4 * count * dim:
            raise IndexDamaged(f"expected {4 * count * dim} bytes of rows, got {len(self._map)}")
        self._rows_ND: Floats = np.frombuffer(self._map, "<f4").reshape(count, dim)
        self._touched = 0
        self._counting = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows_ND)

    @property
    def dim(self) -> int:
        """Embedding width."""
        return int(self._rows_ND.shape[1])

    def take(self, positions_P: Ids) -> Floats:
        """Copies of the rows, float32 (P, D); other threads run meanwhile."""
        rows_PD: Floats = np.empty((len(positions_P), self.dim), np.float32)
        for start in range(0, len(positions_P), TAKE_ROWS):
            part = slice(start, start + TAKE_ROWS)
            # Clipping (of positions that are all in range) writes straight into the copy.
            self._rows_ND.take(positions_P[part], axis=0, out=rows_PD[part], mode="clip")
            self._count(len(positions_P[part]))
        return rows_PD

    def scores(self, positions_P: Ids, queries_QD: Floats) -> Floats:
        """Inner products of chosen rows, float32 (Q, P)."""
        scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
        for start in range(0, len(positions_P), TAKE_ROWS):
            part = slice(start, start + TAKE_ROWS)
            scores_QP[:, part] = inner_products(self._rows_ND, positions_P[part], queries_QD)
            self._count(len(positions_P[part]))
        return scores_QP

    def scan(self, positions_P: Ids, queries_QD: Floats, k: int) -> list[Neighbours]:
        """The k best of the positions per query, exactly; ids are positions."""
        found: list[list[Neighbours]] = [[] for _ in queries_QD]
        for start in range(0, len(positions_P), SCAN_ROWS):
            part_P = positions_P[start : start + SCAN_ROWS]
            scores_QP = self.scores(part_P, queries_QD)
            for answers, scores_P in zip(found, scores_QP, strict=True):
                answers.append(best(part_P, scores_P, k))
        return [merged(answers, k) for answers in found]

    def _count(self, rows: int) -> None:
        with self._counting:
            self._touched += rows
            if self._touched * BYTES_PER_TOUCH < MAPPED_BYTES:
                return
            self._touched = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
