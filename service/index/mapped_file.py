"""Files that are read by memory map, and a limit on how much of them a process seems to own.

Shape suffixes: B bytes.
"""

import mmap
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.errors import IndexDamaged

# Reading one byte maps the block around it that the kernel keeps together: 64 KB to 2 MB. The
# kernel counts mapped pages as memory of the process, and keeps them mapped while memory is free.
# Beyond the limit maps are emptied; the pages stay in the cache of the operating system.
MAX_MAPPED_BYTES = 160 * 2**20
MAX_KEPT_BYTES = 112 * 2**20  # may stay mapped then of files that are read again and again
BLOCK_BYTES = 2 * 2**20

_open_files: "weakref.WeakSet[MappedFile]" = weakref.WeakSet()
_opening = threading.Lock()  # a set must not grow while it is listed


class MappedFile:
    """A whole file. Thread safe, because it does not change.

    Args:
        is_kept: its pages are likely to be read again, so those of other files are released first.

    Attributes:
        bytes_B: uint8, read where they lie. Views of them keep the map open.

    Raises:
        IndexDamaged: the file is missing or empty.
    """

    def __init__(self, path: Path, *, is_kept: bool = False) -> None:
        self.is_kept = is_kept
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise IndexDamaged("an index file cannot be mapped") from error
        self.bytes_B: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        with _opening:
            _open_files.add(self)

    def unmap(self) -> None:
        """Release the mapped pages; the next access maps them again."""
        with suppress(AttributeError, ValueError):  # no such advice on Windows; closed
            self._map.madvise(mmap.MADV_DONTNEED)


class _MappedBytes:
    """What this process has mapped of files, as Linux counts it."""

    def __init__(self) -> None:
        self._statm: int | None = None
        with suppress(OSError):  # elsewhere nothing is counted, and nothing limited
            # It stays open, because every search reads it.
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._of_program = 0  # bytes that are not of a MappedFile, as last seen

    def limit(self) -> None:
        if self._statm is None:
            return
        mapped_bytes = _file_bytes(self._statm)
        self._of_program = min(self._of_program, mapped_bytes)
        if mapped_bytes - self._of_program <= MAX_MAPPED_BYTES:
            return
        with _opening:
            files = list(_open_files)
        for file in files:
            if not file.is_kept:
                file.unmap()
        if _file_bytes(self._statm) - self._of_program > MAX_KEPT_BYTES:
            for file in files:
                file.unmap()
            self._of_program = _file_bytes(self._statm)


def _file_bytes(statm: int) -> int:
    return int(os.pread(statm, 128, 0).split()[2]) * mmap.PAGESIZE


_mapped = _MappedBytes()


def limit_mapped_bytes() -> None:
    """Empty maps if all together hold more than ``MAX_MAPPED_BYTES``."""
    _mapped.limit()
