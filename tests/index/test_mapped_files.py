"""Rows and lists are read where they lie in their files, and few of their pages stay mapped."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from service.errors import IndexDamaged
from service.index import segment_files
from service.index.mapped_file import (
    BLOCK_BYTES,
    MAX_MAPPED_BYTES,
    MappedFile,
    limit_mapped_bytes,
)
from service.index.vector_file import BLOCKS_BETWEEN_CHECKS, VectorFile
from tests.index.clustered_rows import built, clustered, found_ids, hashes_of, put, small_index

WIDTH, ROW_BYTES = 1024, 4096
ROWS = 2 * (MAX_MAPPED_BYTES + BLOCKS_BETWEEN_CHECKS * BLOCK_BYTES) // ROW_BYTES
EVERY = 8  # 32 KB: a kernel maps at least as much around a touched row

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> VectorFile:
    """Rows of zeros that take no room on the disk."""
    path = tmp_path_factory.mktemp("rows") / "rows.f32"
    path.touch()
    os.truncate(path, ROWS * ROW_BYTES)
    return VectorFile(path, ROWS, WIDTH)


def mapped_bytes(file: str) -> int:
    """Resident bytes of the maps of a file."""
    maps = Path("/proc/self/smaps").read_text().split(file)[1:]
    rss = [re.search(r"Rss:\s+(\d+) kB", text.split("VmFlags")[0]) for text in maps]
    return sum(1024 * int(found[1]) for found in rss if found)


def touched(file: VectorFile) -> None:
    """Read rows everywhere in the file."""
    file.scores(np.arange(0, ROWS, EVERY), np.zeros((1, WIDTH), np.float32))


@only_linux
def test_reading_rows_everywhere_in_a_file_keeps_little_of_it_mapped(long_file: VectorFile) -> None:
    touched(long_file)
    most = MAX_MAPPED_BYTES + BLOCKS_BETWEEN_CHECKS * BLOCK_BYTES
    assert 0 < mapped_bytes("rows.f32") <= most


@only_linux
def test_copying_rows_in_any_order_keeps_little_of_their_file_mapped(long_file: VectorFile) -> None:
    places = np.random.default_rng(0).permutation(np.arange(0, ROWS, EVERY))
    for some in np.array_split(places, 20):
        long_file.take(some)
    assert mapped_bytes("rows.f32") <= MAX_MAPPED_BYTES + BLOCKS_BETWEEN_CHECKS * BLOCK_BYTES


@only_linux
def test_an_opened_index_searches_lists_that_lie_in_its_file(
    tmp_path: Path, long_file: VectorFile
) -> None:
    ids, rows = np.arange(3000), clustered(3000)
    index = small_index(tmp_path)
    put(index, ids, rows)
    built(index)
    reopened = small_index(tmp_path)
    reopened.open_files(ids, hashes_of(ids))
    before = found_ids(reopened, rows[:50])
    place = next(tmp_path.glob("segment-*"))
    assert mapped_bytes(str(place / segment_files.COMPRESSED)) > 0
    touched(long_file)  # more than may stay mapped: rows are released, the few lists are kept
    assert mapped_bytes(str(place / segment_files.ROWS)) == 0
    assert mapped_bytes(str(place / segment_files.COMPRESSED)) > 0
    assert found_ids(reopened, rows[:50]) == before


@only_linux
def test_files_that_are_read_again_are_released_too_when_they_are_long(tmp_path: Path) -> None:
    path = tmp_path / "lists"
    path.touch()
    os.truncate(path, 2 * MAX_MAPPED_BYTES)
    file = MappedFile(path, is_kept=True)
    for start in range(0, 2 * MAX_MAPPED_BYTES, BLOCK_BYTES):
        file.bytes_B[start : start + BLOCK_BYTES : 4096].max()
        limit_mapped_bytes()
    assert mapped_bytes("lists") <= MAX_MAPPED_BYTES + BLOCK_BYTES


def test_scores_and_copies_are_those_of_the_rows_in_any_order(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((3000, WIDTH)).astype(np.float32)
    (tmp_path / "some.f32").write_bytes(rows.tobytes())
    read = VectorFile(tmp_path / "some.f32", 3000, WIDTH)
    for places in (np.arange(0, 3000, 7), np.random.default_rng(1).permutation(3000)[:500]):
        scores = read.scores(places, rows[:2])
        np.testing.assert_allclose(scores, rows[:2] @ rows[places].T, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(read.take(places), rows[places])
    assert read.scores(np.empty(0, np.int64), rows[:2]).shape == (2, 0)


def test_a_file_that_is_missing_or_empty_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "missing"):
        with pytest.raises(IndexDamaged):
            MappedFile(tmp_path / name)
