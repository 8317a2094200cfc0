"""What a build has freed does not stay memory of the process."""

import platform
from pathlib import Path

import pytest

from service.index.freed_memory import return_freed_memory

PIECE_BYTES, PIECES = 100_000, 1000


def own_bytes() -> int:
    """Resident bytes of this process that are of no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back")
def test_freed_pieces_below_one_in_use_are_given_back() -> None:
    pieces = [b"x" * PIECE_BYTES for _ in range(PIECES)]
    in_use = pieces[-1]
    del pieces
    held = own_bytes()
    return_freed_memory()
    assert held - own_bytes() > PIECE_BYTES * PIECES // 2
    assert in_use[0] == ord("x")
