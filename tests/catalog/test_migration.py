"""A catalog of schema 1 becomes one of schema 3: nothing is lost, and nothing half done."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from service.catalog.data_folder import owned
from service.catalog.filter_records import ScanFilter
from service.catalog.ids import subject_digest
from service.catalog.sqlite.backup import back_up, follow, restore, verify
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import CatalogFailure, FolderInUse

pytestmark = pytest.mark.sqlite

ROOT = Path(__file__).parents[2]
V1 = ROOT / "tests" / "fixtures" / "catalog_v1" / "catalog.sqlite"
OPENER = """
import sys
from pathlib import Path
from service.catalog.sqlite.sqlite_catalog import open_catalog
print("opening", flush=True)
open_catalog(Path(sys.argv[1])).close()
"""
MANY = """
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
    INSERT INTO scans (workspace_id, collection_id, scan_id, sha256, kind, format, width_px,
        height_px, content_sha256, frames, frames_used, analysis, subject_id, labels, attributes,
        created_at, updated_at, version)
    SELECT s.workspace_id, s.collection_id, 'many-' || i, 'f' || i, s.kind, s.format, 1, 1,
        'c' || i, 1, 1, s.analysis, 'p' || char(0x75, 0x308) || i, s.labels, s.attributes,
        s.created_at, s.updated_at, 1
    FROM n, scans AS s WHERE s.scan_id = 's1'
