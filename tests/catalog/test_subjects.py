"""One image of several patients, and ids that look alike: no patient is lost."""

import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.plain_text import name_of, require_name
from service.catalog.records import IgnoredField, NewExample, NewVersion, ScanPatch
from service.errors import Conflict, InputError, UnknownItem

EVERYTHING = ScanFilter()
COMPOSED, DECOMPOSED = "Müller", "Mu\u0308ller"
SAME_TEXT = [
    (COMPOSED, DECOMPOSED),
    ("p1", "  p1\t"),
    ("p 1", "p\u00a01"),
    ("a/b/../c", "a/b/../c"),
    ("100%41", "100%41"),
    ("👨‍👩‍👧", "👨‍👩‍👧"),
    ("می‌خواهم", "می‌خواهم"),
    ("日" * 128, "日" * 128),
]
REFUSED = [
    "a\nb",
    "a\x7fb",
    "a\u200bb",
    "a\u202eb",
    "a\u2028b",
    "p\u200d1",
    "\ufeffp1",
    "M\ufffdller",
    "a\ud800",
    " ",
    "",
    ".",
    "..",
]


def store(catalog, ours, *scans):
    return catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")


def subjects(catalog, ours):
    page = catalog.list_scans(ours, "lungs", where=EVERYTHING, limit=100)
    return [(scan.scan_id, scan.subject_id) for scan in page.items]


def test_one_image_of_two_subjects_and_of_none_is_three_scans(catalog, ours, new_scan):
    first, second, bare = store(
        catalog,
        ours,
        new_scan(1, scan_id="a", subject_id="p1"),
        new_scan(1, scan_id="b", subject_id="p2"),
        new_scan(1, scan_id="c"),
    )
    assert [first.created, second.created, bare.created] == [True, True, True]
    assert (first.copies, second.copies, bare.copies) == ((), ("a",), ("a", "b"))
    again = store(catalog, ours, *(new_scan(1, subject_id=who) for who in ("p1", "p2", None)))
    assert [answer.scan.scan_id for answer in again] == ["a", "b", "c"]
    assert not any(answer.created or answer.ignored for answer in again)
    receipt = catalog.erase_subject(ours, "p2")
    assert receipt.scans == (("lungs", "b"),)
    assert receipt.copies == (("lungs", "a"), ("lungs", "c"))
    assert subjects(catalog, ours) == [("a", "p1"), ("c", None)]


def test_other_bytes_of_the_same_pixels_follow_the_subject_too(catalog, ours, new_scan):
    one, other = new_scan(1).image, new_scan(2).image
    png = new_scan(1, subject_id="p1")
    same = type(one)(other.sha256, "image", "jpeg", 640, 480, one.content_sha256)
    first, known, another = store(
        catalog,
        ours,
        png,
        new_scan(2, image=same, subject_id="p1"),
        new_scan(2, image=same, subject_id="p2"),
    )
    assert (known.created, known.scan) == (False, first.scan)
    assert (another.created, another.copies) == (True, (first.scan.scan_id,))


def test_what_a_repeated_upload_says_otherwise_is_named_and_ignored(catalog, ours, new_scan):
    said = {"labels": {"finding": "cyst"}, "attributes": {"age": 1}, "study_id": "st1"}
    store(catalog, ours, new_scan(1, scan_id="a", subject_id="p1", **said))
    changed = {
        "labels": {"finding": "mass", "view": "B"},
        "attributes": {"age": True},
        "study_id": "st2",
        "scan_id": "z",
    }
    (known,) = store(catalog, ours, new_scan(1, subject_id="p1", **changed))
    assert known.ignored == (
        IgnoredField("scan_id", "z", "a"),
        IgnoredField("study_id", "st2", "st1"),
        IgnoredField("labels.finding", "mass", "cyst"),
        IgnoredField("labels.view", "B", None),
        IgnoredField("attributes.age", True, 1),
    )
    assert known.scan == catalog.get_scan(ours, "lungs", "a")
    assert known.scan.labels == {"finding": "cyst"}


