"""Probabilities, sets and margins keep their word on rows that were not fitted."""

import math
from dataclasses import replace

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from service.errors import InputError
from service.fewshot.calibrator import (
    calibrate,
    choose_margin,
    expected_calibration_error,
    fit_temperature,
    margins,
)
from service.fewshot.conformal import Conformal, conformal, items_needed, nonconformity
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.novelty import novelty
from tests.fewshot.drawing import drawn, drawn_logits


class Given(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier whose scores are its input."""

    def fit(self, scores, labels):
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, scores):
        return scores

    def predict(self, scores):
        return self.classes_[scores.argmax(1)]

    def predict_proba(self, scores):
        return softmax(scores)


def test_the_temperature_equals_that_of_scikit_learn() -> None:
    held = drawn_logits(0, 300, sharpness=3.0)
    ours = fit_temperature(held.logits_NC, held.labels_N, np.ones(300), prior_sd=math.inf)
    peer = CalibratedClassifierCV(
        FrozenEstimator(Given().fit(held.logits_NC, held.labels_N)), method="temperature"
    ).fit(held.logits_NC, held.labels_N)
    # Both minimise the same log loss by a bounded search.
    np.testing.assert_allclose(
        softmax(held.logits_NC / ours), peer.predict_proba(held.logits_NC), atol=1e-3
    )


@pytest.mark.parametrize("sharpness", [0.3, 3.0])
def test_calibration_finds_the_temperature_that_made_the_labels(sharpness: float) -> None:
    found = calibrate(drawn_logits(1, 2000, sharpness=sharpness))
    assert found.temperature == pytest.approx(sharpness, rel=0.1)
    assert found.before is not None
    assert found.after is not None
    assert found.after.ece < 0.04 < found.before.ece
    assert found.after.brier < found.before.brier


def test_few_examples_leave_the_temperature_near_one() -> None:
    few, many = drawn_logits(2, 12, sharpness=20.0), drawn_logits(2, 1000, sharpness=20.0)
    assert 1 < calibrate(few).temperature < calibrate(many).temperature


def test_too_few_groups_are_not_calibrated_and_the_lack_is_counted() -> None:
    held = drawn_logits(3, 30)
    found = calibrate(HeldOut(held.classes, held.logits_NC, held.labels_N, np.arange(30) // 5))
    assert not found.calibrated
    assert (found.temperature, found.missing_groups) == (1.0, 4)
    assert found.not_calibrated_because == "6 groups with scores; a temperature needs 10"
    np.testing.assert_allclose(found.probabilities(held.logits_NC), softmax(held.logits_NC))


def test_copies_of_a_frame_change_no_temperature() -> None:
    held = drawn_logits(4, 60, sharpness=3.0)
    times = np.where(np.arange(60) < 6, 30, 1)
    copied = HeldOut(
        held.classes,
        np.repeat(held.logits_NC, times, axis=0),
        np.repeat(held.labels_N, times),
        np.repeat(held.groups_N, times),
    )
    assert calibrate(copied).temperature == pytest.approx(calibrate(held).temperature, rel=1e-3)


def test_calibration_error_of_a_hand_made_case() -> None:
    # Confidence 0.8 twice with one right: |0.5 - 0.8|; 0.6 once and right: 0.4.
    shares = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    found = expected_calibration_error(shares, np.array([0, 1, 1]), np.full(3, 1 / 3))
    assert found == pytest.approx((0.6 + 0.4) / 3)


@pytest.mark.parametrize(("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19)])
def test_a_coverage_needs_enough_items(coverage: float, needed: int) -> None:
    assert items_needed(coverage) == needed


@pytest.mark.parametrize("coverage", [0.0, 1.0, math.nan])
def test_an_impossible_coverage_is_refused(coverage: float) -> None:
    with pytest.raises(InputError):
        items_needed(coverage)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_equal_those_of_mapie(coverage: float) -> None:
    held, test = drawn_logits(5, 101), drawn_logits(6, 300)
    plain = replace(conformal(held, softmax(held.logits_NC)), prior_P=np.empty(0))
    ours = plain.sets(softmax(test.logits_NC), coverage, mode="marginal")
    peer = SplitConformalClassifier(
        Given().fit(held.logits_NC, held.labels_N),
        confidence_level=coverage,
        conformity_score="lac",
        prefit=True,
    ).conformalize(held.logits_NC, held.labels_N)
    theirs = peer.predict_set(test.logits_NC)[1][:, :, 0]
    # Ours are never empty: the most probable class is always in.
    theirs[np.arange(300), test.logits_NC.argmax(1)] = True
    np.testing.assert_array_equal(ours.members_NC, theirs)


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("mode", ["marginal", "per_class"])
def test_sets_cover_as_often_as_they_say(method, mode) -> None:
    covered = []
    for seed in range(30):
        held, test = drawn_logits(seed, 120), drawn_logits(seed + 1000, 400)
        made = conformal(held, softmax(held.logits_NC), method=method)
        sets = made.sets(softmax(test.logits_NC), 0.9, mode=mode)
        covered.append(sets.members_NC[np.arange(400), test.labels_N])
    # 30 calibrations of 120 items: one standard error of the mean is about 0.005.
    assert np.mean(covered) > 0.885
    if method == "lac":
        assert np.mean(covered) < 0.94


def _hard_rare_class(rng: np.random.Generator, common: int, rare: int) -> HeldOut:
    labels_N = np.repeat([0, 1], (common, rare))
    margins_N = np.where(labels_N == 0, -2.0, 0.3) + rng.normal(size=len(labels_N))
    logits_NC = np.stack([-margins_N, margins_N], axis=1)
    return HeldOut(("common", "rare"), logits_NC, labels_N, np.arange(len(labels_N)))


@pytest.mark.parametrize(("common", "rare"), [(100, 8), (100, 4), (40, 6)])
def test_a_class_of_few_groups_counts_as_much_as_a_common_one(common: int, rare: int) -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(60):
        held, test = _hard_rare_class(rng, common, rare), _hard_rare_class(rng, 200, 200)
        sets = conformal(held, softmax(held.logits_NC)).sets(softmax(test.logits_NC), 0.9)
        assert not sets.per_class
        inside_N = sets.members_NC[np.arange(400), test.labels_N]
        covered.append([inside_N[test.labels_N == c].mean() for c in (0, 1)])
    of_common, of_rare = np.mean(covered, axis=0)
    assert (of_common + of_rare) / 2 > 0.9
    assert of_rare > 0.8


def test_versions_without_a_prior_keep_their_threshold_over_all_items() -> None:
    scores = np.concatenate([np.linspace(0.2, 0.7, 100), np.full(8, 0.9)])
    old = Conformal("lac", ("common", "rare"), scores, np.repeat([0, 1], (100, 8)))
    rank = math.ceil(109 * 0.9)
    rare = 1 - scores[rank - 1] + np.array([1e-9, -1e-9])
    asked = np.stack([1 - rare, rare], axis=1)
    assert old.sets(asked, 0.9).members_NC.tolist() == [[True, True], [True, False]]
    # With a prior the eight rare ones count as much as the hundred.
    assert replace(old, prior_P=scores).sets(asked, 0.9).members_NC.all()


def test_too_few_items_are_refused_with_the_number_that_lacks() -> None:
    made = Conformal("lac", ("a", "b"), np.linspace(0, 1, 10), np.array([0] * 8 + [1] * 2))
    given = np.array([[0.7, 0.3]])
    per_class = made.sets(given, 0.9, mode="per_class")
    assert per_class.members_NC is None
    assert per_class.missing == {"a": 1, "b": 7}
    assert "not enough calibration examples" in str(per_class.not_enough_because)
    assert made.sets(given, 0.95).missing == {"any class": 9}
    assert made.sets(given, 0.9).members_NC is not None


def _held_out_all_right(groups_per_class: int) -> HeldOut:
    labels_N = np.arange(2 * groups_per_class) % 2
    logits_NC = 2.0 * np.eye(2)[labels_N]
    return HeldOut(("a", "b"), logits_NC, labels_N, np.arange(len(labels_N)))


def test_five_right_groups_per_class_exclude_less_than_forty() -> None:
    asked_QC = np.array([[0.7, 0.3]])
    sizes = []
    for groups in (5, 40):
        held = _held_out_all_right(groups)
        sets = conformal(held, softmax(held.logits_NC)).sets(asked_QC, 0.9)
        assert sets.members_NC is not None
        sizes.append(int(sets.members_NC.sum()))
    assert sizes == [2, 1]


def test_the_prior_only_ever_widens_sets() -> None:
    held, test = drawn_logits(7, 30), drawn_logits(8, 200)
    made = conformal(held, softmax(held.logits_NC))
    for coverage in (0.6, 0.8, 0.9, 0.95):
        ours = made.sets(softmax(test.logits_NC), coverage).members_NC
        plain = replace(made, prior_P=np.empty(0)).sets(softmax(test.logits_NC), coverage)
        assert ours is not None
        assert plain.members_NC is not None
        assert (ours >= plain.members_NC).all()


def test_aps_adds_the_probabilities_of_all_likelier_classes() -> None:
    found = nonconformity(np.array([[0.2, 0.5, 0.3]]), "aps")
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.8]])


def test_a_stranger_is_far_and_a_relative_is_not() -> None:
    rows, labels, groups = drawn(0, 12, 0.5)
    numbers = np.array([int(g) for g in groups])
    found = novelty(rows, np.array([int(n[1:]) for n in labels]), numbers)
    strangers = np.random.default_rng(9).normal(size=(50, 32))
    relatives = drawn(7, 12, 0.5)[0]
    assert found.far(found.distances(strangers)).all()
    assert found.far(found.distances(relatives)).mean() < 0.2
    assert found.percentiles(found.distances(strangers)).min() == 100


@pytest.mark.parametrize("method", ["nearest", "class_mean"])
def test_copies_of_one_group_do_not_make_the_support_look_dense(method) -> None:
    rows, labels, groups = drawn(1, 12, 1.0, rows=6)
    numbers = np.array([int(n[1:]) for n in labels])
    honest = novelty(rows, numbers, np.array([int(g) for g in groups]), method=method)
    leaking = novelty(rows, numbers, np.arange(len(rows)), method=method)
    assert honest.far_from > leaking.far_from
    relatives = drawn(8, 40, 1.0)[0]
    assert honest.far(honest.distances(relatives)).mean() < 0.25


def test_with_a_handful_of_groups_nothing_is_called_far() -> None:
    found = novelty(np.eye(4), np.array([0, 0, 1, 1]), np.arange(4))
    assert not found.far(np.array([2.0])).any()


def test_the_chosen_margin_halves_the_errors_on_strangers() -> None:
    held, test = drawn_logits(0, 500), drawn_logits(1, 2000)
    margin, how = choose_margin(held, softmax(held.logits_NC))
    shares = softmax(test.logits_NC)
    wrong = shares.argmax(1) != test.labels_N
    answered = margins(shares) >= margin
    assert wrong[answered].mean() < 0.65 * wrong.mean()
    assert "half the out-of-fold errors" in how
