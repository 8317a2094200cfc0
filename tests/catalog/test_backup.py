"""Copies of a catalog: made in use, proven, restored, and following what was erased since."""

import json
import math
import shutil
import threading

import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.ids import subject_digest
from service.catalog.monitoring.monitoring_records import Outcome
from service.catalog.records import NewExample, NewVersion, PolicyPatch, ScanPatch
from service.catalog.sqlite.backup import (
    back_up,
    backups_in,
    erasures_of,
    follow,
    newest_age_s,
    restore,
    verify,
)
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import CatalogFailure, DamagedBackup
from tests.catalog.set_clock import SetClock

pytestmark = pytest.mark.sqlite

EVERYTHING = ScanFilter()
SECRET = "SUBJECT-7f3a"


@pytest.fixture
def file(folder):
    return folder / "catalog.sqlite"


@pytest.fixture
def shelf(tmp_path):
    return tmp_path / "backups"


def scan_ids(catalog, workspace_id, collection="lungs"):
    page = catalog.list_scans(workspace_id, collection, where=EVERYTHING, limit=10_000)
    return [scan.scan_id for scan in page.items]


def held(backup, ours, tmp_path, collection="lungs"):
    """The scan ids of a backup, read from a copy so that the backup stays as it is."""
    copy = tmp_path / f"copy-{backup.name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(backup, copy)
    catalog = open_catalog(copy)
    try:
        return scan_ids(catalog, ours, collection)
    finally:
        catalog.close()


def test_a_backup_of_a_catalog_in_use_holds_everything_of_one_moment(
    catalog, ours, add, new_scan, file, shelf, tmp_path
):
    for n in range(50):
        add(n, labels={"n": str(n)})
    going, stop = threading.Event(), threading.Event()

    def write():
        for n in range(1000, 100_000):
            catalog.add_scans(ours, "lungs", [new_scan(n, scan_id=f"s{n}")], encoder_id="enc_1")
            going.set()
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    assert going.wait(10)
    backup = back_up(file, shelf)
    stop.set()
    writer.join()
    found, now = held(backup, ours, tmp_path), scan_ids(catalog, ours)
    assert 50 < len(found) <= len(now)
    assert found == now[: len(found)]
    said = verify(backup)
    assert said.scans == len(found)
    assert set(inspect(backup / "catalog.sqlite").findings) <= {
        "vector_not_of_unit_length",
        "damaged_thumbnail",
    }


def test_an_erased_patient_a_deleted_study_and_scan_leave_older_backups_at_the_next_cycle(
    catalog, ours, add, file, shelf, tmp_path
):
    add(1, scan_id="a", subject_id=SECRET, labels={"note": SECRET})
    add(2, scan_id="b", study_id="st1")
    add(3, scan_id="c")
    add(4, scan_id="d", subject_id="p2")
    older = back_up(file, shelf)
    assert SECRET.encode() in (older / "catalog.sqlite").read_bytes()
    before = verify(older).sha256
    catalog.erase_subject(ours, SECRET)
    catalog.erase_study(ours, "st1")
    catalog.erase_scan(ours, "lungs", "c")
    newer = back_up(file, shelf)
    assert held(older, ours, tmp_path) == held(newer, ours, tmp_path) == ["d"]
    assert verify(older).sha256 != before
    for backup in (older, newer):
        assert SECRET.encode() not in (backup / "catalog.sqlite").read_bytes()


def test_uploaded_examples_of_an_erased_patient_leave_older_backups(
    catalog, ours, new_scan, file, shelf
):
    vector = new_scan(1).embedding_D
    example = NewExample("x", 0, sha256="0" * 64, subject_id=SECRET, embedding_D=vector)
    version = NewVersion("enc_1", ("x",), b"npz", {}, examples=(example,))
    catalog.create_classifier(ours, "k", version)
    older = back_up(file, shelf)
    assert vector.tobytes() in (older / "catalog.sqlite").read_bytes()
    catalog.erase_subject(ours, SECRET)
    back_up(file, shelf)
    left = (older / "catalog.sqlite").read_bytes()
    assert vector.tobytes() not in left
    assert SECRET.encode() not in left


