"""Figures equal their peers', respect groups, and are withheld where they would be guesses."""

import json

import interval_coverage
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, precision_score, roc_auc_score

from service.errors import InputError, NotEnoughExamples
from service.fewshot.duplicates import alike, near_duplicate_groups
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import area_under_roc, compute_metrics, confusion_rows
from service.fewshot.operating_points import at_threshold, operating_point
from service.fewshot.portable import to_plain
from service.fewshot.uncertainty.intervals import group_resamples, unseen_sum
from tests.fewshot.drawing import drawn, drawn_logits


def test_figures_equal_those_of_scikit_learn() -> None:
    held = drawn_logits(0, 200)
    found = compute_metrics(held)
    shares, guesses = softmax(held.logits_NC), held.logits_NC.argmax(1)
    assert found.balanced_accuracy.value == pytest.approx(
        balanced_accuracy_score(held.labels_N, guesses)
    )
    weights = (1 / np.bincount(held.labels_N))[held.labels_N]
    for c, of_class in enumerate(found.per_class):
        truth = held.labels_N == c
        assert of_class.auroc.value == pytest.approx(roc_auc_score(truth, shares[:, c]))
        assert of_class.precision.value == pytest.approx(
            precision_score(truth, guesses == c, sample_weight=weights)
        )
    json.dumps(to_plain(found))


def test_a_class_that_no_row_was_given_has_no_precision_and_says_why() -> None:
    labels = np.repeat([0, 1, 2], 20)
    logits = np.zeros((60, 3))
    logits[np.arange(60), np.where(labels == 2, 0, labels)] = 1.0
    found = compute_metrics(HeldOut(("a", "b", "c"), logits, labels, np.arange(60)))
    a, b, c = found.per_class
    assert (c.recall.value, c.precision) == (0, None)
    assert "no example" in c.not_evaluated_because
    assert (a.precision.value, b.precision.value) == (0.5, 1.0)
    assert (a.not_evaluated_because, b.not_evaluated_because) == (None, None)
    json.dumps(to_plain(found), allow_nan=False)


def test_auroc_counts_ties_half_and_weights_rows() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 5, 80) / 4, rng.random(80) < 0.4
    weights = rng.random((3, 80))
    peers = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(area_under_roc(scores, positive, weights), peers, atol=1e-12)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    many = drawn_logits(999, 100_000)
    truth = balanced_accuracy_score(many.labels_N, many.logits_NC.argmax(1))
    inside = [
        found.low <= truth <= found.high
        for found in (
            compute_metrics(drawn_logits(seed, 100)).balanced_accuracy for seed in range(20)
        )
    ]
    # 95 % wanted; percentile bootstraps of 100 rows run a little short, 20 draws scatter by 5 %.
    assert np.mean(inside) > 0.79


def called(labels: np.ndarray, guesses: np.ndarray) -> HeldOut:
    """One patient per row, each called by the head as given."""
    names = tuple(f"c{c}" for c in range(int(labels.max()) + 1))
    return HeldOut(names, np.eye(len(names))[guesses], labels, np.arange(len(labels)))


@pytest.mark.parametrize("setting", interval_coverage.SETTINGS[4:])
def test_intervals_hold_the_truth_where_one_class_has_few_groups(setting) -> None:
    found = interval_coverage.coverage(setting, 60)
    # With 5 groups a class is all right in a third of the draws; 60 draws of 95 % scatter by 3 %.
    assert min(covered for covered, _ in found.values()) > 0.87


def test_a_head_that_always_calls_one_class_is_not_certainly_at_chance() -> None:
    labels = np.repeat([0, 1, 2], 10)
    found = compute_metrics(called(labels, np.zeros(30, int)))
    accuracy, precision = found.balanced_accuracy, found.per_class[0].precision
    assert accuracy.value == precision.value == pytest.approx(1 / 3)
    assert accuracy.low < 0.25 < 0.44 < accuracy.high
    assert precision.low < 0.3 < 0.37 < precision.high


def test_many_classes_that_are_all_right_leave_less_open_than_one() -> None:
    labels = np.repeat(np.arange(10), 5)
    found = compute_metrics(called(labels, labels))
    # Fifty patients without an error: at most 7 %, by the bound of Clopper and Pearson.
    assert found.balanced_accuracy.low == pytest.approx(0.025 ** (1 / 50), abs=1e-6)
    assert found.per_class[0].recall.low == pytest.approx(0.025 ** (1 / 5))
    assert found.per_class[0].precision.low < 0.6


def test_what_no_group_shows_is_bounded_by_the_class_of_fewest_groups() -> None:
    assert unseen_sum(np.array([5])) == pytest.approx(1 - 0.025 ** (1 / 5))
    assert unseen_sum(np.array([100, 5])) == pytest.approx(1 - 0.025 ** (1 / 5))
    assert unseen_sum(np.array([], int)) == 0
    few, many = unseen_sum(np.array([5, 5])), unseen_sum(np.array([5, 5, 5]))
    assert unseen_sum(np.array([5])) < few < many < -np.log(0.025) / 5


