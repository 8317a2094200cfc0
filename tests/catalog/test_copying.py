"""Scans of one collection become scans of another one too, and erasures reach both."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import ClipFrame, ScanPatch, StoredScan
from service.errors import EncoderMismatch, FrameRefused, InputError, UnknownItem
from tests.catalog.conftest import DIM, ENCODER


@pytest.fixture
def copy(catalog, ours):
    """Copy scans of ``lungs`` into the collection ``masses``."""
    catalog.create_collection(ours, "masses", encoder_id=ENCODER, dim=DIM, keep_images=True)

    def run(*scan_ids, source="lungs", target="masses", accept=lambda scan: scan, owner=ours):
        options = {"encoder_id": ENCODER, "accept": accept}
        return catalog.copy_scans(owner, source, target, scan_ids, **options)

    return run


def whole(catalog, owner, collection):
    """All that is stored of each scan, but for what belongs to one collection."""
    return [
        (
            replace(row.scan, row_id=0, collection="", updated_at="", version=0),
            row.embedding_D.tolist(),
            row.jpeg,
            row.png,
            [(f.place, f.time_s, f.copies, f.embedding_D.tolist()) for f in row.frames],
        )
        for row in catalog.export_rows(owner, collection)
    ]


def ids(catalog, owner, collection):
    page = catalog.list_scans(owner, collection, where=ScanFilter(), limit=50)
    return [scan.scan_id for scan in page.items]


def test_a_copy_has_everything_that_the_scan_has(catalog, ours, add, copy):
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    frame = ClipFrame(3, 0.5, 2, np.ones(DIM, np.float32))
    facts = {"subject_id": "p1", "study_id": "s1", "labels": {"a": "b"}, "attributes": {"x": 1.5}}
    old = "2024-01-02T03:04:05.000000Z"
    add(1, scan_id="one", collection="kept", image_png=b"png", frames=(frame,), **facts)
    add(2, scan_id="two", collection="kept", created_at=old)
    answers = copy("two", "one", source="kept")
    assert [answer.created for answer in answers] == [True, True]
    copies = whole(catalog, ours, "masses")
    assert sorted(copies, key=lambda row: row[0].scan_id) == whole(catalog, ours, "kept")
    assert catalog.get_scan(ours, "masses", "two").created_at == old
    assert catalog.get_collection(ours, "masses").scans == 2


def test_each_scan_has_its_own_answer(catalog, ours, add, copy):
    add(1, scan_id="new", labels={"finding": "cyst"})
    add(2, scan_id="here", subject_id="p2", labels={"finding": "cyst"})
    add(2, scan_id="there", subject_id="p2", collection="masses")
    add(3, scan_id="taken")
    add(4, scan_id="taken", collection="masses")
    new, known, missing, taken, again = copy("new", "here", "none", "taken", "new")
    assert (new.created, new.scan.collection) == (True, "masses")
    assert (known.created, known.scan.scan_id) == (False, "there")
    assert [one.field for one in known.ignored] == ["scan_id", "labels.finding"]
    assert isinstance(missing, UnknownItem)
    assert type(taken).__name__ == "NameTaken"
    assert again.created is False
    assert copy() == []


def test_what_the_target_does_not_accept_is_not_stored(catalog, ours, add, copy):
    add(1, scan_id="bad")
    add(2, scan_id="good")
    refusal = FrameRefused("blank")

    def accept(scan):
        return refusal if scan.scan_id == "bad" else replace(scan, thumbnail_jpeg=b"")

    bad, good = copy("bad", "good", accept=accept)
    assert bad is refusal
    assert good.created
    assert [row.jpeg for row in catalog.export_rows(ours, "masses")] == [b""]


def test_a_copy_and_its_source_are_apart(catalog, ours, add, copy):
    add(1, scan_id="one", labels={"finding": "cyst"})
    copy("one")
    catalog.patch_scan(ours, "masses", "one", ScanPatch(labels={"finding": "mass"}))
    assert catalog.get_scan(ours, "lungs", "one").labels == {"finding": "cyst"}
    catalog.delete_collection(ours, "lungs")
    assert ids(catalog, ours, "masses") == ["one"]


def test_an_erasure_reaches_the_copies_and_the_receipt_names_them(catalog, ours, add, copy):
    add(1, scan_id="one", subject_id="p1")
    add(2, scan_id="two", subject_id="p2")
    copy("one", "two")
    receipt = catalog.erase_subject(ours, "p1")
    assert sorted(receipt.scans) == [("lungs", "one"), ("masses", "one")]
    assert ids(catalog, ours, "masses") == ["two"]
    _, one_gone = catalog.erase_scan(ours, "lungs", "two")
    assert one_gone.copies == (("masses", "two"),)


def test_images_go_only_where_images_are_kept(catalog, ours, add, copy):
    catalog.create_collection(ours, "small", encoder_id=ENCODER, dim=DIM)
    catalog.create_collection(ours, "kept", encoder_id=ENCODER, dim=DIM, keep_images=True)
    add(1, scan_id="one", collection="kept", image_png=b"png")
    copy("one", source="kept", target="small")
    assert catalog.kept_image(ours, "small", "one") is None


def test_only_collections_of_the_workspace_and_the_encoder_are_copied(
    catalog, ours, theirs, add, copy
):
    add(1, scan_id="one")
    with pytest.raises(InputError, match="another collection"):
        copy("one", target="lungs")
    for names in ({"target": "none"}, {"source": "none"}, {"owner": theirs}):
        with pytest.raises(UnknownItem):
            copy("one", **names)
    catalog.create_collection(ours, "other", encoder_id="enc_2", dim=DIM)
    for names in ({"target": "other"}, {"source": "other"}):
        with pytest.raises(EncoderMismatch):
            copy("one", **names)
    assert isinstance(copy("one")[0], StoredScan)


def test_a_copy_beside_an_erasure_brings_nothing_back(catalog, ours, add, copy):
    with ThreadPoolExecutor(2) as threads:
        for n in range(10):
            add(n, scan_id=f"s{n}", subject_id=f"p{n}")
            together = Barrier(2, timeout=30)

            def erase(n=n, together=together):
                together.wait()
                return catalog.erase_subject(ours, f"p{n}")

            erasing = threads.submit(erase)
            together.wait()
            (answer,) = copy(f"s{n}")
            receipt = erasing.result()
            assert isinstance(answer, StoredScan) == (len(receipt.scans) == 2)
    assert ids(catalog, ours, "lungs") == ids(catalog, ours, "masses") == []
