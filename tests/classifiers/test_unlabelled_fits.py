"""Versions that unlabelled scans took part in: what they store, keep, and lose by an erasure."""

import hashlib

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.examples import Changes, Reference
from service.classifiers.fitting import FitOptions, UnlabelledSelection
from service.classifiers.portable_versions import export_document
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import ThresholdRequest, Thresholds
from service.errors import EncoderMismatch, UnknownItem

DIM = 8
LABELLED, UNLABELLED = 6, 70


def new_scan(n, labels):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    vector = np.random.default_rng(n).standard_normal(DIM).astype(np.float32)
    vector[0] += 2 * (n % 2) - 1
    vector /= np.linalg.norm(vector)
    return NewScan(f"s{n}", image, vector, b"", subject_id=f"P-{n}", labels=labels)


@pytest.fixture
def owner(catalog):
    """A workspace with 6 labelled and 70 unlabelled scans, each of a patient of its own."""
    owner = catalog.ensure_workspace("ours").workspace_id
    catalog.create_collection(owner, "lungs", encoder_id="e", dim=DIM)
    catalog.create_collection(owner, "other", encoder_id="another", dim=DIM)
    scans = [
        new_scan(n, {"task": "ab"[n % 2]} if n < LABELLED else {})
        for n in range(LABELLED + UNLABELLED)
    ]
    catalog.add_scans(owner, "lungs", scans, encoder_id="e")
    return owner


@pytest.fixture
def store(catalog):
    return ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)


def fit(store, owner, collection="lungs", where=None):
    selection = UnlabelledSelection(collection, where or ScanFilter(), {"written": True})
    examples = store.sources.of_task(owner, "lungs", "task", ScanFilter())
    return store.fit(owner, "triage", examples, Author(), FitOptions(unlabelled=selection))


def listed(catalog, owner, number):
    scans, _ = catalog.version_unlabelled(owner, "triage", number, dim=DIM)
    return {scan.scan[1] for scan in scans}


def test_a_version_lists_its_unlabelled_scans_and_tells_whether_they_taught(catalog, owner, store):
    version = fit(store, owner).published
    assert version.settings["unlabelled"] == {
        "collection": "lungs",
        "filter": {"written": True},
        "scans": UNLABELLED,
    }
    assert version.examples == LABELLED
    names = {f"s{n}" for n in range(LABELLED, LABELLED + UNLABELLED)}
    assert listed(catalog, owner, 1) == names
    (head,) = version.report["labels"]
    assert head["unlabelled"]["scans"] == UNLABELLED
    assert head["unlabelled"]["because"]
    assert len(store.open(owner, "triage").support.examples) == LABELLED


def test_a_filter_that_names_patients_is_not_stored(catalog, owner, store):
    where = ScanFilter(not_subject_ids=("P-7",))
    version = fit(store, owner, where=where).published
    assert version.settings["unlabelled"]["filter"] is None
    assert "s7" not in listed(catalog, owner, 1)


@pytest.mark.parametrize(("name", "error"), [("none", UnknownItem), ("other", EncoderMismatch)])
def test_scans_of_no_collection_or_another_encoder_are_refused(owner, store, name, error):
    with pytest.raises(error):
        fit(store, owner, name)


def test_later_versions_keep_the_scans_until_they_are_given_others(catalog, owner, store):
    fit(store, owner)
    drop = Changes(drop=(Reference(scan=("lungs", "s0")),))
    store.extend(owner, "triage", drop, Author())
    assert listed(catalog, owner, 2) == listed(catalog, owner, 1)
    none = FitOptions(unlabelled=UnlabelledSelection())
    _, third = store.extend(owner, "triage", Changes(), Author(), options=none)
    assert "unlabelled" not in third.settings
    assert listed(catalog, owner, 3) == set()
    rows = catalog.version_unlabelled(owner, "triage", 1, dim=DIM)[0]
    again = catalog.version_unlabelled(owner, "triage", 2, dim=DIM)[0]
    assert [r.example_id for r in rows] == [r.example_id for r in again]  # stored once


def test_a_scan_that_becomes_an_example_is_no_longer_unlabelled(catalog, owner, store):
    fit(store, owner)
    added = store.sources.of_scans(owner, "lungs", [("s9", "b")])
    store.extend(owner, "triage", Changes(add=added), Author())
    assert "s9" not in listed(catalog, owner, 2)


def test_an_erasure_names_the_classifier_and_a_refit_learns_without_the_scan(catalog, owner, store):
    fit(store, owner)
    receipt = catalog.erase_subject(owner, "P-20")
    assert receipt.classifiers == ("triage",)
    _, version = store.refit(owner, "triage", Author())
    assert (version.settings["not_kept"], version.settings["unlabelled_not_kept"]) == (0, 1)
    assert version.settings["unlabelled"]["scans"] == UNLABELLED - 1
    assert "s20" not in listed(catalog, owner, 2)
    assert store.refit(owner, "triage", Author()) is None


def test_a_version_with_other_thresholds_has_the_same_scans(catalog, owner, store):
    fit(store, owner)
    request = ThresholdRequest("a", "threshold", 0.4)
    Thresholds(catalog, store, ClassifierEvaluator(catalog, store)).store(
        owner, "triage", [request], Author(), base=1
    )
    assert listed(catalog, owner, 2) == listed(catalog, owner, 1)


def test_an_export_has_the_reason_and_no_scan_and_can_be_imported(owner, store):
    fit(store, owner)
    loaded = store.open(owner, "triage")
    document = export_document(loaded)
    assert "s20" not in str(document["card"])
    copy = store.import_document(owner, "copy", document, Author()).published
    assert (
        copy.report["labels"][0]["unlabelled"] == loaded.version.report["labels"][0]["unlabelled"]
    )