def test_outcomes_of_an_erased_patient_leave_older_backups(catalog, ours, new_scan, file, shelf):
    example = NewExample("x", 0, sha256="0" * 64, embedding_D=new_scan(1).embedding_D)
    version = NewVersion("enc_1", ("x",), b"npz", {}, examples=(example,))
    classifier_id = catalog.create_classifier(ours, "k", version).classifier_id
    digest = subject_digest(ours, SECRET)
    outcome = Outcome("prd_1", digest, {"x": 1.0}, False, ("x",))
    catalog.put_outcomes(ours, classifier_id, 1, [outcome], keep=9)
    older = back_up(file, shelf)
    assert b"prd_1" in (older / "catalog.sqlite").read_bytes()
    catalog.erase_subject(ours, SECRET)
    back_up(file, shelf)
    assert b"prd_1" not in (older / "catalog.sqlite").read_bytes()


def test_a_patient_who_came_back_after_an_erasure_stays_in_backups(
    catalog, ours, add, file, shelf, tmp_path
):
    add(1, scan_id="a", subject_id=SECRET)
    catalog.erase_subject(ours, SECRET)
    add(2, scan_id="b", subject_id=SECRET)
    older = back_up(file, shelf)
    back_up(file, shelf)
    assert held(older, ours, tmp_path) == ["b"]


def test_a_deleted_collection_and_classifier_and_dropped_images_leave_older_backups(
    catalog, ours, new_scan, add, file, shelf, tmp_path
):
    catalog.create_collection(ours, "liver", encoder_id="enc_1", dim=8)
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    add(1, scan_id="a", collection="liver", labels={"note": SECRET})
    kept = new_scan(2, scan_id="k", image_png=b"PIXELS-7f3a" * 500)
    catalog.add_scans(ours, "kept", [kept], encoder_id="enc_1")
    upload = NewExample(f"{SECRET}-class", 0, sha256="0" * 64, embedding_D=kept.embedding_D)
    version = NewVersion("enc_1", ("x",), b"npz", {}, examples=(upload,))
    catalog.create_classifier(ours, "k", version)
    older = back_up(file, shelf)
    catalog.delete_collection(ours, "liver")
    catalog.delete_classifier(ours, "k")
    catalog.patch_collection(ours, "kept", PolicyPatch(set_fields=frozenset({"keep_images"})))
    back_up(file, shelf)
    assert held(older, ours, tmp_path, "kept") == ["k"]
    left = (older / "catalog.sqlite").read_bytes()
    assert SECRET.encode() not in left
    assert b"PIXELS-7f3a" not in left
    assert verify(older).scans == 1


def test_a_restored_backup_is_the_catalog_of_then_without_what_was_erased_since(
    catalog, ours, add, file, shelf
):
    add(1, scan_id="a", labels={"view": "old"})
    add(2, scan_id="b", subject_id=SECRET)
    backup = back_up(file, shelf)
    catalog.patch_scan(ours, "lungs", "a", ScanPatch(labels={"view": "new"}))
    catalog.erase_subject(ours, SECRET)
    add(3, scan_id="late")
    catalog.close()
    earlier = restore(backup, file)
    again = open_catalog(file.parent)
    assert scan_ids(again, ours) == ["a"]
    assert again.get_scan(ours, "lungs", "a").labels == {"view": "old"}
    again.close()
    assert earlier is not None
    assert earlier.exists()
    assert SECRET.encode() not in file.read_bytes()


def test_a_backup_is_restored_into_an_empty_folder(catalog, ours, add, file, shelf, tmp_path):
    add(1, scan_id="a")
    backup = back_up(file, shelf)
    assert restore(backup, tmp_path / "fresh" / "catalog.sqlite") is None
    again = open_catalog(tmp_path / "fresh")
    assert scan_ids(again, ours) == ["a"]
    again.close()


def test_only_so_many_backups_stay_and_leftovers_of_a_broken_cycle_go(catalog, add, file, shelf):
    add(1)
    (shelf / ".sonoprobe-broken").mkdir(parents=True)
    made = [back_up(file, shelf, keep=2) for _ in range(4)]
    assert backups_in(shelf) == made[2:]
    names = ["erasures.jsonl", *(path.name for path in made[2:])]
    assert sorted(path.name for path in shelf.iterdir()) == names


