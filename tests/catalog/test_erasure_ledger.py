"""Erasures beside the backups: a restore to an empty machine brings no erased patient back."""

import shutil

import pytest

from service.catalog.erasure_ledger import LEDGER, ErasureLedger, digest_of_kind, new_erasure
from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewExample, NewScan, NewVersion, PolicyPatch
from service.catalog.sqlite.backup import back_up, backups_in, restore, verify
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import DamagedBackup, InputError, UnknownItem
from tests.catalog.set_clock import SetClock

pytestmark = pytest.mark.sqlite

EVERYTHING = ScanFilter()
SECRET = "SUBJECT-7f3a"


@pytest.fixture
def shelf(tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def catalog(folder, shelf):
    """As a service with a folder of backups opens it."""
    catalog = open_catalog(folder, backup_dir=shelf)
    yield catalog
    catalog.close()


@pytest.fixture
def file(folder):
    return folder / "catalog.sqlite"


@pytest.fixture
def restored(tmp_path, shelf, opened):
    """The newest backup, restored to an empty machine."""

    def run(**options):
        fresh = tmp_path / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        assert restore(backups_in(shelf)[-1], fresh / "catalog.sqlite", **options) is None
        return opened(fresh)

    return run


def scan_ids(catalog, workspace_id, collection="lungs"):
    page = catalog.list_scans(workspace_id, collection, where=EVERYTHING, limit=1000)
    return [scan.scan_id for scan in page.items]


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nothing_that_was_erased_after_the_backup_comes_back_on_an_empty_machine(
    catalog, ours, add, new_scan, file, shelf, tmp_path, restored
):
    catalog.create_collection(ours, "gone", encoder_id="enc_1", dim=8)
    catalog.create_collection(ours, "short", encoder_id="enc_1", dim=8, retention_days=30)
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    add(1, scan_id="a", subject_id=SECRET, labels={"note": SECRET})
    add(2, scan_id="b", study_id=f"{SECRET}-study")
    add(3, scan_id="c", labels={"note": f"{SECRET}-scan"})
    add(4, scan_id="stays", subject_id="p2")
    add(5, scan_id="d", collection="gone", subject_id=f"{SECRET}-collection")
    add(6, scan_id="e", collection="short", subject_id=f"{SECRET}-expired")
    kept = new_scan(7, scan_id="k", image_png=b"PIXELS-7f3a" * 500)
    catalog.add_scans(ours, "kept", [kept], encoder_id="enc_1")
    for name, subject_id in (("k1", SECRET), ("k2", f"{SECRET}-classifier")):
        upload = NewExample("x", 0, subject_id=subject_id, embedding_D=kept.embedding_D)
        version = NewVersion("enc_1", ("x",), b"npz", {}, examples=(upload,))
        catalog.create_classifier(ours, name, version)
    clock = SetClock()
    catalog.expire(clock=clock)
    back_up(file, shelf)
    assert SECRET.encode() in bytes_of(shelf)
    assert catalog.erase_subject(ours, SECRET).backups_know is True
    assert catalog.erase_study(ours, f"{SECRET}-study").backups_know is True
    assert catalog.erase_scan(ours, "lungs", "c")[1].backups_know is True
    catalog.delete_collection(ours, "gone")
    clock.run(days=31)
    assert len(catalog.expire(clock=clock)) == 1
    catalog.patch_collection(ours, "kept", PolicyPatch(set_fields=frozenset({"keep_images"})))
    catalog.delete_classifier(ours, "k2")
    again = restored()
    assert scan_ids(again, ours) == ["stays"]
    assert scan_ids(again, ours, "short") == []
    assert scan_ids(again, ours, "kept") == ["k"]
    with pytest.raises(UnknownItem):
        again.get_collection(ours, "gone")
    assert [k.name for k in again.list_classifiers(ours, limit=9).items] == ["k1"]
    assert SECRET.encode() not in bytes_of(tmp_path / "fresh")
    assert b"PIXELS-7f3a" not in bytes_of(tmp_path / "fresh")
    assert SECRET.encode() not in (shelf / LEDGER).read_bytes()
    assert (shelf / LEDGER).stat().st_mode & 0o777 == 0o600


def test_a_patient_who_came_back_stays_after_a_restore(catalog, ours, add, file, shelf, restored):
    add(1, scan_id="a", subject_id=SECRET)
    catalog.erase_subject(ours, SECRET)
    add(1, scan_id="b", subject_id=SECRET)
    back_up(file, shelf)
    assert scan_ids(restored(), ours) == ["b"]


def test_without_the_erasures_a_restore_is_refused_until_it_is_confirmed(
    catalog, ours, add, file, shelf, restored
):
    add(1, scan_id="a", subject_id=SECRET)
    back_up(file, shelf)
    catalog.erase_subject(ours, SECRET)
    (shelf / LEDGER).unlink()
    with pytest.raises(InputError, match="--without-erasures"):
        restored()
    assert scan_ids(restored(without_erasures=True), ours) == ["a"]


def test_a_catalog_of_another_machine_does_not_stand_in_for_the_erasures(
    catalog, ours, add, file, shelf, tmp_path
):
    add(1, subject_id=SECRET)
    backup = back_up(file, shelf)
    (shelf / LEDGER).unlink()
    open_catalog(tmp_path / "new").close()
    with pytest.raises(InputError, match="--without-erasures"):
        restore(backup, tmp_path / "new" / "catalog.sqlite")


def test_erasures_that_are_older_than_the_backup_are_refused(
    catalog, ours, add, file, shelf, restored
):
    add(1, subject_id="p1")
    add(2, subject_id="p2")
    back_up(file, shelf)
    old = (shelf / LEDGER).read_bytes()
    catalog.erase_subject(ours, "p1")
    back_up(file, shelf)
    (shelf / LEDGER).write_bytes(old)
    with pytest.raises(DamagedBackup, match="older than the backup"):
        restored()


def test_a_damaged_line_is_refused_and_the_next_cycle_writes_them_again(
    catalog, ours, add, file, shelf, restored
):
    for n in range(3):
        add(n, scan_id=f"s{n}", subject_id=f"p{n}")
    back_up(file, shelf)
    for n in range(2):
        catalog.erase_subject(ours, f"p{n}")
    whole = (shelf / LEDGER).read_bytes()
    (shelf / LEDGER).write_bytes(whole.replace(b'"subject"', b'"subj', 1))
    with pytest.raises(DamagedBackup, match="damaged"):
        restored()
    back_up(file, shelf)
    assert sorted((shelf / LEDGER).read_bytes().splitlines()) == sorted(whole.splitlines())
    assert scan_ids(restored(), ours) == ["s2"]


def test_a_line_that_a_kill_cut_off_is_written_again(catalog, ours, add, shelf):
    for n in range(3):
        add(n, subject_id=f"p{n}")
    catalog.erase_subject(ours, "p0")
    whole = (shelf / LEDGER).read_bytes()
    catalog.erase_subject(ours, "p1")
    torn = (shelf / LEDGER).read_bytes()[: len(whole) + 30]
    (shelf / LEDGER).write_bytes(torn)
    assert len(ErasureLedger(shelf).read()) == 2
    assert catalog.settle_erasures() is True
    assert len(ErasureLedger(shelf).read()) == 4
    catalog.erase_subject(ours, "p2")
    assert len(ErasureLedger(shelf).read()) == 6


def test_a_folder_that_is_away_stops_no_erasure_and_is_told_later(
    catalog, ours, add, shelf, tmp_path
):
    for n in range(3):
        add(n, subject_id=f"p{n}")
    catalog.erase_subject(ours, "p0")
    shelf.rename(tmp_path / "away")
    assert catalog.erase_subject(ours, "p1").backups_know is False
    assert catalog.erasures_owed == 2
    assert catalog.settle_erasures() is False
    (tmp_path / "away").rename(shelf)
    assert catalog.erase_subject(ours, "p2").backups_know is True
    assert catalog.erasures_owed == 0
    assert len(ErasureLedger(shelf).read()) == 6


def test_erasures_that_a_crash_kept_from_the_folder_are_settled(folder, catalog, ours, add, shelf):
    add(1, subject_id="p1")
    catalog.close()
    alone = open_catalog(folder)  # as if the folder was written after the kill only
    alone.erase_subject(ours, "p1")
    alone.close()
    assert not (shelf / LEDGER).exists()
    again = open_catalog(folder, backup_dir=shelf)
    assert again.settle_erasures() is True
    again.close()
    assert [e.kind for e in ErasureLedger(shelf).read()].count("subject") == 1


def test_another_catalog_with_the_same_folder_erases_nothing_of_ours(
    catalog, ours, add, file, shelf, tmp_path, opened
):
    add(1, scan_id="a", subject_id="p1")
    back_up(file, shelf)
    other = opened(tmp_path / "other")
    theirs = other.ensure_workspace("ours").workspace_id
    other.create_collection(theirs, "lungs", encoder_id="enc_1", dim=8)
    # The same row numbers, files and subjects, in another workspace.
    for row in catalog.export_rows(ours, "lungs"):
        scan = NewScan(None, row.scan.image, row.embedding_D, row.jpeg, "p1")
        other.add_scans(theirs, "lungs", [scan], encoder_id="enc_1")
    other.erase_subject(theirs, "p1")
    other.close()
    back_up(tmp_path / "other" / "catalog.sqlite", shelf)
    first = open_catalog(shutil.copytree(backups_in(shelf)[0], tmp_path / "copy"))
    assert scan_ids(first, ours) == ["a"]
    first.close()


def test_after_a_restore_new_scans_share_no_number_with_those_of_other_backups(
    catalog, ours, add, file, shelf, tmp_path, restored, new_scan
):
    add(1, scan_id="a")
    older = back_up(file, shelf)
    add(2, scan_id="b")
    newer = back_up(file, shelf)
    shutil.move(newer, tmp_path / newer.name)
    again = restored()
    shutil.move(tmp_path / newer.name, newer)
    (answer,) = again.add_scans(ours, "lungs", [new_scan(2)], encoder_id="enc_1")
    again.erase_scan(ours, "lungs", answer.scan.scan_id)
    again.close()
    back_up(tmp_path / "fresh" / "catalog.sqlite", shelf)
    assert backups_in(shelf)[:2] == [older, newer]
    copy = open_catalog(shutil.copytree(newer, tmp_path / "copy"))
    assert scan_ids(copy, ours) == ["a", "b"]
    copy.close()


@pytest.mark.parametrize("deletion", ["collection", "images"])
def test_after_a_restore_a_new_collection_takes_nothing_from_one_of_another_backup(
    catalog, ours, file, shelf, opened, new_scan, edit, deletion
):
    older = back_up(file, shelf)
    liver = new_scan(1, scan_id="a", image_png=b"PIXELS-7f3a" * 500)
    catalog.create_collection(ours, "liver", encoder_id="enc_1", dim=8, keep_images=True)
    catalog.add_scans(ours, "liver", [liver], encoder_id="enc_1")
    newer = back_up(file, shelf)
    numbers = edit("SELECT collection_id FROM collections")
    catalog.close()
    restore(older, file)
    again = open_catalog(file.parent, backup_dir=shelf)
    again.create_collection(ours, "scratch", encoder_id="enc_1", dim=8, keep_images=True)
    (number,) = edit("SELECT collection_id FROM collections WHERE name = 'scratch'")
    assert number not in numbers
    if deletion == "collection":
        again.delete_collection(ours, "scratch")
    else:
        again.add_scans(ours, "scratch", [liver], encoder_id="enc_1")
        off = PolicyPatch(set_fields=frozenset({"keep_images"}))
        again.patch_collection(ours, "scratch", off)
    again.close()
    back_up(file, shelf)
    assert verify(newer).scans == 1
    restore(newer, file)
    back = opened(file.parent)
    assert scan_ids(back, ours, "liver") == ["a"]
    assert back.kept_image(ours, "liver", "a") == b"PIXELS-7f3a" * 500


def test_erasures_that_an_earlier_program_noted_by_the_number_of_a_collection_are_followed(
    catalog, ours, add, file, shelf, edit
):
    catalog.create_collection(ours, "gone", encoder_id="enc_1", dim=8)
    add(1, scan_id="a", collection="gone")
    add(2, scan_id="b")
    ((number,),) = edit("SELECT collection_id FROM collections WHERE name = 'gone'")
    older = back_up(file, shelf)
    digest = digest_of_kind("collection", ours, number)
    ErasureLedger(shelf).note([new_erasure("collection", ours, digest)])
    back_up(file, shelf)
    assert verify(older).scans == 1


def test_a_damaged_catalog_is_replaced_by_a_backup_and_the_erasures_beside_it(
    catalog, ours, add, file, shelf, opened
):
    add(1, scan_id="a", subject_id=SECRET)
    add(2, scan_id="b")
    backup = back_up(file, shelf)
    catalog.erase_subject(ours, SECRET)
    catalog.close()
    size = file.stat().st_size
    file.write_bytes(b"damaged " * (size // 8))
    aside = restore(backup, file)
    assert aside is not None
    assert aside.read_bytes().startswith(b"damaged")
    assert scan_ids(opened(file.parent), ours) == ["b"]
