"""A fit beside an erasure has learnt from nobody who was erased before it was stored."""

import hashlib

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewScan, ScanImage
from service.classifiers.erased_meanwhile import TRIES
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import FitOptions, UnlabelledSelection
from service.classifiers.registry import ClassifierRegistry
from service.classifiers.requests import ExampleSelection, FitRequest, RefitFromSource
from service.classifiers.signing.signing_keys import SigningKeys
from service.classifiers.store import ClassifierStore
from service.classifiers.thresholds import Thresholds
from service.errors import Erased, UnknownItem

DIM = 8
LABELLED, UNLABELLED = 12, 3
TASK = ExampleSelection("lungs", "task")


def new_scan(n, labels):
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    vector = np.random.default_rng(n).standard_normal(DIM).astype(np.float32)
    vector[0] += 4 * (n % 2) - 2
    vector /= np.linalg.norm(vector)
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    return NewScan(f"s{n}", image, vector, b"", subject_id=f"P-{n}", labels=labels)


@pytest.fixture
def owner(catalog):
    """A workspace with labelled and unlabelled scans, each of a patient of its own."""
    owner = catalog.ensure_workspace("ours").workspace_id
    catalog.create_collection(owner, "lungs", encoder_id="e", dim=DIM)
    store(catalog, owner, range(LABELLED))
    scans = [new_scan(LABELLED + n, {}) for n in range(UNLABELLED)]
    catalog.add_scans(owner, "lungs", scans, encoder_id="e")
    return owner


def store(catalog, owner, numbers):
    scans = [new_scan(n, {"task": "ab"[n % 2]}) for n in numbers]
    catalog.add_scans(owner, "lungs", scans, encoder_id="e")


@pytest.fixture
def registry(catalog):
    fits = ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=0.9)
    evaluator = ClassifierEvaluator(catalog, fits)
    thresholds = Thresholds(catalog, fits, evaluator)
    return ClassifierRegistry(catalog, fits, evaluator, thresholds, SigningKeys(catalog))


@pytest.fixture
def erase(catalog, owner):
    """Erase the next of these patients at each call, as long as there is one."""

    def of(*patients):
        left = list(patients)
        return lambda *_: left and catalog.erase_subject(owner, left.pop(0))

    return of


def request(**options):
    return FitRequest("k", TASK, FitOptions(**options))


def test_a_fit_that_read_a_patient_who_is_erased_before_it_is_stored_is_fitted_again(
    catalog, owner, registry, erase
):
    made = registry.fit(owner, request(), before_storing=erase("P-0"))
    assert made.published.examples == LABELLED - 1
    examples = catalog.version_examples(owner, "k", 1)
    assert {e.scan[1] for e in examples} == {f"s{n}" for n in range(1, LABELLED)}
    assert all(e.is_kept for e in examples)
    with pytest.raises(UnknownItem):  # nothing is left of the patient
        catalog.erase_subject(owner, "P-0")


def test_an_unlabelled_scan_of_an_erased_patient_takes_no_part(catalog, owner, registry, erase):
    pool = UnlabelledSelection("lungs")
    made = registry.fit(owner, request(unlabelled=pool), before_storing=erase(f"P-{LABELLED}"))
    assert made.published.settings["unlabelled"]["scans"] == UNLABELLED - 1


def test_a_fit_beside_erasures_that_do_not_end_is_given_up(catalog, owner, registry, erase):
    patients = [f"P-{n}" for n in range(TRIES)]
    with pytest.raises(Erased, match="try again"):
        registry.fit(owner, request(), before_storing=erase(*patients))
    with pytest.raises(UnknownItem):
        catalog.get_classifier(owner, "k")
    assert registry.fit(owner, request()).published.examples == LABELLED - TRIES


def test_a_refit_from_the_source_leaves_out_who_is_erased_while_it_runs(
    catalog, owner, registry, erase
):
    registry.fit(owner, request())
    store(catalog, owner, (100, 101))
    refit = RefitFromSource("k")
    _, version = registry.refit(owner, refit, before_fit=erase("P-100"))
    assert (version.number, version.examples) == (2, LABELLED + 1)
    learnt = {e.scan[1] for e in catalog.version_examples(owner, "k", 2)}
    assert "s101" in learnt
    assert "s100" not in learnt
    labelled = catalog.labelled(owner, "lungs", where=ScanFilter(), most=99)
    assert learnt <= set(labelled.scan_ids)
