"""Scans, studies and subjects that go for good, and scans that go by age."""

import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewExample, NewVersion, PolicyPatch
from service.errors import InputError, PreconditionFailed, UnknownItem
from tests.catalog.set_clock import SetClock

EVERYTHING = ScanFilter()
SECRET = "STUDY-7f3a"


def scan_ids(catalog, workspace_id, collection="lungs"):
    page = catalog.list_scans(workspace_id, collection, where=EVERYTHING, limit=1000)
    return [scan.scan_id for scan in page.items]


def teach(catalog, ours, name, *scan_ids, **upload):
    examples = [NewExample("x", n, scan=("lungs", s)) for n, s in enumerate(scan_ids)]
    if upload:
        examples.append(NewExample("x", 99, **upload))
    version = NewVersion("enc_1", ("x",), b"npz", {}, examples=tuple(examples))
    catalog.create_classifier(ours, name, version)


def test_a_deleted_scan_comes_with_the_classifiers_that_learnt_from_it(catalog, ours, add):
    add(1, scan_id="a"), add(2, scan_id="b")
    teach(catalog, ours, "second", "a", "b")
    teach(catalog, ours, "first", "a")
    teach(catalog, ours, "other", "b")
    scan, receipt = catalog.erase_scan(ours, "lungs", "a")
    assert scan.scan_id == "a"
    assert receipt.scans == (("lungs", "a"),)
    assert receipt.row_ids == (("lungs", scan.row_id),)
    assert receipt.classifiers == ("first", "second")
    assert scan_ids(catalog, ours) == ["b"]
    with pytest.raises(UnknownItem):
        catalog.thumbnail(ours, "lungs", "a")


def test_an_outdated_view_deletes_nothing_and_a_right_one_does(catalog, ours, add):
    add(1, scan_id="a")
    with pytest.raises(PreconditionFailed):
        catalog.erase_scan(ours, "lungs", "a", if_version=2)
    assert scan_ids(catalog, ours) == ["a"]
    catalog.erase_scan(ours, "lungs", "a", if_version=1)
    assert scan_ids(catalog, ours) == []


def test_a_study_goes_from_every_collection_and_from_uploaded_examples(
    catalog, place, ours, theirs, add, new_scan
):
    catalog.create_collection(ours, "liver", encoder_id="enc_1", dim=8)
    add(1, scan_id="a", study_id=SECRET)
    add(2, scan_id="b", study_id=SECRET, collection="liver")
    add(3, scan_id="c", study_id="other")
    add(4, scan_id="a", study_id=SECRET, workspace_id=theirs)
    vector = new_scan(9).embedding_D
    teach(catalog, ours, "k", "a", "c", sha256="0" * 64, study_id=SECRET, embedding_D=vector)
    receipt = catalog.erase_study(ours, SECRET)
    assert receipt.scans == (("lungs", "a"), ("liver", "b"))
    assert (receipt.classifiers, receipt.uploads) == (("k",), 1)
    assert scan_ids(catalog, ours) == ["c"]
    assert scan_ids(catalog, ours, "liver") == []
    assert scan_ids(catalog, theirs) == ["a"]
    assert [e.is_kept for e in catalog.version_examples(ours, "k", 1)] == [False, True, False]
    catalog.erase_study(theirs, SECRET)
    assert not place.holds(SECRET)
    with pytest.raises(UnknownItem, match="of this study"):
        catalog.erase_study(ours, SECRET)


def test_scans_past_their_retention_go_and_younger_ones_stay(catalog, ours, add):
    catalog.patch_collection(
        ours, "lungs", PolicyPatch(retention_days=30, set_fields=frozenset({"retention_days"}))
    )
    catalog.create_collection(ours, "forever", encoder_id="enc_1", dim=8)
    for n in range(4):
        add(n, scan_id=f"s{n}")
    add(5, scan_id="kept", collection="forever")
    teach(catalog, ours, "k", "s0")
    clock = SetClock()
    assert catalog.expire(clock=clock) == ()
    clock.run(days=29)
    assert catalog.expire(clock=clock) == ()
    clock.run(days=2)
    ((owner, receipt),) = catalog.expire(clock=clock)
    assert owner == ours
    assert [scan_id for _, scan_id in receipt.scans] == ["s0", "s1", "s2", "s3"]
    assert receipt.classifiers == ("k",)
    assert scan_ids(catalog, ours) == []
    assert scan_ids(catalog, ours, "forever") == ["kept"]
    assert catalog.expire(clock=clock) == ()


def test_a_sweep_overwrites_scans_that_were_deleted_one_by_one(catalog, place, ours, add):
    add(1, scan_id="a", study_id=SECRET)
    assert place.holds(SECRET)
    catalog.erase_scan(ours, "lungs", "a")
    assert catalog.expire() == ()
    assert not place.holds(SECRET)


def test_the_oldest_go_first_when_more_than_a_transaction_takes_are_past_it(
    catalog, ours, new_scan
):
    catalog.create_collection(ours, "many", encoder_id="enc_1", dim=8, retention_days=1)
    scans = [new_scan(n, scan_id=f"s{n}") for n in range(520)]
    for start in range(0, 520, 130):
        catalog.add_scans(ours, "many", scans[start : start + 130], encoder_id="enc_1")
    clock = SetClock()
    catalog.expire(clock=clock)
    clock.run(days=2)
    ((_, first),) = catalog.expire(clock=clock)
    assert len(first.scans) == 500
    assert scan_ids(catalog, ours, "many") == [f"s{n}" for n in range(500, 520)]
    ((_, second),) = catalog.expire(clock=clock)
    assert len(second.scans) == 20


def test_a_policy_changes_with_its_version_and_refuses_nonsense(catalog, ours):
    fields = frozenset({"description", "keep_images", "retention_days"})
    found = catalog.patch_collection(ours, "lungs", PolicyPatch("d", True, 7.5, fields))
    assert (found.description, found.keep_images, found.retention_days) == ("d", True, 7.5)
    assert found.version == 2
    assert catalog.get_collection(ours, "lungs") == found
    with pytest.raises(PreconditionFailed):
        catalog.patch_collection(ours, "lungs", PolicyPatch(), if_version=1)
    assert catalog.patch_collection(ours, "lungs", PolicyPatch()).retention_days == 7.5
    for days in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError):
            catalog.patch_collection(ours, "lungs", PolicyPatch(retention_days=days))
        with pytest.raises(InputError):
            catalog.create_collection(ours, "x", encoder_id="e", dim=8, retention_days=days)
    with pytest.raises(InputError):
        catalog.patch_collection(ours, "lungs", PolicyPatch(set_fields=frozenset({"name"})))


def test_images_are_stored_where_asked_for_and_overwritten_when_no_longer(
    catalog, place, ours, new_scan
):
    catalog.create_collection(ours, "kept", encoder_id="enc_1", dim=8, keep_images=True)
    for collection in ("kept", "lungs"):
        scan = new_scan(1, scan_id="a", image_png=b"PIXELS-7f3a" * 500)
        catalog.add_scans(ours, collection, [scan], encoder_id="enc_1")
    pngs = [catalog.export_rows(ours, collection)[0].png for collection in ("kept", "lungs")]
    assert pngs == [b"PIXELS-7f3a" * 500, None]
    assert place.holds("PIXELS-7f3a")
    off = PolicyPatch(set_fields=frozenset({"keep_images"}))
    catalog.patch_collection(ours, "kept", off)
    assert not place.holds("PIXELS-7f3a")
