"""What is particular about the files of the SQLite catalog; see also test_kept_writes."""

import sqlite3

import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.records import ScanPatch
from service.errors import CatalogFailure

pytestmark = pytest.mark.sqlite

SECRET = "SUBJECT-7f3a"
EVERYTHING = ScanFilter()


def scan_ids(catalog, workspace_id):
    page = catalog.list_scans(workspace_id, "lungs", where=EVERYTHING, limit=1_000_000)
    return [scan.scan_id for scan in page.items]


def bytes_on_disk(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_a_failure_is_named_without_quoting_data(catalog, ours, new_scan):
    scan = new_scan(1, thumbnail_jpeg=None, subject_id=SECRET)
    with pytest.raises(
        CatalogFailure, match=r"^the catalog failed with SQLITE_CONSTRAINT"
    ) as raised:
        catalog.add_scans(ours, "lungs", [scan], encoder_id="enc_1")
    assert isinstance(raised.value.__cause__, sqlite3.Error)
    assert SECRET not in str(raised.value)


def test_a_closed_catalog_leaves_one_file(catalog, folder, add):
    add(1)
    catalog.close()
    assert [path.name for path in folder.iterdir()] == ["catalog.sqlite"]


def test_an_open_catalog_passes_its_check(catalog, folder):
    before = (folder / "catalog.sqlite-wal").stat().st_size
    catalog.check()
    assert (folder / "catalog.sqlite-wal").stat().st_size > before


def test_a_catalog_whose_file_was_removed_fails_its_check(catalog, folder):
    (folder / "catalog.sqlite").unlink()
    with pytest.raises(CatalogFailure):
        catalog.check()


def test_a_removed_file_is_not_replaced_by_an_empty_one(catalog, folder):
    (folder / "catalog.sqlite").unlink()
    with pytest.raises(CatalogFailure, match="SQLITE_CANTOPEN"):
        catalog.list_workspaces()
    assert not (folder / "catalog.sqlite").exists()


@pytest.mark.parametrize("name", ["a?b=c&d", "a#b", "a%41", "é ü", "deep/er"])
def test_a_folder_may_have_any_name(tmp_path, opened, name):
    opened(tmp_path / name).ensure_workspace("ours")
    assert (tmp_path / name / "catalog.sqlite").stat().st_size > 0


def test_a_locked_out_writer_still_reads(catalog, folder, ours, add):
    scan_id = add(1)
    intruder = sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    assert scan_ids(catalog, ours) == [scan_id]
    intruder.close()


def test_an_erased_subject_leaves_no_bytes_on_disk(catalog, folder, ours, add):
    for n in range(300):
        mine = n % 3 == 0
        fields = {
            "labels": {"note": f"{SECRET}-label" if mine else "x"},
            "attributes": {"note": f"{SECRET}-attribute" if mine else "x"},
            "thumbnail_jpeg": f"{SECRET}-thumbnail".encode() * 900 if mine else b"x" * 3000,
        }
        scan_id = add(n, subject_id=SECRET if mine else f"p{n}", **fields)
        catalog.patch_scan(ours, "lungs", scan_id, ScanPatch(labels={"more": "y" * (n + 1)}))
    answer = SavedAnswer("d", 201, f'{{"subject_id": "{SECRET}"}}'.encode())
    catalog.save_answer(ours, "idem", answer, keep_s=60)
    assert SECRET.encode() in bytes_on_disk(folder)
    erased = catalog.erase_subject(ours, SECRET)
    assert SECRET.encode() not in bytes_on_disk(folder)
    assert len(erased.scans) == 100
    catalog.close()
    assert SECRET.encode() not in bytes_on_disk(folder)


def test_an_erased_vector_leaves_no_bytes_on_disk(catalog, folder, ours, add, new_scan):
    vector = new_scan(1).embedding_D.astype("<f4").tobytes()
    add(1, subject_id=SECRET)
    assert vector in bytes_on_disk(folder)
    catalog.erase_subject(ours, SECRET)
    assert vector not in bytes_on_disk(folder)


def test_every_acknowledged_write_is_synced_to_a_log(catalog):
    with catalog._database.write() as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_every_table_carries_the_workspace(catalog):
    with catalog._database.read() as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        without = [
            table["name"]
            for table in tables
            if "workspace_id"
            not in [
                c[1]
                for c in connection.execute("SELECT * FROM pragma_table_info(?)", (table["name"],))
            ]
        ]
    assert len(tables) >= 18
    assert without == ["retention_clock"]  # of the machine
