"""Vectors on disk, read by memory map; exact scores of chosen rows.

They are whole: half precision moved a cosine by 1e-5, which is enough to exchange a tenth hit
for the eleventh.

Shape suffixes: N rows, P positions, Q queries, D embedding width.
"""

import functools
import mmap
import os
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np

from service.errors import IndexDamaged
from service.index.neighbours import Floats, Ids, Neighbours, best, inner_products, merged

SCAN_ROWS = 4096
# A touched page brings its neighbours into the map, 64 KB up to 2 MB of them, as the kernel likes;
# beyond this all maps are emptied, so that the process does not seem to own whole files. The
# pages stay in the operating system's cache.
MAPPED_BYTES = 512 * 2**20  # of files, the program's own among them
TOUCHED_ROWS = 128  # at most, between two looks at what is mapped

_open_files: "weakref.WeakSet[RowFile]" = weakref.WeakSet()


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
        _open_files.add(self)

    def __len__(self) -> int:
        return len(self._rows_ND)

    @property
    def dim(self) -> int:
        """Embedding width."""
        return int(self._rows_ND.shape[1])

    def take(self, positions_P: Ids) -> Floats:
        """Copies of the rows, float32 (P, D); other threads run meanwhile."""
        rows_PD: Floats = np.empty((len(positions_P), self.dim), np.float32)
        for start in range(0, len(positions_P), TOUCHED_ROWS):
            part = slice(start, start + TOUCHED_ROWS)
            # Clipping (of positions that are all in range) writes straight into the copy.
            self._rows_ND.take(positions_P[part], axis=0, out=rows_PD[part], mode="clip")
            _keep_little_mapped()
        return rows_PD

    def scores(self, positions_P: Ids, queries_QD: Floats) -> Floats:
        """Inner products of chosen rows, float32 (Q, P)."""
        scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
        for start in range(0, len(positions_P), TOUCHED_ROWS):
            part = slice(start, start + TOUCHED_ROWS)
            scores_QP[:, part] = inner_products(self._rows_ND, positions_P[part], queries_QD)
            _keep_little_mapped()
        return scores_QP

    def unmap(self) -> None:
        """Give back what is mapped; the next touch brings it in again."""
        with suppress(AttributeError, ValueError):  # no such advice on Windows; closed
            self._map.madvise(mmap.MADV_DONTNEED)

    def scan(self, positions_P: Ids, queries_QD: Floats, k: int) -> list[Neighbours]:
        """The k best of the positions per query, exactly; ids are positions."""
        found: list[list[Neighbours]] = [[] for _ in queries_QD]
        for start in range(0, len(positions_P), SCAN_ROWS):
            part_P = positions_P[start : start + SCAN_ROWS]
            scores_QP = self.scores(part_P, queries_QD)
            for answers, scores_P in zip(found, scores_QP, strict=True):
                answers.append(best(part_P, scores_P, k))
        return [merged(answers, k) for answers in found]


@functools.cache
def _statm() -> int | None:
    """What Linux says of this process, kept open: it is asked at every search."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None


def _keep_little_mapped() -> None:
    statm = _statm()
    if statm is None:
        return
    mapped_bytes = int(os.pread(statm, 128, 0).split()[2]) * mmap.PAGESIZE
    if mapped_bytes > MAPPED_BYTES:
        for rows in list(_open_files):
            rows.unmap()
