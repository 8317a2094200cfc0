"""Loaded versions stay in memory only as long as what they were read from."""

import hashlib

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage
from service.classifiers.store import ClassifierStore

DIM = 8


@pytest.fixture
def owner(catalog):
    return catalog.ensure_workspace("ours").workspace_id


@pytest.fixture
def replicas(catalog, owner):
    """Two stores over one catalog, as of two processes; both have the classifier loaded."""
    catalog.create_collection(owner, "lungs", encoder_id="e", dim=DIM)
    scans = [new_scan(n, "ab"[n % 2]) for n in range(8)]
    catalog.add_scans(owner, "lungs", scans, encoder_id="e")
    stores = [
        ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)
        for _ in range(2)
    ]
    examples = stores[0].sources.of_task(owner, "lungs", "task", ScanFilter())
    stores[0].fit(owner, "triage", examples, Author())
    for store in stores:
        assert len(store.open(owner, "triage").support.examples) == 8
    return stores


def new_scan(n, label):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    vector = np.random.default_rng(n).standard_normal(DIM).astype(np.float32)
    vector[0] += 3 * (label == "a")
    vector /= np.linalg.norm(vector)
    return NewScan(f"s{n}", image, vector, b"", subject_id=f"P-{n}", labels={"task": label})


def test_an_erasure_by_another_process_is_in_the_next_answer(catalog, owner, replicas):
    catalog.erase_subject(owner, "P-3")  # nobody told these stores
    for store in replicas:
        support = store.open(owner, "triage").support
        assert "P-3" not in {example.subject_id for example in support.examples}
        assert len(support.examples) == 7


def test_a_version_stays_in_memory_while_nothing_was_deleted(owner, replicas):
    store = replicas[0]
    assert store.open(owner, "triage").model is store.open(owner, "triage").model


def test_a_deletion_in_another_workspace_leaves_a_version_in_memory(catalog, owner, replicas):
    model = replicas[0].open(owner, "triage").model
    other = catalog.ensure_workspace("theirs").workspace_id
    catalog.create_collection(other, "lungs", encoder_id="e", dim=DIM)
    catalog.add_scans(other, "lungs", [new_scan(9, "a")], encoder_id="e")
    catalog.erase_subject(other, "P-9")
    assert replicas[0].open(owner, "triage").model is model


def test_versions_that_nobody_asks_for_leave_the_memory_after_an_erasure(catalog, owner, replicas):
    store = replicas[0]
    before = store.open(owner, "triage").model
    store.forget_older()
    assert store.open(owner, "triage").model is before
    catalog.erase_subject(owner, "P-3")
    store.forget_older()
    assert store.loaded == 0