def test_the_same_file_embedded_otherwise_is_named(catalog, ours, new_scan):
    image = new_scan(1).image
    store(catalog, ours, new_scan(1))
    other = type(image)(image.sha256, "image", "png", 640, 480, "f" * 64)
    (known,) = store(catalog, ours, new_scan(1, image=other))
    assert [ignored.field for ignored in known.ignored] == ["image.content_sha256"]


def test_a_subject_that_has_the_image_cannot_get_it_twice(catalog, ours, new_scan):
    store(catalog, ours, new_scan(1, scan_id="a", subject_id="p1"), new_scan(1, scan_id="b"))
    patch = ScanPatch(subject_id="p1", set_fields=frozenset({"subject_id"}))
    with pytest.raises(Conflict, match="this image under this subject already"):
        catalog.patch_scan(ours, "lungs", "b", patch)
    assert subjects(catalog, ours) == [("a", "p1"), ("b", None)]
    moved = ScanPatch(subject_id="p2", set_fields=frozenset({"subject_id"}))
    assert catalog.patch_scan(ours, "lungs", "b", moved).subject_id == "p2"


@pytest.mark.parametrize(("one", "same"), SAME_TEXT)
def test_text_that_looks_the_same_is_the_same_id_everywhere(catalog, ours, new_scan, one, same):
    image = {"subject_id": same, "study_id": same, "labels": {same: same}, "attributes": {same: 1}}
    (stored,) = store(catalog, ours, new_scan(1, **image))
    assert (stored.scan.subject_id, stored.scan.study_id) == (one, one)
    assert (stored.scan.labels, stored.scan.attributes) == ({one: one}, {one: 1})
    for text in (one, same):
        for where in (
            ScanFilter(subject_ids=(text,)),
            ScanFilter(labels={text: (text,)}),
            ScanFilter(attributes={text: (1,)}),
            ScanFilter(label_presence={text: True}),
            ScanFilter(none_of=(ScanFilter(not_study_ids=(text,)),)),
        ):
            assert len(catalog.row_ids_where(ours, "lungs", where)) == 1
    (again,) = store(catalog, ours, new_scan(1, subject_id=one))
    assert again.created is False
    assert len(catalog.erase_subject(ours, same).scans) == 1


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("field", ["subject_id", "study_id", "scan_id", "label", "task", "name"])
def test_text_that_cannot_be_told_apart_is_refused_at_every_field(
    catalog, ours, new_scan, text, field
):
    fields = {
        "label": {"labels": {"t": text}},
        "task": {"labels": {text: "c"}},
        "name": {"attributes": {text: 1}},
    }.get(field, {field: text})
    (answer,) = store(catalog, ours, new_scan(1, **fields))
    assert isinstance(answer, InputError)
    assert text.strip() in ("", ".", "..") or text not in str(answer)


def test_two_labels_that_become_one_are_refused(catalog, ours, new_scan):
    labels = {COMPOSED: "a", DECOMPOSED: "b"}
    (answer,) = store(catalog, ours, new_scan(1, labels=labels))
    assert isinstance(answer, InputError)


def test_uploaded_examples_are_erased_by_an_id_that_looks_the_same(catalog, ours, new_scan):
    vector = new_scan(1).embedding_D
    upload = NewExample("x", 0, sha256="0" * 64, subject_id=DECOMPOSED, embedding_D=vector)
    catalog.create_classifier(ours, "k", NewVersion("e", ("x",), b"n", {}, examples=(upload,)))
    assert catalog.erase_subject(ours, COMPOSED).uploads == 1
    with pytest.raises(UnknownItem):
        catalog.erase_subject(ours, DECOMPOSED)


def test_a_form_of_text_is_final_and_any_text_has_one():
    for text in [*REFUSED, *(same for _, same in SAME_TEXT)]:
        assert name_of(name_of(text)) == name_of(text)
    for _, same in SAME_TEXT:
        assert require_name(same, "it") == name_of(same)
    assert name_of("a\u200bb") == "a<U+200B>b"
    assert name_of("..") == "<U+002E><U+002E>"
