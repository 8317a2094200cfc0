"""Ids of before a policy of pseudonyms are found and renamed, on every engine."""

from contextlib import suppress

import pytest

from service.catalog.access_records import SavedAnswer
from service.catalog.filter_records import ScanFilter
from service.catalog.given_ids.given_id_records import RenamedIds
from service.catalog.ids import subject_digest
from service.catalog.monitoring.monitoring_records import Outcome
from service.catalog.records import NewExample, NewVersion
from service.catalog.sqlite.backup import back_up
from service.errors import Conflict, UnknownItem
from service.gallery.pseudonymize import pseudonymize
from tests.catalog.conftest import ENCODER
from tests.catalog.test_stored_usage import Letting, Upper

SECRET = "Meier-Anna-1961"


@pytest.fixture
def classifier_id(catalog, ours, new_scan):
    """Of a classifier with an uploaded example, and an outcome, of the secret patient."""
    example = NewExample(
        "a", 0, sha256="0", subject_id=SECRET, study_id="1.2", embedding_D=new_scan(9).embedding_D
    )
    version = NewVersion(ENCODER, ("a", "b"), b"", {}, examples=(example,))
    found = catalog.create_classifier(ours, "k", version).classifier_id
    outcome = Outcome("prd_1", subject_digest(ours, SECRET), {"a": 1.0}, False, ("a",))
    catalog.put_outcomes(ours, found, 1, [outcome], keep=9)
    return found


def given(catalog, ours, kind="subject", limit=9, after=""):
    beginning = "P-" if kind == "subject" else "S-"
    return catalog.given_ids(ours, kind, beginning=beginning, limit=limit, after=after)


def test_every_id_becomes_a_pseudonym_wherever_it_is(
    catalog, place, ours, theirs, add, classifier_id
):
    add(1, scan_id="a", subject_id=SECRET, study_id="1.2")
    add(2, scan_id="b", subject_id="P-Meier")
    add(3, scan_id="c", subject_id="Schulz")
    add(4, scan_id="d", study_id="1.2")
    add(1, theirs, subject_id=SECRET)
    catalog.save_answer(ours, "key", SavedAnswer("0", 200, SECRET.encode()), keep_s=60)
    assert given(catalog, ours) == (SECRET, "Schulz")
    assert given(catalog, ours, limit=1, after=SECRET) == ("Schulz",)
    assert given(catalog, ours, "study") == ("1.2",)
    catalog.obey(Letting(pseudonyms=Upper()))
    steps = []
    renamed = pseudonymize(catalog, ours, lambda *step: steps.append(step))
    assert renamed == RenamedIds(ids=3, scans=4, examples=2, left=0)
    assert steps == [(2, 3), (3, 3)]
    scans = {
        s.scan_id: s for s in catalog.list_scans(ours, "lungs", where=ScanFilter(), limit=9).items
    }
    assert {name: (s.subject_id, s.study_id) for name, s in scans.items()} == {
        "a": (f"P-{SECRET}", "S-1.2"),
        "b": ("P-Meier", None),
        "c": ("P-Schulz", None),
        "d": (None, "S-1.2"),
    }
    assert [scans[name].version for name in "abcd"] == [3, 1, 2, 2]
    held, _ = catalog.subject(ours, f"P-{SECRET}", limit=9)
    assert (held.outcomes, held.study_ids, held.classifiers[0].uploads) == (1, ("S-1.2",), 1)
    assert catalog.find_answer(ours, "key") is None
    with pytest.raises(UnknownItem):
        catalog.subject(ours, SECRET, limit=9)
    assert pseudonymize(catalog, ours, lambda *step: None) == RenamedIds()
    assert len(catalog.list_scans(theirs, "lungs", where=ScanFilter(), limit=9).items) == 1
    catalog.erase_subject(theirs, SECRET)
    for plain in (SECRET, "Schulz", "1.2"):
        assert place.sql("SELECT 1 FROM scans WHERE ? IN (subject_id, study_id)", plain) == []


def test_renaming_stops_anywhere_and_goes_on(catalog, ours, add):
    for n in range(5):
        add(n, scan_id=f"s{n}", subject_id=f"Patient {n}", study_id=f"1.{n}")
    catalog.obey(Letting(pseudonyms=Upper()))

    def stop(done, total):
        raise InterruptedError

    with suppress(InterruptedError):
        pseudonymize(catalog, ours, stop)
    assert given(catalog, ours, "study") == tuple(f"1.{n}" for n in range(5))
    pseudonymize(catalog, ours, lambda *step: None)
    assert given(catalog, ours) == given(catalog, ours, "study") == ()


def test_a_scan_whose_image_is_stored_under_the_pseudonym_stays_and_is_counted(catalog, ours, add):
    add(1, scan_id="old", subject_id="Meier", study_id="1.2")
    add(2, scan_id="other", subject_id="Meier")
    catalog.obey(Letting(pseudonyms=Upper()))
    add(1, scan_id="new", subject_id="Meier")
    assert pseudonymize(catalog, ours, lambda *step: None) == RenamedIds(2, 2, 0, 1)
    subjects = {
        s.scan_id: s.subject_id
        for s in catalog.list_scans(ours, "lungs", where=ScanFilter(), limit=9).items
    }
    assert subjects == {"old": "Meier", "other": "P-Meier", "new": "P-Meier"}
    catalog.erase_scan(ours, "lungs", "new")
    assert pseudonymize(catalog, ours, lambda *step: None).scans == 1


def test_a_workspace_without_pseudonyms_renames_nothing(catalog, ours, add):
    add(1, subject_id="Meier")
    with pytest.raises(Conflict):
        pseudonymize(catalog, ours, lambda *step: None)
    assert given(catalog, ours) == ("Meier",)


@pytest.mark.sqlite
def test_an_erasure_by_the_given_id_reaches_backups_of_before_the_renaming(
    catalog, place, ours, add, new_scan, classifier_id, tmp_path
):
    add(1, scan_id="a", subject_id=SECRET)
    file, shelf = place.folder / "catalog.sqlite", tmp_path / "backups"
    older = back_up(file, shelf) / "catalog.sqlite"
    catalog.obey(Letting(pseudonyms=Upper()))
    pseudonymize(catalog, ours, lambda *step: None)
    assert SECRET.encode() in older.read_bytes()
    catalog.erase_subject(ours, f"P-{SECRET}", also=[SECRET])
    back_up(file, shelf)
    left = older.read_bytes()
    assert SECRET.encode() not in left  # the scan by its own digest, the upload by that of the id
    assert new_scan(9).embedding_D.tobytes() not in left