def test_a_clock_that_ran_ahead_and_was_set_right_stops_no_backup_and_no_erasure(
    catalog, ours, add, file, shelf, tmp_path
):
    clock = SetClock()
    add(1, scan_id="a", subject_id=SECRET)
    clock.jump(days=365)
    ahead = [back_up(file, shelf, keep=3, clock=clock) for _ in range(3)]
    clock.jump(days=-365)
    assert newest_age_s(shelf, clock=clock) == math.inf, "nobody knows how old they are"
    catalog.erase_subject(ours, SECRET)
    add(2, scan_id="b")
    new = back_up(file, shelf, keep=3, clock=clock)
    assert backups_in(shelf) == [*ahead[1:], new]
    assert newest_age_s(shelf, clock=clock) == 0
    for backup, scan_ids_then in ((ahead[1], []), (ahead[2], []), (new, ["b"])):
        assert held(backup, ours, tmp_path) == scan_ids_then
        assert SECRET.encode() not in (backup / "catalog.sqlite").read_bytes()
    clock.run(hours=5)
    assert newest_age_s(shelf, clock=clock) == 5 * 3600
    newest = back_up(file, shelf, keep=1, clock=clock)
    assert backups_in(shelf) == [newest]


def test_a_backup_is_as_old_as_before_after_it_followed_an_erasure(catalog, ours, add, file, shelf):
    clock = SetClock()
    add(1, scan_id="a", subject_id=SECRET)
    clock.jump(days=365)
    back_up(file, shelf, clock=clock)
    clock.jump(days=-365)
    backup = back_up(file, shelf, clock=clock)
    catalog.erase_subject(ours, SECRET)
    clock.run(hours=5)
    assert follow(backup, erasures_of(file))
    assert newest_age_s(shelf, clock=clock) == 5 * 3600
    assert verify(backup).created_at < backup.name.removeprefix("sonoprobe-")


def test_a_clock_that_is_set_back_by_a_little_makes_no_backup_due(catalog, add, file, shelf):
    clock = SetClock()
    add(1)
    assert newest_age_s(shelf, clock=clock) == math.inf
    back_up(file, shelf, clock=clock)
    clock.jump(minutes=-4)
    assert newest_age_s(shelf, clock=clock) == 0


def test_a_cycle_that_is_broken_off_leaves_no_backup(catalog, add, file, shelf):
    add(1)

    def break_off(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        back_up(file, shelf, on_page=break_off)
    assert backups_in(shelf) == []
    assert [path.name for path in shelf.iterdir()] == ["erasures.jsonl"]


@pytest.mark.parametrize("at_byte", [0, 5000, -1])
def test_a_flipped_byte_in_a_backup_is_refused_and_the_catalog_left_alone(
    catalog, ours, add, file, shelf, at_byte
):
    add(1, scan_id="a")
    backup = back_up(file, shelf)
    catalog.close()
    damaged = bytearray((backup / "catalog.sqlite").read_bytes())
    damaged[at_byte] ^= 1
    (backup / "catalog.sqlite").write_bytes(damaged)
    before = file.read_bytes()
    with pytest.raises(DamagedBackup, match="expected"):
        restore(backup, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"sha256": "x"})])
def test_a_backup_without_a_whole_description_is_refused(catalog, add, file, shelf, text):
    add(1)
    backup = back_up(file, shelf)
    (backup / "backup.json").write_text(text)
    with pytest.raises(DamagedBackup):
        verify(backup)


def test_a_backup_of_no_catalog_or_into_no_folder_is_a_catalog_failure(
    catalog, add, file, shelf, tmp_path
):
    add(1)
    with pytest.raises(CatalogFailure, match="SQLITE_CANTOPEN"):
        back_up(tmp_path / "none.sqlite", shelf)
    (tmp_path / "a-file").write_text("")
    with pytest.raises(CatalogFailure, match="backup folder"):
        back_up(file, tmp_path / "a-file")


@pytest.mark.parametrize("committed", [False, True])
def test_a_cycle_that_was_killed_while_older_copies_followed_is_made_good_by_the_next(
    catalog, ours, add, file, shelf, tmp_path, committed
):
    add(1, scan_id="a", subject_id=SECRET)
    add(2, scan_id="b")
    older = back_up(file, shelf)
    said = (older / "backup.json").read_text()
    catalog.erase_subject(ours, SECRET)
    if committed:
        assert follow(older, erasures_of(file))
    # What a kill just before or just behind the commit leaves: the digest of before, put aside.
    (older / "backup.json").unlink()
    (older / "backup.json.following").write_text(said)
    with pytest.raises(DamagedBackup):
        verify(older)
    newer = back_up(file, shelf)
    assert backups_in(shelf) == [older, newer]
    assert verify(older).scans == 1
    assert held(older, ours, tmp_path) == ["b"]
    assert not (older / "backup.json.following").exists()
