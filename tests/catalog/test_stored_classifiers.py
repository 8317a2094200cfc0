"""Classifiers in the catalog, and naming them when a subject is erased."""

import re

import pytest

from service.catalog.erasure_records import ErasedSubject
from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewExample, NewVersion
from service.errors import InputError, NameTaken, PreconditionFailed, UnknownItem


def new_version(*scans, **fields):
    values = {
        "encoder_id": "enc_1",
        "classes": ("é", 'b"'),
        "artifact": b"PK\x00\xff",
        "report": {"auc": 0.9, "folds": [1, 2], "note": {"ü": None}},
        "examples": tuple(NewExample("a", 0, scan=scan) for scan in scans),
    }
    return NewVersion(**(values | fields))


def test_a_classifier_comes_back_as_it_was_stored(catalog, ours):
    new = new_version()
    stored = catalog.create_classifier(ours, "b-lines", new)
    assert catalog.get_classifier(ours, "b-lines") == stored
    first = stored.published
    assert (first.classes, first.artifact, first.report, first.encoder_id) == (
        new.classes,
        new.artifact,
        new.report,
        "enc_1",
    )
    assert (stored.name, stored.revision, stored.latest, first.number) == ("b-lines", 1, 1, 1)
    assert re.fullmatch(r"clf_[0-9a-f]{20}", stored.classifier_id)


def test_a_taken_name_keeps_the_first_classifier(catalog, ours):
    first = catalog.create_classifier(ours, "b-lines", new_version())
    with pytest.raises(NameTaken):
        catalog.create_classifier(ours, "b-lines", new_version(classes=("x",)))
    assert catalog.get_classifier(ours, "b-lines") == first


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a", {"report": {"auc": float("nan")}}),
        ("a", {"settings": {"x": object()}}),
        ("nul\0", {}),
        ("a", {"examples": (NewExample("nul\0", 0),)}),
    ],
)
def test_a_classifier_that_cannot_be_stored_is_an_input_error(catalog, ours, name, fields):
    with pytest.raises(InputError):
        catalog.create_classifier(ours, name, new_version(**fields))
    assert catalog.list_classifiers(ours, limit=9).items == ()


def test_a_classifier_in_no_workspace_is_refused(catalog):
    with pytest.raises(UnknownItem):
        catalog.create_classifier("ws_none", "b-lines", new_version())


def test_paging_shows_each_classifier_once_in_order(catalog, ours):
    for name in ("c", "a", "d", "b"):
        catalog.create_classifier(ours, name, new_version())
    first = catalog.list_classifiers(ours, limit=3)
    last = catalog.list_classifiers(ours, limit=3, after=first.next_after)
    assert [item.name for item in first.items + last.items] == ["a", "b", "c", "d"]
    assert last.next_after is None


def test_a_deleted_classifier_is_gone_and_its_name_free(catalog, ours, add):
    new = new_version(("lungs", add(1)))
    catalog.create_classifier(ours, "b-lines", new)
    catalog.delete_classifier(ours, "b-lines", if_revision=1)
    with pytest.raises(UnknownItem):
        catalog.get_classifier(ours, "b-lines")
    assert catalog.version_examples(ours, "b-lines", 1) == ()
    assert catalog.create_classifier(ours, "b-lines", new).name == "b-lines"


def test_an_outdated_version_is_not_deleted(catalog, ours):
    stored = catalog.create_classifier(ours, "b-lines", new_version())
    with pytest.raises(PreconditionFailed):
        catalog.delete_classifier(ours, "b-lines", if_revision=7)
    assert catalog.get_classifier(ours, "b-lines") == stored


def test_classifiers_of_others_do_not_exist(catalog, ours, theirs):
    catalog.create_classifier(ours, "b-lines", new_version())
    assert catalog.list_classifiers(theirs, limit=9).items == ()
    with pytest.raises(UnknownItem):
        catalog.get_classifier(theirs, "b-lines")
    with pytest.raises(UnknownItem):
        catalog.delete_classifier(theirs, "b-lines")
    assert catalog.create_classifier(theirs, "b-lines", new_version()).name == "b-lines"


def test_erasing_a_subject_names_its_scans_and_who_learnt_from_them(catalog, ours, add):
    catalog.create_collection(ours, "hearts", encoder_id="enc_1", dim=8)
    add(1, scan_id="x1", subject_id="p1")
    add(2, scan_id="x2", subject_id="p1", collection="hearts")
    add(3, scan_id="x3", subject_id="p2")
    rows = [catalog.get_scan(ours, *where).row_id for where in (("lungs", "x1"), ("hearts", "x2"))]
    learnt = {"z": "x1", "m": "x2", "other": "x3"}
    for name, scan_id in learnt.items():
        pair = ("hearts" if scan_id == "x2" else "lungs", scan_id)
        catalog.create_classifier(ours, name, new_version(pair, pair))
    assert catalog.erase_subject(ours, "p1") == ErasedSubject(
        scans=(("lungs", "x1"), ("hearts", "x2")),
        row_ids=(("lungs", rows[0]), ("hearts", rows[1])),
        classifiers=("m", "z"),
    )
    assert catalog.get_classifier(ours, "z").name == "z"
    left = catalog.list_scans(ours, "lungs", where=ScanFilter(), limit=9).items
    assert [scan.scan_id for scan in left] == ["x3"]


def test_a_scan_id_used_again_does_not_blame_the_classifier(catalog, ours, add):
    add(1, scan_id="x", subject_id="p1")
    catalog.create_classifier(ours, "b-lines", new_version(("lungs", "x")))
    catalog.erase_scan(ours, "lungs", "x")
    add(2, scan_id="x", subject_id="p2")
    assert catalog.erase_subject(ours, "p2").classifiers == ()


def test_what_a_classifier_learnt_from_outlives_the_scans(catalog, place, ours, add):
    add(1, scan_id="x", subject_id="p1")
    catalog.create_classifier(ours, "b-lines", new_version(("lungs", "x")))
    catalog.erase_subject(ours, "p1")
    catalog.delete_collection(ours, "lungs")
    rows = place.sql("SELECT collection, scan_id FROM classifier_examples")
    assert rows == [("lungs", "x")]


def test_erasing_an_unknown_subject_is_an_unknown_item(catalog, ours, add):
    add(1, subject_id="p1")
    with pytest.raises(UnknownItem):
        catalog.erase_subject(ours, "p2")


def test_erasing_ours_leaves_the_same_subject_of_others(catalog, ours, theirs, add):
    add(1, subject_id="p1")
    scan_id = add(1, workspace_id=theirs, subject_id="p1")
    catalog.erase_subject(ours, "p1")
    assert catalog.get_scan(theirs, "lungs", scan_id).subject_id == "p1"
