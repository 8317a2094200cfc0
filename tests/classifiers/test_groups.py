"""Which frames are of one patient, where some of their ids are missing."""

import hashlib

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import FitOptions, UnlabelledSelection
from service.classifiers.labelling.unlabelled import next_scans
from service.classifiers.store import ClassifierStore
from service.errors import ExamplesRefused

DIM, PATIENTS, FRAMES = 64, 20, 4
COSINE = 0.9
EVERY = ScanFilter()


def new_scan(scan_id, vector_D, label, subject_id=None, study_id=None):
    digest = hashlib.sha256(scan_id.encode()).hexdigest()
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    unit_D = (vector_D / np.linalg.norm(vector_D)).astype(np.float32)
    labels = {} if label is None else {"task": label}
    return NewScan(scan_id, image, unit_D, b"", subject_id, study_id, labels)


def frames_of(patients, ids_of, *, seed=0, noise=0.8, named="f", label_of=lambda p: "ab"[p % 2]):
    """Frames around a centre of each patient, which has nothing to do with the label."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(patients, DIM))
    return [
        new_scan(
            f"{named}{p}-{k}", centre + noise * rng.normal(size=DIM), label_of(p), *ids_of(p, k)
        )
        for p, centre in enumerate(centres)
        for k in range(FRAMES)
    ]


@pytest.fixture
def owner(catalog):
    owner = catalog.ensure_workspace("ours").workspace_id
    for name in ("wards", "pool"):
        catalog.create_collection(owner, name, encoder_id="e", dim=DIM)
    return owner


@pytest.fixture
def store(catalog):
    return ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=COSINE)


def add(catalog, owner, scans, collection="wards"):
    catalog.add_scans(owner, collection, scans, encoder_id="e")


def examples_of(store, owner):
    return store.sources.of_task(owner, "wards", "task", EVERY)


def fitted(store, owner, **options):
    return store.fit(
        owner, "k", examples_of(store, owner), Author(), FitOptions(**options)
    ).published


def unlabelled(p):
    return None


def half_without_subject(p, k):
    return (f"s{p}" if k < FRAMES // 2 else None, f"st{p}")


def test_frames_of_one_study_are_one_patient_whether_or_not_each_names_the_subject(
    catalog, owner, store
) -> None:
    add(catalog, owner, frames_of(PATIENTS, half_without_subject))
    report = fitted(store, owner).report
    assert report["groups"] == PATIENTS
    assert report["balanced_accuracy"] < 0.7  # labels at random; 0.9 with frames on both sides
    (warning,) = [text for text in report["warnings"] if text.startswith("subject ids")]
    assert "40 of 80 examples that have a study: 40 count with the subject" in warning


def test_a_study_that_names_two_subjects_joins_nobody_and_the_report_says_so(
    catalog, owner, store
) -> None:
    def ids_of(p, k):  # a site that numbers the studies of each patient
        return (None if p == 0 and k else f"s{p}", "1")

    add(catalog, owner, frames_of(PATIENTS, ids_of))
    report = fitted(store, owner).report
    assert report["groups"] == PATIENTS + 1
    assert "3 of them in studies that name several subjects" in report["warnings"][0]


def test_studies_alone_and_subjects_alone_need_no_warning(catalog, owner, store) -> None:
    add(catalog, owner, frames_of(PATIENTS, lambda p, k: (None, f"st{p}")))
    report = fitted(store, owner).report
    assert report["groups"] == PATIENTS
    assert not [text for text in report["warnings"] if "ids are missing" in text]


def test_an_evaluation_refuses_the_patient_of_a_study_that_was_learnt(
    catalog, owner, store
) -> None:
    """The version knows the study alone, and the evaluation says whose it is."""
    add(catalog, owner, frames_of(PATIENTS, lambda p, k: (None, f"st{p}")))
    fitted(store, owner)
    rng = np.random.default_rng(9)
    strangers = [("s3", "st3"), ("s3", None), ("s77", None)]
    scans = [
        new_scan(f"new{i}", rng.normal(size=DIM), "a", *ids) for i, ids in enumerate(strangers)
    ]
    add(catalog, owner, scans)
    picked = store.sources.of_scans(owner, "wards", [(f"new{i}", "a") for i in range(3)])
    evaluator = ClassifierEvaluator(catalog, store)
    with pytest.raises(ExamplesRefused) as refused:
        evaluator.evaluate(owner, store.open(owner, "k"), picked, allow_known=False)
    reasons = {item["scan_id"]: item["reason"] for item in refused.value.members["refused"]}
    assert reasons == {"new0": "same_study", "new1": "same_subject"}


def test_scans_to_label_come_from_new_patients_also_where_only_a_study_is_known(
    catalog, owner, store
) -> None:
    """Their frames are less like the labelled ones than those of the new patients."""
    parts = [
        frames_of(4, lambda p, k: (f"s{p}", f"st{p}"), named="l"),
        frames_of(4, lambda p, k: (None, f"st{p}"), seed=8, named="f", label_of=unlabelled),
        frames_of(4, lambda p, k: (None, f"u{p}"), named="u", label_of=unlabelled, noise=3),
    ]
    for part in parts:
        add(catalog, owner, part)
    found = next_scans(catalog, store.sources, owner, "wards", ["task"], 4)
    assert {scan.study_id for scan in found.scans} == {f"u{p}" for p in range(4)}


@pytest.mark.parametrize("with_ids", [True, False])
def test_frames_of_three_unlabelled_cines_are_three_patients_with_or_without_ids(
    catalog, owner, store, with_ids
) -> None:
    add(catalog, owner, frames_of(PATIENTS, lambda p, k: (f"s{p}", None)))
    rng = np.random.default_rng(1)
    cines = np.repeat(rng.normal(size=(3, DIM)), 40, axis=0)
    pool = [
        new_scan(
            f"u{u}", row_D + 0.05 * rng.normal(size=DIM), None, f"u{u // 40}" if with_ids else None
        )
        for u, row_D in enumerate(cines)
    ]
    add(catalog, owner, pool, "pool")
    version = fitted(store, owner, unlabelled=UnlabelledSelection("pool"))
    (head,) = version.report["labels"]
    assert "are of 3 other patients" in head["unlabelled"]["because"]


def test_unlabelled_frames_of_the_study_of_an_example_are_of_its_patient(
    catalog, owner, store
) -> None:
    add(catalog, owner, frames_of(PATIENTS, lambda p, k: (None, f"st{p}")))
    frames = frames_of(
        PATIENTS, lambda p, k: (f"s{p}", f"st{p}"), seed=7, named="u", label_of=unlabelled
    )
    add(catalog, owner, frames, "pool")
    version = fitted(store, owner, unlabelled=UnlabelledSelection("pool"))
    (head,) = version.report["labels"]
    assert "are of 0 other patients" in head["unlabelled"]["because"]
