"""Vectors on disk at half precision, read by memory map; exact scores of chosen rows.

Half precision moves a cosine by some 1e-5 (docs/search.md), and halves what the operating system
has to keep in memory.

Shape suffixes: N rows, P positions, Q queries, D embedding width.
"""

import mmap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from service.errors import IndexDamaged
from service.retrieval.rows import Floats, Halves, Ids, Neighbours, best, merged

SCAN_ROWS = 8192
# The kernel maps neighbours of every touched page; beyond this the map is emptied again, so that
# the process does not seem to own the whole file. The pages stay in the operating system's cache.
MAPPED_BYTES = 256 * 2**20
BYTES_PER_TOUCH = 64 * 2**10


class RowFile:
    """N rows of D little-endian float16. Thread safe: nothing of it changes."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise IndexDamaged("an index file cannot be mapped") from error
        if len(self._map) != 2 * count * dim:
            raise IndexDamaged(f"expected {2 * count * dim} bytes of rows, got {len(self._map)}")
        self._rows_ND: Halves = np.frombuffer(self._map, "<f2").reshape(count, dim)
        self._touched = 0
        self._counting = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows_ND)

    @property
    def dim(self) -> int:
        """Embedding width."""
        return int(self._rows_ND.shape[1])

    def take(self, positions_P: Ids) -> Halves:
        """Copies of the rows, float16 (P, D); other threads run meanwhile."""
        rows_PD: Halves = self._rows_ND.take(positions_P, axis=0)
        self._count(len(positions_P))
        return rows_PD

    def scores(self, positions_QP: Ids, queries_QD: Floats) -> Floats:
        """Exact cosines of each query with its own candidates, float32 (Q, P)."""
        found = [
            self.take(positions_P).astype(np.float32) @ query_D
            for positions_P, query_D in zip(positions_QP, queries_QD, strict=True)
        ]
        return np.stack(found)

    def scan(self, positions_P: Ids, queries_QD: Floats, k: int) -> list[Neighbours]:
        """The k best of the positions per query, exactly; ids are positions."""
        found: list[list[Neighbours]] = [[] for _ in queries_QD]
        for part_P, scores_QK, near_QK in self._scanned(positions_P, queries_QD, k):
            for answers, scores_K, near_K in zip(found, scores_QK, near_QK, strict=True):
                answers.append(best(part_P[near_K], scores_K, k))
        return [merged(answers, k) for answers in found]

    def _scanned(
        self, positions_P: Ids, queries_QD: Floats, k: int
    ) -> Iterator[tuple[Ids, Floats, Ids]]:
        # FAISS scores half precision several times faster than NumPy can widen it.
        kind = faiss.ScalarQuantizer.QT_fp16
        flat: Any = faiss.IndexScalarQuantizer(self.dim, kind, faiss.METRIC_INNER_PRODUCT)
        for start in range(0, len(positions_P), SCAN_ROWS):
            part_P = positions_P[start : start + SCAN_ROWS]
            flat.reset()
            flat.add_sa_codes(self.take(part_P).view(np.uint8))
            yield (part_P, *flat.search(queries_QD, min(k, len(part_P))))

    def _count(self, rows: int) -> None:
        with self._counting:
            self._touched += rows
            if self._touched * BYTES_PER_TOUCH < MAPPED_BYTES:
                return
            self._touched = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
