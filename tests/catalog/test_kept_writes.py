"""What every catalog keeps: over restarts and kills, with many threads, and after a failure."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewVersion, StoredScan
from service.errors import CatalogFailure
from tests.catalog.vectors import all_vectors

ROOT = Path(__file__).parents[2]
SECRET = "SUBJECT-7f3a"
EVERYTHING = ScanFilter()

WRITER = """
import hashlib, sys
import numpy as np
from service.catalog.records import NewScan, ScanImage
from tests.catalog.places import open_at

catalog = open_at(sys.argv[1])
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


def test_everything_is_there_after_reopening(catalog, opened, ours, add):
    key = catalog.create_key(ours, "probe", "hash")
    answer = SavedAnswer("d", 201, b"body", {"a": "b"})
    catalog.save_answer(ours, "idem", answer, keep_s=60)
    classifier = catalog.create_classifier(
        ours, "c", NewVersion("enc_1", ("a",), b"npz", {"auc": 1.0})
    )
    scan = catalog.get_scan(ours, "lungs", add(1, subject_id="p1", labels={"é": "ü"}))
    _, embeddings_ND = all_vectors(catalog, ours, "lungs")
    catalog.close()
    again = opened()
    assert again.find_key("hash") == key
    assert again.find_answer(ours, "idem") == answer
    assert again.get_classifier(ours, "c") == classifier
    assert again.get_scan(ours, "lungs", scan.scan_id) == scan
    np.testing.assert_array_equal(all_vectors(again, ours, "lungs")[1], embeddings_ND)


def test_a_row_number_is_never_used_again_after_reopening(catalog, opened, ours, add, new_scan):
    last, _ = catalog.erase_scan(ours, "lungs", add(1))
    catalog.close()
    again = opened()
    (answer,) = again.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1")
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


def test_a_failure_quotes_no_data(catalog, ours, new_scan):
    scan = new_scan(1, thumbnail_jpeg=None, subject_id=SECRET)
    with pytest.raises(CatalogFailure, match=r"^the catalog failed with \w+$") as raised:
        catalog.add_scans(ours, "lungs", [scan], encoder_id="enc_1")
    assert SECRET not in str(raised.value)


def test_a_killed_writer_loses_no_acknowledged_scan(place, opened):
    command = [sys.executable, "-c", WRITER, place.address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(200)]
        writer.kill()  # SIGKILL, while it writes
        acknowledged += writer.stdout.read().split("\n")[:-1]
    catalog = opened()
    ours = catalog.ensure_workspace("ours").workspace_id
    stored = scan_ids(catalog, ours)
    _, embeddings_ND = all_vectors(catalog, ours, "lungs")
    thumbnails = [catalog.thumbnail(ours, "lungs", scan_id) for scan_id in stored]
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


def test_closing_under_load_keeps_what_was_acknowledged(catalog, opened, ours, new_scan):
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
    again = opened()
    assert [end.result() for end in ends] == ["refused"] * 4
    assert set(acknowledged) <= set(scan_ids(again, ours))


def test_two_catalogs_over_one_place_see_each_other(catalog, opened, ours, add, new_scan):
    other = opened()
    first = add(1)
    (answer,) = other.add_scans(ours, "lungs", [new_scan(1)], encoder_id="enc_1")
    assert isinstance(answer, StoredScan)
    assert (answer.scan.scan_id, answer.created) == (first, False)


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
