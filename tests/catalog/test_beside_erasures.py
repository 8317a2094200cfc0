"""What computes or reads beside an erasure stores nothing of what the erasure took."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import StoredScan
from service.errors import Erased
from service.gallery.parquet import export_collection, import_collection
from tests.catalog.conftest import DIM, ENCODER

LONG_AGO = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def old(new_scan):
    """An old scan of a patient, with an embedding of unit length."""

    def build(n, patient, **fields):
        embedding_D = np.eye(DIM, dtype=np.float32)[n % DIM]
        values = {"scan_id": f"s{n}", "subject_id": patient, "created_at": LONG_AGO}
        return new_scan(n, embedding_D=embedding_D, **(values | fields))

    return build


def ids(catalog, owner, collection):
    page = catalog.list_scans(owner, collection, where=ScanFilter(), limit=500)
    return [scan.scan_id for scan in page.items]


def test_an_import_leaves_out_who_is_erased_after_its_batch_was_read(catalog, ours, old, tmp_path):
    pytest.importorskip("pyarrow")
    scans = [old(n, f"p{n % 2}") for n in range(6)]
    catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER)
    export_collection(catalog, ours, "lungs", tmp_path / "out")

    def erase_and_store(*batch, **options):
        catalog.erase_subject(ours, "p1")  # acknowledged before the batch is stored
        return catalog.add_scans(*batch, **options)

    done = import_collection(catalog, ours, tmp_path / "out", "copy", store=erase_and_store)
    assert (done.stored, done.erased) == (3, 3)
    assert ids(catalog, ours, "copy") == ["s0", "s2", "s4"]


def test_old_scans_stored_beside_an_erasure_bring_nobody_back(catalog, opened, ours, old):
    other = opened()
    catalog.create_collection(ours, "copy", encoder_id=ENCODER, dim=DIM)
    store = partial(catalog.add_scans, encoder_id=ENCODER)
    with ThreadPoolExecutor(1) as threads:
        for n in range(10):
            store(ours, "lungs", [old(n, f"p{n}")])
            together = Barrier(2, timeout=30)

            def erase(n=n, together=together):
                together.wait()
                return other.erase_subject(ours, f"p{n}")

            erasing = threads.submit(erase)
            together.wait()
            (answer,) = store(ours, "copy", [old(n, f"p{n}")], unless_erased=True)
            receipt = erasing.result()
            assert isinstance(answer, StoredScan) == (len(receipt.scans) == 2)
            assert isinstance(answer, StoredScan | Erased)
    assert ids(catalog, ours, "lungs") == ids(catalog, ours, "copy") == []


def test_a_patient_who_comes_back_after_the_erasure_is_stored(catalog, ours, old):
    catalog.add_scans(ours, "lungs", [old(1, "p1")], encoder_id=ENCODER)
    catalog.erase_subject(ours, "p1")
    scans = [old(1, "p1"), old(2, "p1", created_at=None), old(3, None)]
    answers = catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER, unless_erased=True)
    assert [type(answer) for answer in answers] == [Erased, StoredScan, StoredScan]