"""


@pytest.fixture
def file(folder):
    folder.mkdir()
    shutil.copy(V1, folder)
    return folder / "catalog.sqlite"


def run(file, sql, *variables):
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(sql, variables).fetchall()
        connection.commit()
    return rows


def clinic_of(catalog):
    return next(w.workspace_id for w in catalog.list_workspaces() if w.name == "clinic")


def test_rows_keep_their_numbers_and_the_next_number_stays_unused(file, opened):
    rows = "SELECT row_id, scan_id, sha256, subject_id FROM scans ORDER BY row_id"
    before, sequence = run(file, rows), run(file, "SELECT * FROM sqlite_sequence ORDER BY name")
    assert max(row_id for row_id, *_ in before) < dict(sequence)["scans"]  # the last was erased
    opened(file.parent).close()
    assert run(file, "PRAGMA user_version") == [(3,)]
    assert run(file, rows) == before
    assert run(file, "SELECT * FROM sqlite_sequence ORDER BY name") == sequence
    assert inspect(file).findings == {}


def test_ids_of_schema_1_are_found_and_erased_in_any_spelling(file, opened):
    run(file, "UPDATE scans SET subject_id = ?, study_id = ?", "Mu\u0308ller ", "a\u200bb\x01")
    run(file, "UPDATE scans SET labels = ?", '{"e\u0301": " x ", "é": "y", "n": "u\u0308"}')
    run(file, "UPDATE classifier_examples SET subject_id = ? WHERE scan_id IS NULL", "\tp9")
    catalog = opened(file.parent)
    clinic = clinic_of(catalog)
    still, cine = catalog.list_scans(clinic, "lungs", where=ScanFilter(), limit=9).items
    assert (still.subject_id, still.study_id) == ("Müller", "a<U+200B>b<U+0001>")
    assert still.labels == {"é": "x", "é (2)": "y", "n": "ü"}
    assert len(catalog.erase_study(clinic, "a\u200bb\x01").scans) == 2
    assert catalog.erase_subject(clinic, "p9").uploads == 1
    del cine


def test_two_scan_ids_that_become_one_stay_two(file, opened):
    run(file, "UPDATE scans SET scan_id = 'e\u0301' WHERE scan_id = 's1'")
    run(file, "UPDATE scans SET scan_id = 'é' WHERE scan_id = 's3'")
    catalog = opened(file.parent)
    clinic = clinic_of(catalog)
    page = catalog.list_scans(clinic, "lungs", where=ScanFilter(), limit=9)
    assert [scan.scan_id for scan in page.items] == ["é (2)", "é"]
    examples = catalog.version_examples(clinic, "triage", 1)
    assert [e.scan for e in examples][1] == ("lungs", "é (2)")


@pytest.mark.parametrize("version", ["catalog_v1", "catalog_v2"])
def test_a_migrated_catalog_keeps_the_number_of_scans_and_reads_it_without_counting(
    tmp_path, version
):
    file = Path(shutil.copy(V1.parents[1] / version / "catalog.sqlite", tmp_path))
    with closing(sqlite3.connect(file)) as old:
        counted = sorted(old.execute("SELECT name, scans FROM collection_records").fetchall())
    with closing(open_catalog(tmp_path)) as catalog, catalog._database.read() as now:
        found = now.execute("SELECT name, scans FROM collection_records").fetchall()
        plan = now.execute("EXPLAIN QUERY PLAN SELECT scans FROM collection_records").fetchall()
    assert sorted(map(tuple, found)) == counted
    assert len(plan) == 1


def test_a_catalog_of_before_has_every_index_of_a_new_one(tmp_path):
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    open_catalog(tmp_path / "new").close()
    expected = run(tmp_path / "new" / "catalog.sqlite", indexes)
    for version in ("v1", "v2", "new"):
        file = tmp_path / version / "catalog.sqlite"
        if version == "new":  # of an earlier program with the same schema
            run(file, "DROP INDEX scans_by_labels")
        else:
            file.parent.mkdir()
            shutil.copy(V1.parents[1] / f"catalog_{version}" / "catalog.sqlite", file)
        open_catalog(file.parent).close()
        found = run(file, indexes)
        assert [name for name, _ in found] == [name for name, _ in expected], version
        assert dict(found)["scans_by_labels"] is not None


def test_a_catalog_that_a_service_uses_is_not_migrated_under_it(file):
    with owned(file.parent), pytest.raises(FolderInUse):
        open_catalog(file.parent)
    assert run(file, "PRAGMA user_version") == [(1,)]
    with owned(file.parent):
        open_catalog(file.parent, is_owner=True).close()
    assert run(file, "PRAGMA user_version") == [(3,)]


def test_a_damaged_catalog_stays_as_it_is(file):
    run(file, "UPDATE scan_vectors SET row_id = 999 WHERE row_id = 2")
    with pytest.raises(CatalogFailure, match="refers to rows that are not there"):
        open_catalog(file.parent)
    assert run(file, "PRAGMA user_version") == [(1,)]
    assert run(file, "SELECT count(*) FROM erased_scans") == [(3,)]


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_schema_1_or_schema_3_and_every_row(file):
    run(file, MANY)
    expected = run(file, "SELECT row_id, scan_id, sha256 FROM scans ORDER BY row_id")
    versions = set()
    for wait_s in (0.0, 0.05, 0.1, 0.2, 30.0):
        command = [sys.executable, "-c", OPENER, str(file.parent)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as opener:
            assert opener.stdout is not None
            assert opener.stdout.readline() == "opening\n"
            end = time.monotonic() + wait_s
            while opener.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            opener.send_signal(signal.SIGKILL)
        assert run(file, "SELECT row_id, scan_id, sha256 FROM scans ORDER BY row_id") == expected
        assert run(file, "PRAGMA integrity_check") == [("ok",)]
        versions |= set(run(file, "PRAGMA user_version"))
    assert (3,) in versions
    assert len(run(file, "SELECT 1 FROM scans WHERE subject_id LIKE 'pü%'")) == 8000


def test_backups_of_schema_1_are_checked_followed_and_restored(file, tmp_path, opened):
    shelf = tmp_path / "shelf"
    older = back_up(file, shelf)  # by this program, before it ever opened the catalog
    assert verify(older).schema == inspect(older / "catalog.sqlite").schema == 1
    catalog = opened(file.parent)
    clinic = clinic_of(catalog)
    assert len(catalog.erase_subject(clinic, "p1").scans) == 2
    assert catalog.erase_subject(clinic, "p9").uploads == 1
    newer = back_up(file, shelf)
    assert verify(older).schema == 1
    assert verify(older).scans == verify(newer).scans == 0
    assert b"p9" not in (older / "catalog.sqlite").read_bytes()
    restore(older, tmp_path / "fresh" / "catalog.sqlite")
    again = opened(tmp_path / "fresh")
    assert again.get_collection(clinic, "lungs").scans == 0
    assert [e.is_kept for e in again.version_examples(clinic, "triage", 1)] == [False] * 4


def test_what_schema_1_erased_stays_erased_in_its_backups(file, tmp_path, opened):
    older = back_up(file, tmp_path / "shelf")
    moment = "2100-01-01T00:00:00.000000Z"
    clinic = run(file, "SELECT workspace_id FROM workspaces WHERE name = 'clinic'")[0][0]
    row_id = run(file, "SELECT row_id FROM scans WHERE scan_id = 's3'")[0][0]
    run(file, "INSERT INTO erased_scans VALUES (?, ?, ?)", row_id, clinic, moment)
    digest = subject_digest(clinic, "p9")
    run(file, "INSERT INTO erased_subjects VALUES (?, ?, ?)", clinic, digest, moment)
    opened(file.parent).close()
    back_up(file, tmp_path / "shelf")
    assert run(older / "catalog.sqlite", "SELECT scan_id FROM scans") == [("s1",)]
    assert b"p9" not in (older / "catalog.sqlite").read_bytes()
    assert follow(older, ()) is False
