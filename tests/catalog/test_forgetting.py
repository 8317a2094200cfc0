"""Every deletion clears saved answers at once, and no byte is left of what it deletes."""

import json
import time

import numpy as np
import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.records import NewExample, NewVersion, PolicyPatch, ScanPatch
from service.fewshot.heldout import HeadScores, HeldOut, OutOfFold, without_scores
from tests.catalog.set_clock import SetClock

SECRET = "SECRET-7f3a"


def expire(catalog, ours):
    clock = SetClock()
    days = PolicyPatch(retention_days=30, set_fields=frozenset({"retention_days"}))
    catalog.patch_collection(ours, "lungs", days)
    catalog.expire(clock=clock)
    clock.run(days=31)
    assert len(catalog.expire(clock=clock)) == 1


def patch(**fields):
    def run(catalog, ours):
        catalog.patch_scan(ours, "lungs", "a", ScanPatch(**fields))

    return run


DELETIONS = {
    "scan": lambda catalog, ours: catalog.erase_scan(ours, "lungs", "a"),
    "study": lambda catalog, ours: catalog.erase_study(ours, f"{SECRET}-study"),
    "subject": lambda catalog, ours: catalog.erase_subject(ours, f"{SECRET}-subject"),
    "collection": lambda catalog, ours: catalog.delete_collection(ours, "lungs"),
    "expiry": expire,
}
CORRECTIONS = {
    "label": ("finding", patch(labels={"finding": None})),
    "other class": ("finding", patch(labels={"finding": "cyst"})),
    "attribute": ("note", patch(attributes={"note": None})),
    "subject": ("subject", patch(subject_id="p1", set_fields=frozenset({"subject_id"}))),
    "study": ("study", patch(set_fields=frozenset({"study_id"}))),
}


@pytest.fixture
def ward(catalog, ours, add):
    """A scan full of secrets among others, and the answer that its upload got."""
    fields = {
        "scan_id": "a",
        "subject_id": f"{SECRET}-subject",
        "study_id": f"{SECRET}-study",
        "labels": {"finding": f"{SECRET}-finding"},
        "attributes": {"note": f"{SECRET}-note"},
        "thumbnail_jpeg": SECRET.encode() * 900,
    }
    for n in range(40):
        add(n, scan_id=f"s{n}", subject_id=f"p{n}", labels={"t": "x"})
    add(99, **fields)
    said = {name: value for name, value in fields.items() if name != "thumbnail_jpeg"}
    answer = SavedAnswer("d", 200, json.dumps(said).encode())
    catalog.save_answer(ours, "idem", answer, keep_s=60)


@pytest.mark.parametrize("name", sorted(DELETIONS))
def test_a_deletion_leaves_no_byte_behind(catalog, place, ours, ward, name):
    assert place.holds(SECRET)
    DELETIONS[name](catalog, ours)
    assert catalog.find_answer(ours, "idem") is None
    assert not place.holds(SECRET)
    catalog.close()
    assert not place.holds(SECRET)


@pytest.mark.parametrize("name", sorted(CORRECTIONS))
def test_a_correction_leaves_no_byte_of_what_it_replaces(catalog, place, ours, ward, name):
    word, correct = CORRECTIONS[name]
    correct(catalog, ours)
    assert not place.holds(f"{SECRET}-{word}")


def test_a_first_label_keeps_saved_answers(catalog, ours, ward):
    patch(labels={"more": "x"})(catalog, ours)
    assert catalog.find_answer(ours, "idem") is not None


def test_another_workspace_keeps_its_saved_answers(catalog, ours, theirs, ward):
    catalog.save_answer(theirs, "idem", SavedAnswer("d", 200, b"{}"), keep_s=60)
    catalog.erase_scan(ours, "lungs", "a")
    assert catalog.find_answer(theirs, "idem") is not None


def test_a_deleted_classifier_leaves_no_byte_behind(catalog, place, ours, new_scan):
    vector = new_scan(1).embedding_D
    upload = NewExample(SECRET, 0, subject_id=SECRET, embedding_D=vector)
    version = NewVersion("e", (SECRET,), SECRET.encode(), {"of": SECRET}, examples=(upload,))
    catalog.create_classifier(ours, "k", version)
    catalog.save_answer(ours, "idem", SavedAnswer("d", 201, SECRET.encode()), keep_s=60)
    assert place.holds(vector)
    catalog.delete_classifier(ours, "k")
    assert not place.holds(SECRET)
    assert not place.holds(vector)


