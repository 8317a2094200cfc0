"""Vectors on disk, read by memory map, and their exact scores.

They are float32, because half precision changed cosines by 1e-5, enough to swap the tenth hit with
the eleventh.

Shape suffixes: N rows, P positions, Q queries, D embedding width.
"""

import functools
import mmap
import os
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np

from service.arrays import Floats
from service.errors import IndexDamaged
from service.index.neighbours import Ids, Neighbours, best, inner_products, merged

SCAN_ROWS = 4096
# Reading a page maps 64 KB to 2 MB around it. Beyond this limit all maps are emptied, so that the
# process does not seem to own whole files; the pages stay in the cache of the operating system.
MAX_MAPPED_BYTES = 512 * 2**20  # of files, including those of the program
CHECKED_ROWS = 128  # are read between two checks of the limit

_open_files: "weakref.WeakSet[VectorFile]" = weakref.WeakSet()


class VectorFile:
    """N rows of D little-endian float32. Thread safe, because it does not change."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise IndexDamaged("an index file cannot be mapped") from error
        if len(self._map) != 4 * count * dim:
            raise IndexDamaged(f"expected {4 * count * dim} bytes of rows, got {len(self._map)}")
        self._rows_ND: Floats = np.frombuffer(self._map, "<f4").reshape(count, dim)
        _open_files.add(self)

    def take(self, positions_P: Ids) -> Floats:
        """Copies of the rows, float32 (P, D); other threads may run meanwhile."""
        rows_PD: Floats = np.empty((len(positions_P), self._rows_ND.shape[1]), np.float32)
        for start in range(0, len(positions_P), CHECKED_ROWS):
            part = slice(start, start + CHECKED_ROWS)
            # All positions are in range; the mode ``clip`` avoids a second copy.
            self._rows_ND.take(positions_P[part], axis=0, out=rows_PD[part], mode="clip")
            _limit_mapped_bytes()
        return rows_PD

    def scores(self, positions_P: Ids, queries_QD: Floats) -> Floats:
        """Inner products of chosen rows, float32 (Q, P)."""
        scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
        for start in range(0, len(positions_P), CHECKED_ROWS):
            part = slice(start, start + CHECKED_ROWS)
            scores_QP[:, part] = inner_products(self._rows_ND, positions_P[part], queries_QD)
            _limit_mapped_bytes()
        return scores_QP

    def unmap(self) -> None:
        """Release the mapped pages; the next access maps them again."""
        with suppress(AttributeError, ValueError):  # no such advice on Windows; closed
            self._map.madvise(mmap.MADV_DONTNEED)

    def scan(self, positions_P: Ids, queries_QD: Floats, k: int) -> list[Neighbours]:
        """The k best of the positions per query, exactly; ids are positions."""
        parts_Q: list[list[Neighbours]] = [[] for _ in queries_QD]
        for start in range(0, len(positions_P), SCAN_ROWS):
            part_P = positions_P[start : start + SCAN_ROWS]
            scores_QP = self.scores(part_P, queries_QD)
            for parts, scores_P in zip(parts_Q, scores_QP, strict=True):
                parts.append(best(part_P, scores_P, k))
        return [merged(parts, k) for parts in parts_Q]


@functools.cache
def _statm() -> int | None:
    """The memory statistics of this process on Linux; open, because every search reads them."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None


def _limit_mapped_bytes() -> None:
    statm = _statm()
    if statm is None:
        return
    mapped_bytes = int(os.pread(statm, 128, 0).split()[2]) * mmap.PAGESIZE
    if mapped_bytes > MAX_MAPPED_BYTES:
        for rows in list(_open_files):
            rows.unmap()
