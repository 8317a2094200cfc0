"""What computes or reads beside an erasure stores nothing of what the erasure took."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import UNLABELLED, NewExample, NewVersion, StoredScan
from service.errors import Erased, UnknownItem
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


def learnt(*examples):
    """A version that was fitted from these examples."""
    scores = bytes(range(1, 1 + len(examples)))
    return NewVersion("enc_1", ("a", "b"), b"{}", {}, out_of_fold=scores, examples=examples)


def example(scan, label="a", group=0):
    """What a fit has read of a scan."""
    return NewExample(label, group, scan=("lungs", scan.scan_id), sha256=scan.image.sha256)


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


@pytest.mark.parametrize("group", [0, UNLABELLED])
def test_a_fit_that_read_an_erased_scan_is_not_stored(catalog, ours, old, group):
    scans = [old(n, f"p{n}") for n in range(3)]
    catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER)
    version = learnt(example(scans[1], "b"), example(scans[0], "", group))
    catalog.erase_subject(ours, "p0")
    with pytest.raises(Erased):
        catalog.create_classifier(ours, "k", version)
    with pytest.raises(UnknownItem):
        catalog.get_classifier(ours, "k")
    catalog.create_classifier(ours, "k", learnt(example(scans[1]), example(scans[2], "b")))
    with pytest.raises(Erased):
        catalog.add_version(ours, "k", version)
    assert catalog.get_classifier(ours, "k").latest == 1


def test_a_scan_of_another_file_does_not_stand_for_the_one_that_a_fit_has_read(catalog, ours, old):
    read = old(1, "p1")
    catalog.add_scans(ours, "lungs", [read], encoder_id=ENCODER)
    catalog.erase_subject(ours, "p1")
    catalog.add_scans(ours, "lungs", [old(2, "p2", scan_id="s1")], encoder_id=ENCODER)
    with pytest.raises(Erased):
        catalog.create_classifier(ours, "k", learnt(example(read)))


def test_a_version_of_earlier_examples_is_not_stored_when_more_are_gone_than_it_knows(
    catalog, ours, old
):
    scans = [old(n, f"p{n}") for n in range(3)]
    catalog.add_scans(ours, "lungs", scans, encoder_id=ENCODER)
    upload = NewExample("b", 3, sha256="0" * 64, subject_id="p3", embedding_D=scans[0].embedding_D)
    examples = [example(scan, group=n) for n, scan in enumerate(scans)]
    catalog.create_classifier(ours, "k", learnt(*examples, upload))

    def again(gone):
        known = catalog.version_examples(ours, "k", 1)
        version = learnt(*(NewExample(e.label, e.group, e.example_id) for e in known))
        return catalog.add_version(ours, "k", version, gone=gone)[1].number

    assert again(gone=0) == 2
    for gone, patient in enumerate(("p1", "p3")):  # a scan, then an upload
        catalog.erase_subject(ours, patient)
        with pytest.raises(Erased):
            again(gone=gone)
        assert again(gone=gone + 1) == 3 + gone
