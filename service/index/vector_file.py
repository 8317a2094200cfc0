"""Vectors on disk, read by memory map, and their exact scores.

They are float32, because half precision changed cosines by 1e-5, enough to swap the tenth hit with
the eleventh.

Shape suffixes: N rows, P positions, Q queries, D embedding width.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from service.arrays import Floats
from service.errors import IndexDamaged
from service.index.mapped_file import BLOCK_BYTES, MappedFile, limit_mapped_bytes
from service.index.neighbours import Ids, Neighbours, best, inner_products, merged

SCAN_ROWS = 4096
BLOCKS_BETWEEN_CHECKS = 8  # of the limit on mapped bytes


class VectorFile:
    """N rows of D little-endian float32. Thread safe, because it does not change."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        self._file = MappedFile(path)
        bytes_B = self._file.bytes_B
        if len(bytes_B) != 4 * count * dim:
            raise IndexDamaged(f"expected {4 * count * dim} bytes of rows, got {len(bytes_B)}")
        self._rows_ND: Floats = bytes_B.view("<f4").reshape(count, dim)

    def take(self, positions_P: Ids) -> Floats:
        """Copies of the rows, float32 (P, D); other threads may run meanwhile."""
        rows_PD: Floats = np.empty((len(positions_P), self._rows_ND.shape[1]), np.float32)
        for part in self._checked_parts(positions_P):
            # All positions are in range; the mode ``clip`` avoids a second copy.
            self._rows_ND.take(positions_P[part], axis=0, out=rows_PD[part], mode="clip")
        return rows_PD

    def scores(self, positions_P: Ids, queries_QD: Floats) -> Floats:
        """Inner products of chosen rows, float32 (Q, P)."""
        scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
        for part in self._checked_parts(positions_P):
            scores_QP[:, part] = inner_products(self._rows_ND, positions_P[part], queries_QD)
        return scores_QP

    def _checked_parts(self, positions_P: Ids) -> Iterator[slice]:
        """Parts whose rows touch few blocks; after each one the limit is checked."""
        block_P = positions_P * self._rows_ND.strides[0] // BLOCK_BYTES
        touched_P = np.cumsum(np.diff(block_P, prepend=-1) != 0) - 1
        is_start_P = np.diff(touched_P // BLOCKS_BETWEEN_CHECKS, prepend=-1) != 0
        starts = [*np.flatnonzero(is_start_P).tolist(), len(positions_P)]
        for start, end in pairwise(starts):
            yield slice(start, end)
            limit_mapped_bytes()

    def scan(self, positions_P: Ids, queries_QD: Floats, k: int) -> list[Neighbours]:
        """The k best of the positions per query, exactly; ids are positions."""
        parts_Q: list[list[Neighbours]] = [[] for _ in queries_QD]
        for start in range(0, len(positions_P), SCAN_ROWS):
            part_P = positions_P[start : start + SCAN_ROWS]
            scores_QP = self.scores(part_P, queries_QD)
            for parts, scores_P in zip(parts_Q, scores_QP, strict=True):
                parts.append(best(part_P, scores_P, k))
        return [merged(parts, k) for parts in parts_Q]
