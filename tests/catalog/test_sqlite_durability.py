"""What the SQLite catalog keeps and forgets: restarts, kills, threads, erasure."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewVersion, ScanPatch, StoredScan
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import CatalogFailure
from tests.catalog.vectors import all_vectors

ROOT = Path(__file__).parents[2]
SECRET = "SUBJECT-7f3a"
EVERYTHING = ScanFilter()

WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from service.catalog.records import NewScan, ScanImage
from service.catalog.sqlite.sqlite_catalog import open_catalog

catalog = open_catalog(Path(sys.argv[1]))
workspace_id = catalog.ensure_workspace("ours").workspace_id
catalog.create_collection(workspace_id, "lungs", encoder_id="enc_1", dim=8)
for n in range(1_000_000):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 1, 1, digest)
    scan = NewScan(None, image, np.full(8, n, np.float32), b"thumbnail %d" % n)
    (answer,) = catalog.add_scans(workspace_id, "lungs", [scan], encoder_id="enc_1")
    sys.stdout.write(answer.scan.scan_id + "\\n")
    sys.stdout.flush()
"""


def scan_ids(catalog, workspace_id):
    page = catalog.list_scans(workspace_id, "lungs", where=EVERYTHING, limit=1_000_000)
    return [scan.scan_id for scan in page.items]


def bytes_on_disk(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_everything_is_there_after_reopening(catalog, folder, ours, add):
    key = catalog.create_key(ours, "probe", "hash")
    answer = SavedAnswer("d", 201, b"body", {"a": "b"})
    catalog.save_answer(ours, "idem", answer, keep_s=60)
    classifier = catalog.create_classifier(
        ours, "c", NewVersion("enc_1", ("a",), b"npz", {"auc": 1.0})
    )
    scan = catalog.get_scan(ours, "lungs", add(1, subject_id="p1", labels={"é": "ü"}))
    _, embeddings_ND = all_vectors(catalog, ours, "lungs")
    catalog.close()
    again = open_catalog(folder)
    assert again.find_key("hash") == key
    assert again.find_answer(ours, "idem") == answer
    assert again.get_classifier(ours, "c") == classifier
    assert again.get_scan(ours, "lungs", scan.scan_id) == scan
    np.testing.assert_array_equal(all_vectors(again, ours, "lungs")[1], embeddings_ND)
    again.close()


def test_a_row_number_is_never_used_again_after_reopening(catalog, folder, ours, add, new_scan):
    last, _ = catalog.erase_scan(ours, "lungs", add(1))
    catalog.close()
    again = open_catalog(folder)
    (answer,) = again.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1")
    again.close()
    assert isinstance(answer, StoredScan)
    assert answer.scan.row_id > last.row_id


def test_a_batch_that_fails_half_way_leaves_nothing(catalog, ours, new_scan):
    batch = [new_scan(1), new_scan(2), new_scan(3, thumbnail_jpeg=None)]
    with pytest.raises(CatalogFailure):
        catalog.add_scans(ours, "lungs", batch, encoder_id="enc_1")
    assert scan_ids(catalog, ours) == []
    assert all_vectors(catalog, ours, "lungs")[0].size == 0


def test_writing_goes_on_after_a_failed_batch(catalog, ours, new_scan, add):
    with pytest.raises(CatalogFailure):
        catalog.add_scans(ours, "lungs", [new_scan(1, thumbnail_jpeg=None)], encoder_id="enc_1")
    scan_id = add(1)
    assert scan_ids(catalog, ours) == [scan_id]


def test_a_failure_is_named_without_quoting_data(catalog, ours, new_scan):
    scan = new_scan(1, thumbnail_jpeg=None, subject_id=SECRET)
    with pytest.raises(
        CatalogFailure, match=r"^the catalog failed with SQLITE_CONSTRAINT"
    ) as raised:
        catalog.add_scans(ours, "lungs", [scan], encoder_id="enc_1")
    assert isinstance(raised.value.__cause__, sqlite3.Error)
    assert SECRET not in str(raised.value)


def test_a_killed_writer_loses_no_acknowledged_scan(folder):
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(200)]
        writer.kill()  # SIGKILL, while it writes
        acknowledged += writer.stdout.read().split("\n")[:-1]
    catalog = open_catalog(folder)
    ours = catalog.ensure_workspace("ours").workspace_id
    stored = scan_ids(catalog, ours)
    _, embeddings_ND = all_vectors(catalog, ours, "lungs")
    thumbnails = [catalog.thumbnail(ours, "lungs", scan_id) for scan_id in stored]
    catalog.close()
    assert len(acknowledged) >= 200
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) <= len(acknowledged) + 1
    np.testing.assert_array_equal(embeddings_ND[:, 0], np.arange(len(stored)))
    assert thumbnails == [b"thumbnail %d" % n for n in range(len(stored))]