def test_one_class_that_is_told_apart_perfectly_does_not_make_the_mean_area_certain() -> None:
    held = drawn_logits(1, 90)
    rare = held.rows(np.flatnonzero((held.labels_N != 2) | (np.cumsum(held.labels_N == 2) <= 5)))
    logits = rare.logits_NC.copy()
    logits[:, 2] = np.where(rare.labels_N == 2, 9.0, -9.0)
    found = compute_metrics(HeldOut(rare.classes, logits, rare.labels_N, rare.groups_N))
    assert found.per_class[2].auroc.value == 1
    assert found.auroc.low < found.auroc.value - (1 - found.per_class[2].auroc.low) / 3.001


def test_more_frames_of_the_same_patients_do_not_narrow_the_interval() -> None:
    held = drawn_logits(1, 60)
    copied = held.rows(np.repeat(np.arange(60), 8))
    one, many = compute_metrics(held).balanced_accuracy, compute_metrics(copied).balanced_accuracy
    assert many.value == pytest.approx(one.value)
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)


def test_a_class_of_few_groups_is_not_evaluated_and_the_lack_is_counted() -> None:
    held = drawn_logits(2, 90)
    rare = np.flatnonzero(held.labels_N == 2)[3:]
    found = compute_metrics(held.rows(np.setdiff1d(np.arange(90), rare)))
    assert found.balanced_accuracy is None
    assert found.missing_groups == {"c2": 2}
    assert found.per_class[2].recall is None
    assert found.per_class[2].missing_groups == 2
    assert found.per_class[0].recall is not None


def test_the_confusion_names_the_rows_of_each_cell_and_skips_rows_without_scores() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [np.nan, np.nan], [2.0, 0.0]])
    held = HeldOut(("a", "b"), logits, np.array([0, 0, 1, 1]), np.arange(4))
    found = compute_metrics(held)
    assert confusion_rows(held) == (((0,), (1,)), ((3,), ()))
    assert found.confusion == ((1, 1), (1, 0))
    assert found.scored == 3


def test_nothing_scored_gives_no_figure() -> None:
    found = compute_metrics(
        HeldOut(("a", "b"), np.full((2, 2), np.nan), np.array([0, 1]), np.arange(2))
    )
    assert found.balanced_accuracy is None
    assert found.missing_groups == {"a": 5, "b": 5}


def test_a_resample_draws_as_many_groups_as_there_are() -> None:
    times = group_resamples(np.array([3, 3, 9, 12]), resamples=50)
    assert times.shape == (51, 3)
    assert (times.sum(1) == 3).all()


@pytest.mark.parametrize("wanted", [0.8, 0.95, 1.0])
def test_an_operating_point_reaches_its_sensitivity_at_the_best_specificity(wanted) -> None:
    held = drawn_logits(3, 300)
    shares = softmax(held.logits_NC)
    found = operating_point(held, shares, "c1", "sensitivity", wanted)
    assert found.sensitivity.value >= wanted
    higher = np.nextafter(found.threshold, 1)
    assert at_threshold(held, shares, "c1", higher).sensitivity.value < wanted
    negative = held.labels_N != 1
    assert found.specificity.value == pytest.approx((shares[negative, 1] < found.threshold).mean())
    json.dumps(to_plain(found))


def test_impossible_operating_points_are_refused() -> None:
    held = drawn_logits(4, 60)
    shares = softmax(held.logits_NC)
    for name, wanted in (("unknown", 0.9), ("c0", 0.0), ("c0", 1.1)):
        with pytest.raises(InputError):
            operating_point(held, shares, name, "sensitivity", wanted)
    with pytest.raises(InputError):
        at_threshold(held, shares, "c0", -0.1)
    few = held.rows(np.flatnonzero(held.labels_N == 0))
    with pytest.raises(NotEnoughExamples):
        operating_point(few, softmax(few.logits_NC), "c0", "sensitivity", 0.9)


def test_near_duplicates_become_one_group_and_others_do_not() -> None:
    rows, _, groups = drawn(0, 10, 2.0, dim=128, rows=4)
    found = near_duplicate_groups(rows, min_similarity=0.9)
    expected = np.array([int(g) for g in groups])
    np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)


def test_a_chain_of_likenesses_is_one_group() -> None:
    angles = np.radians([0, 15, 30, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = near_duplicate_groups(rows, min_similarity=0.96)
    assert found[0] == found[1] == found[2] != found[3]
    assert len(alike(rows, min_similarity=0.96).first_P) == 2


def test_likenesses_outside_their_range_and_too_many_rows_are_refused() -> None:
    with pytest.raises(InputError):
        alike(np.eye(3), min_similarity=0)
    with pytest.raises(InputError):
        alike(np.ones((20_001, 2)), min_similarity=0.9)