@pytest.mark.sqlite
def test_the_log_is_emptied_by_a_write_soon_after_a_long_reader(catalog, place, ours, ward):
    with catalog._database.read() as reader:
        reader.execute("SELECT count(*) FROM scans").fetchone()
        catalog.erase_scan(ours, "lungs", "a")
        assert place.holds(SECRET)
    deadline = time.monotonic() + 20
    while place.holds(SECRET) and time.monotonic() < deadline:
        catalog.ensure_workspace("next")
    assert not place.holds(SECRET)


@pytest.fixture
def scored():
    """Out-of-fold scores of four examples, each a number that can be told from the others."""
    logits_NC = np.array([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0], [4.0, -4.0]])
    labels_N, groups_N = np.array([0, 1, 0, 1]), np.arange(4)
    nested = HeldOut(("x", "y"), logits_NC, labels_N, groups_N)
    chosen = HeldOut(("x", "y"), logits_NC / 2, labels_N, groups_N)
    return OutOfFold({None: HeadScores(nested, chosen)})


def test_the_scores_of_erased_examples_go_and_those_of_others_stay(opened, new_scan, scored):
    catalog = opened(redact=without_scores)
    ours = catalog.ensure_workspace("ours").workspace_id
    catalog.create_collection(ours, "lungs", encoder_id="enc_1", dim=8)
    scans = [new_scan(n, scan_id=f"s{n}", subject_id=f"p{n}") for n in range(3)]
    catalog.add_scans(ours, "lungs", scans, encoder_id="enc_1")
    examples = [NewExample("xy"[n % 2], n, scan=("lungs", f"s{n}")) for n in range(3)]
    vector = new_scan(9).embedding_D
    examples.append(NewExample("y", 3, subject_id="p0", embedding_D=vector))
    version = NewVersion(
        "e", ("x", "y"), b"n", {}, out_of_fold=scored.to_bytes(), examples=tuple(examples)
    )
    catalog.create_classifier(ours, "k", version)
    catalog.erase_subject(ours, "p0")
    catalog.erase_scan(ours, "lungs", "s2")
    left = OutOfFold.from_bytes(catalog.get_version(ours, "k", 1).out_of_fold).heads[None]
    for scores, factor in ((left.nested, 1), (left.chosen, 0.5)):
        assert scores.is_scored.tolist() == [False, True, False, False]
        np.testing.assert_array_equal(scores.logits_NC[1], np.array([2.0, -2.0]) * factor)


def test_scores_that_nobody_can_read_go_as_a_whole(scored):
    assert without_scores(b"damaged", [0]) == b""
    whole = without_scores(scored.to_bytes(), range(4))
    assert not OutOfFold.from_bytes(whole).heads[None].nested.is_scored.any()


def test_an_answer_to_a_request_during_a_deletion_is_not_saved(catalog, ours, theirs, ward):
    before = {owner: catalog.forgettings(owner) for owner in (ours, theirs)}
    catalog.erase_scan(ours, "lungs", "a")
    for owner in (ours, theirs):
        answer = SavedAnswer("d", 200, SECRET.encode())
        catalog.save_answer(owner, "late", answer, keep_s=60, forgettings=before[owner])
    assert catalog.find_answer(ours, "late") is None
    assert catalog.find_answer(theirs, "late") is not None
    catalog.save_answer(ours, "next", answer, keep_s=60, forgettings=catalog.forgettings(ours))
    assert catalog.find_answer(ours, "next") is not None


def test_a_renamed_class_leaves_no_byte_of_its_old_name(catalog, place, ours, ward):
    catalog.rename_label(ours, "lungs", "finding", f" {SECRET}-finding", "cyst", dry_run=True)
    assert catalog.find_answer(ours, "idem") is not None
    renamed = catalog.rename_label(ours, "lungs", "finding", f" {SECRET}-finding", "cyst ")
    assert renamed.renamed == 1
    assert catalog.get_scan(ours, "lungs", "a").labels == {"finding": "cyst"}
    assert catalog.find_answer(ours, "idem") is None
    assert not place.holds(f"{SECRET}-finding")
