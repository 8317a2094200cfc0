"""What counts as a near-duplicate is a number of the encoder: fits, refusals and reviews use it."""

import hashlib

import numpy as np
import pytest

from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author, NewScan, ScanImage, ScanPatch
from service.classifiers.evaluation import ClassifierEvaluator
from service.classifiers.fitting import UnlabelledSelection, grouped
from service.classifiers.labelling.near_duplicates import PairRequest
from service.classifiers.labelling.unlabelled import selected_pool
from service.classifiers.requests import ReviewRequest
from service.classifiers.review import LabelReview
from service.classifiers.store import ClassifierStore
from service.errors import ExamplesRefused

PAIRS, DIM = 8, 16
COSINE = 0.91  # of the two frames of a pair; frames of two pairs are at right angles
EVERY = ScanFilter()


def new_scan(scan_id, vector_D, labels, subject_id=None):
    digest = hashlib.sha256(scan_id.encode()).hexdigest()
    image = ScanImage(digest, "image", "png", 64, 48, digest[::-1])
    return NewScan(scan_id, image, vector_D, b"", subject_id=subject_id, labels=labels)


@pytest.fixture
def owner(catalog):
    """``first`` and ``second`` hold one frame of each pair, ``both`` both, without patients."""
    owner = catalog.ensure_workspace("ours").workspace_id
    axes = np.eye(DIM, dtype=np.float32)
    first_PD = axes[:PAIRS]
    second_PD = COSINE * first_PD + np.sqrt(1 - COSINE**2).astype(np.float32) * axes[PAIRS:]
    parts = {"first": [first_PD], "second": [second_PD], "both": [first_PD, second_PD]}
    for name, rows in parts.items():
        catalog.create_collection(owner, name, encoder_id="e", dim=DIM)
        scans = [
            new_scan(f"{name}{part}-{pair}", rows_PD[pair], {"task": "ab"[pair % 2]})
            for part, rows_PD in enumerate(rows)
            for pair in range(PAIRS)
        ]
        catalog.add_scans(owner, name, scans, encoder_id="e")
    return owner


def store_of(catalog, cosine):
    return ClassifierStore(catalog, encoder_id="e", dim=DIM, near_duplicate_cosine=cosine)


def fitted(store, owner, collection, name="k"):
    examples = store.sources.of_task(owner, collection, "task", EVERY)
    return store.fit(owner, name, examples, Author()).published


@pytest.mark.parametrize(("cosine", "groups"), [(0.9, PAIRS), (0.92, 2 * PAIRS)])
def test_frames_without_patients_are_grouped_from_the_cosine_of_the_encoder(
    catalog, owner, cosine, groups
) -> None:
    version = fitted(store_of(catalog, cosine), owner, "both")
    grouping = version.report["grouping"]
    assert grouping["similarity"] == cosine
    assert grouping["joined_by_similarity"] == (2 * PAIRS if groups == PAIRS else 0)
    assert version.report["labels"][0]["groups"] == groups


def test_a_refit_uses_the_cosine_of_the_encoder_that_is_loaded(catalog, owner) -> None:
    fitted(store_of(catalog, 0.9), owner, "both")
    catalog.erase_scan(owner, "both", "both0-0")
    _, version = store_of(catalog, 0.92).refit(owner, "k", Author())
    assert version.report["grouping"]["similarity"] == 0.92


def test_an_evaluation_refuses_copies_from_the_cosine_of_the_encoder(catalog, owner) -> None:
    def evaluated(cosine):
        store = store_of(catalog, cosine)
        evaluator = ClassifierEvaluator(catalog, store)
        examples = store.sources.of_task(owner, "second", "task", EVERY)
        return evaluator.evaluate(owner, store.open(owner, "k"), examples, allow_known=False)

    fitted(store_of(catalog, 0.9), owner, "first")
    with pytest.raises(ExamplesRefused, match="near_copy"):
        evaluated(0.9)
    assert evaluated(0.92).examples == PAIRS


@pytest.mark.parametrize(("cosine", "found"), [(0.9, 1), (0.92, 0)])
def test_labels_that_conflict_are_searched_from_the_cosine_of_the_encoder(
    catalog, owner, cosine, found
) -> None:
    store = store_of(catalog, cosine)
    catalog.patch_scan(owner, "both", "both0-0", ScanPatch({"task": "b"}))
    fitted(store, owner, "both")
    review = LabelReview(catalog, store, ClassifierEvaluator(catalog, store))
    request = ReviewRequest("k", 1, "conflict", 10)
    assert review.review(owner, request).total == found


@pytest.mark.parametrize(("cosine", "pairs"), [(0.9, PAIRS), (0.92, 0)])
def test_pairs_are_listed_from_the_cosine_of_the_encoder_or_from_that_of_the_request(
    catalog, owner, cosine, pairs
) -> None:
    store = store_of(catalog, cosine)
    review = LabelReview(catalog, store, ClassifierEvaluator(catalog, store))
    found = review.near_duplicates(owner, "both", PairRequest(50))
    assert (found.min_similarity, found.total) == (cosine, pairs)
    asked = review.near_duplicates(owner, "both", PairRequest(50, 0.91))
    assert (asked.min_similarity, asked.total) == (0.91, PAIRS)


@pytest.mark.parametrize(("cosine", "left_out"), [(0.9, PAIRS), (0.92, 0)])
def test_copies_of_labelled_scans_are_not_offered_from_the_cosine_of_the_encoder(
    catalog, owner, cosine, left_out
) -> None:
    store = store_of(catalog, cosine)
    for pair in range(PAIRS):
        catalog.patch_scan(owner, "both", f"both1-{pair}", ScanPatch({"task": None}))
    review = LabelReview(catalog, store, ClassifierEvaluator(catalog, store))
    assert review.next_scans(owner, "both", ["task"], 50).left_out == left_out


@pytest.mark.parametrize(("cosine", "joined"), [(0.9, PAIRS), (0.92, 0)])
def test_unlabelled_copies_join_a_known_patient_from_the_cosine_of_the_encoder(
    catalog, owner, cosine, joined
) -> None:
    store = store_of(catalog, cosine)
    catalog.create_collection(owner, "known", encoder_id="e", dim=DIM)
    vectors_PD = np.eye(DIM, dtype=np.float32)[:PAIRS]
    scans = [
        new_scan(f"k{pair}", vectors_PD[pair], {"task": "ab"[pair % 2]}, f"P-{pair}")
        for pair in range(PAIRS)
    ]
    catalog.add_scans(owner, "known", scans, encoder_id="e")
    examples = store.sources.of_task(owner, "known", "task", EVERY)
    pool = selected_pool(catalog, store.sources, owner, UnlabelledSelection("second"))
    unlabelled = pool.beside(examples, grouped(examples, cosine), cosine)
    assert len(set(unlabelled.groups) & set(examples.groups)) == joined
