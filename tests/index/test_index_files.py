"""Damaged, stale or half-written files of an index are rebuilt and never used."""

from pathlib import Path

import numpy as np
import pytest

from service.arrays import unit_rows
from service.errors import IndexDamaged
from service.index import segment_files as files
from service.index.segment import Segment
from service.index.vector_index import EmbeddingIndex
from tests.index.clustered_rows import (
    DIM,
    built,
    clustered,
    found_ids,
    hashes_of,
    put,
    small_index,
)

ROWS = 3000
IDS = np.arange(1, ROWS + 1)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    index = small_index(tmp_path)
    put(index, IDS, clustered(ROWS))
    built(index)
    return next(tmp_path.glob("segment-*"))


def open_segment(folder: Path, *, encoder_id: str, dim: int) -> Segment:
    return Segment(folder, files.verified(folder, encoder_id=encoder_id, dim=dim))


def reopened(folder: Path, ids: np.ndarray, hashes: np.ndarray) -> tuple[EmbeddingIndex, int, list]:
    """The index, how many segments were refused, and the ids the catalog has to fill in."""
    index = small_index(folder)
    refused = index.open_files(ids, hashes)
    return index, refused, index.missing(ids).tolist()


def test_a_whole_index_opens_as_it_was(written: Path) -> None:
    index, refused, missing = reopened(written.parent, IDS, hashes_of(IDS))
    assert (refused, missing) == (0, [])
    assert index.state().compressed_rows == ROWS
    assert found_ids(index, clustered(ROWS)[:20], k=1) == [[i] for i in range(1, 21)]


@pytest.mark.parametrize("name", sorted(files.__dict__[n] for n in ("ROWS", "IDS", "HASHES")))
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_one_wrong_bit_is_enough_to_refuse_a_segment(written: Path, name: str, damage: str) -> None:
    hurt(written / name, damage)
    with pytest.raises(IndexDamaged):
        open_segment(written, encoder_id="enc_a", dim=DIM)


@pytest.mark.parametrize("name", [files.COMPRESSED, files.MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty"])
def test_a_refused_segment_is_removed_and_its_rows_asked_for(
    written: Path, name: str, damage: str
) -> None:
    hurt(written / name, damage)
    index, refused, missing = reopened(written.parent, IDS, hashes_of(IDS))
    assert (refused, missing) == (1, IDS.tolist())
    assert not written.exists()
    rows = clustered(ROWS)
    index.fill(iter([(IDS, hashes_of(IDS), rows)]), ROWS)
    built(index)
    assert found_ids(index, rows[:20], k=1) == [[i] for i in range(1, 21)]


def hurt(file: Path, damage: str) -> None:
    data = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
        return
    if damage == "flip":
        data[len(data) // 2] ^= 1
    file.write_bytes({"flip": data, "truncate": data[:-3], "empty": b""}[damage])


def test_files_of_another_encoder_or_width_are_refused(written: Path) -> None:
    for encoder_id, dim in (("enc_b", DIM), ("enc_a", DIM + 1)):
        with pytest.raises(IndexDamaged):
            open_segment(written, encoder_id=encoder_id, dim=dim)


def test_a_manifest_that_names_other_files_is_refused(written: Path) -> None:
    manifest = files.verified(written, encoder_id="enc_a", dim=DIM)
    names = manifest.files | {"../secret": "0" * 64}
    files.write_manifest(written, files.SegmentManifest("enc_a", DIM, ROWS, names))
    with pytest.raises(IndexDamaged):
        open_segment(written, encoder_id="enc_a", dim=DIM)


def test_rows_that_the_catalog_no_longer_holds_are_never_found(written: Path) -> None:
    left = IDS[IDS % 3 != 0]
    index, refused, missing = reopened(written.parent, left, hashes_of(left))
    assert (refused, missing, len(index)) == (0, [], len(left))
    found = found_ids(index, clustered(ROWS)[:30], k=100)
    assert {i for ids in found for i in ids} <= set(left.tolist())


def test_an_id_that_stands_for_another_scan_now_is_not_believed(written: Path) -> None:
    """As after a catalog was restored from a backup and new scans took the same ids."""
    hashes = hashes_of(IDS)
    hashes[1000:1010] += np.uint64(1)
    index, _, missing = reopened(written.parent, IDS, hashes)
    assert missing == list(range(1001, 1011))
    fresh = -clustered(ROWS)[1000:1010]
    index.fill(iter([(IDS[1000:1010], hashes[1000:1010], fresh)]), 10)
    assert found_ids(index, fresh, k=1) == [[i] for i in range(1001, 1011)]
    assert len(index) == ROWS


def test_two_copies_of_rows_that_a_kill_left_behind_are_found_once(written: Path) -> None:
    twin = written.parent / "segment-00000002"
    twin.mkdir()
    for file in written.iterdir():
        (twin / file.name).write_bytes(file.read_bytes())
    index, _, missing = reopened(written.parent, IDS, hashes_of(IDS))
    assert (len(index), missing, index.state().segments) == (ROWS, [], 1)
    assert [len(set(ids)) for ids in found_ids(index, clustered(ROWS)[:5], k=50)] == [50] * 5


def test_erased_rows_leave_the_files_with_the_next_build(written: Path) -> None:
    index, _, _ = reopened(written.parent, IDS, hashes_of(IDS))
    row = unit_rows(clustered(ROWS))[6].tobytes()
    assert row in (written / files.ROWS).read_bytes()
    index.remove(np.array([7]), purge=True)
    assert index.wants_build
    built(index)
    (left,) = written.parent.glob("segment-*")
    assert row not in (left / files.ROWS).read_bytes()
    assert index.state().compressed_rows == ROWS - 1


def test_rows_that_were_erased_before_a_stop_leave_the_files_with_the_first_build_after_it(
    written: Path,
) -> None:
    left = IDS[IDS != 7]
    row = unit_rows(clustered(ROWS))[6].tobytes()
    index, refused, missing = reopened(written.parent, left, hashes_of(left))
    assert (refused, missing) == (0, [])
    assert row in (written / files.ROWS).read_bytes()
    assert index.wants_build
    built(index)
    (rewritten,) = written.parent.glob("segment-*")
    assert row not in (rewritten / files.ROWS).read_bytes()
    again, _, missing = reopened(written.parent, left, hashes_of(left))
    assert missing == []
    assert not again.wants_build, "a segment is rewritten once"


def test_a_folder_that_cannot_be_written_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    index = small_index(tmp_path / "file" / "index")
    rows = clustered(ROWS)
    put(index, IDS, rows)
    with pytest.raises(IndexDamaged):
        index.build()
    assert found_ids(index, rows[:20], k=1) == [[i] for i in range(1, 21)]