def test_eight_threads_that_add_the_same_bytes_make_one_scan(catalog, ours, new_scan):
    barrier = threading.Barrier(8)

    def add_all(_):
        barrier.wait()
        return [
            catalog.add_scans(ours, "lungs", [new_scan(n)], encoder_id="enc_1")[0]
            for n in range(10)
        ]

    with ThreadPoolExecutor(8) as pool:
        per_thread = list(pool.map(add_all, range(8)))
    for answers in zip(*per_thread, strict=True):
        assert sum(answer.created for answer in answers) == 1
        assert len({answer.scan.row_id for answer in answers}) == 1
    assert catalog.get_collection(ours, "lungs").scans == 10


def test_readers_see_whole_batches_only(catalog, ours, new_scan):
    batches = [[new_scan(10 * b + i) for i in range(10)] for b in range(20)]
    done = threading.Event()

    def watch(_):
        seen: list[int] = []
        while not done.is_set() or not seen:
            seen.append(all_vectors(catalog, ours, "lungs")[0].size)
        return seen

    with ThreadPoolExecutor(3) as pool:
        watching = [pool.submit(watch, n) for n in range(3)]
        try:
            for batch in batches:
                catalog.add_scans(ours, "lungs", batch, encoder_id="enc_1")
        finally:
            done.set()
        sizes = [size for future in watching for size in future.result()]
    assert {size % 10 for size in sizes} == {0}


def test_closing_under_load_keeps_what_was_acknowledged(catalog, folder, ours, new_scan):
    acknowledged = []
    started = threading.Barrier(5)

    def add_until_closed(thread):
        started.wait()
        for n in range(thread * 100_000, (thread + 1) * 100_000):
            try:
                scans = [new_scan(n)]
                (answer,) = catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
                catalog.get_scan(ours, "lungs", answer.scan.scan_id)
            except CatalogFailure:
                return "refused"
            acknowledged.append(answer.scan.scan_id)
        return "never refused"

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(add_until_closed, thread) for thread in range(4)]
        started.wait()
        catalog.close()
    again = open_catalog(folder)
    assert [end.result() for end in ends] == ["refused"] * 4
    assert set(acknowledged) <= set(scan_ids(again, ours))
    again.close()


def test_two_catalogs_on_one_folder_see_each_other(catalog, folder, ours, add, new_scan):
    other = open_catalog(folder)
    first = add(1)
    (answer,) = other.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1")
    other.close()
    assert isinstance(answer, StoredScan)
    assert (answer.scan.scan_id, answer.created) == (first, False)


def test_a_closed_catalog_leaves_one_file(catalog, folder, add):
    add(1)
    catalog.close()
    assert [path.name for path in folder.iterdir()] == ["catalog.sqlite"]


def test_a_closed_catalog_refuses_reads_writes_and_checks(catalog, ours, new_scan):
    catalog.close()
    catalog.close()
    for call in (
        catalog.check,
        catalog.list_workspaces,
        lambda: catalog.ensure_workspace("x"),
        lambda: catalog.find_key("x"),
        lambda: catalog.get_collection(ours, "lungs"),
        lambda: catalog.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1"),
        lambda: catalog.row_ids_where(ours, "lungs", EVERYTHING),
        lambda: catalog.erase_subject(ours, "p1"),
        lambda: catalog.find_answer(ours, "x"),
    ):
        with pytest.raises(CatalogFailure, match="closed"):
            call()


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
