"""Splits are fair, and scores mean what they say."""

import numpy as np
import pytest

from service.errors import NotEnoughExamples
from training.evaluation.clusters import clusters
from training.evaluation.compare import (
    HeldOutPredictions,
    over_groups,
    over_seeds,
    paired_over_groups,
    paired_over_seeds,
)
from training.evaluation.protocol import (
    LabelledSet,
    balanced_accuracy,
    fraction_split,
    full_probe,
    retrieval,
    shot_scores,
    shot_split,
)
from training.evaluation.scores import Effort, confusion, evaluate_set, unit_rows

CHANCE = 100 / 3


def with_support(labelled: LabelledSet) -> LabelledSet:
    """The same set with the first half of the groups of every class fixed as support."""
    numbers_N = np.array([int(group[1:]) for group in labelled.groups_N])
    return LabelledSet("own", labelled.labels_N, labelled.groups_N, numbers_N % 12 < 6)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shots", [1, 5])
def test_support_and_test_never_share_a_group(labelled: LabelledSet, own: bool, shots: int) -> None:
    chosen = with_support(labelled) if own else labelled
    for seed in range(10):
        split = shot_split(chosen, shots, seed)
        taught, tested = chosen.groups_N[split.train], chosen.groups_N[split.test]
        assert not set(taught) & set(tested)
        assert len(set(taught)) == len(taught) == 3 * shots
        assert not chosen.support_N[split.test].any()
        for share in (0.05, 0.5):
            split = fraction_split(chosen, share, seed)
            assert not set(chosen.groups_N[split.train]) & set(chosen.groups_N[split.test])


def test_splits_depend_on_the_seed_alone(labelled: LabelledSet) -> None:
    one, again, other = (shot_split(labelled, 5, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.train, again.train)
    np.testing.assert_array_equal(one.test, again.test)
    assert set(one.train) != set(other.train)


def test_a_set_with_few_support_groups_gives_further_frames_of_them(
    labelled: LabelledSet,
) -> None:
    split = shot_split(with_support(labelled), 10, 0)
    assert len(set(split.train)) == 30
    with pytest.raises(NotEnoughExamples):
        shot_split(with_support(labelled), 13, 0)


def test_a_set_without_support_refuses_more_shots_than_groups(labelled: LabelledSet) -> None:
    with pytest.raises(NotEnoughExamples):
        shot_split(labelled, 12, 0)


def test_an_encoder_that_knows_the_class_wins_and_a_blind_one_is_at_chance(
    labelled: LabelledSet, knowing: np.ndarray, blind: np.ndarray
) -> None:
    good, poor = (shot_scores(rows, labelled, 5, 10) for rows in (knowing, blind))
    assert min(good) > 95
    assert abs(np.mean(poor) - CHANCE) < 10
    difference = paired_over_seeds({"toy": good}, {"toy": poor})
    assert difference.low > 40
    rows, predictions = full_probe(knowing, labelled)
    assert balanced_accuracy(labelled.labels_N[rows], predictions) > 98


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = over_seeds(rng.normal(50, 5, size=20).tolist())
        covered += found.low <= 50 <= found.high
    assert 0.92 < covered / 400 < 0.98


def test_group_intervals_hold_the_score_and_pairs_of_equals_differ_by_nothing(
    labelled: LabelledSet, blind: np.ndarray
) -> None:
    held = HeldOutPredictions(labelled, *full_probe(blind, labelled))
    found = over_groups([held])
    assert found.value == held.score
    assert found.low < found.value < found.high
    same = paired_over_groups([held], [held])
    assert (same.value, same.low, same.high) == (0, 0, 0)


def drawn(rng: np.random.Generator, groups: tuple[int, int], frames: int) -> HeldOutPredictions:
    """A set of two classes whose groups are right by chances of their own, 0.75 in the mean."""
    labels = np.repeat(["a", "b"], np.multiply(groups, frames))
    numbers = np.repeat(np.arange(sum(groups)), frames)
    right_N = rng.random(len(labels)) < rng.beta(2.25, 0.75, sum(groups))[numbers]
    labelled = LabelledSet("drawn", labels, numbers.astype(str), np.zeros(len(labels), bool))
    predictions = np.where(right_N, labels, np.where(labels == "a", "b", "a"))
    return HeldOutPredictions(labelled, np.arange(len(labels)), predictions)


@pytest.mark.parametrize("sets", [1, 3])
def test_intervals_over_few_groups_cover_the_truth_about_as_often_as_they_say(sets: int) -> None:
    rng = np.random.default_rng(0)
    covered = differed = 0
    for _ in range(150):  # a standard error of 1.8 points; the percentiles alone gave 0.89 to 0.91
        ours, theirs = ([drawn(rng, (5, 12), 20) for _ in range(sets)] for _ in range(2))
        found, gain = over_groups(ours), paired_over_groups(ours, theirs)
        covered += found.low <= 75 <= found.high
        differed += gain.low <= 0 <= gain.high
    assert 0.93 < covered / 150 <= 1
    assert 0.93 < differed / 150 <= 1


def test_five_groups_that_are_all_right_leave_open_how_good_an_encoder_is() -> None:
    labels = np.repeat(["a", "b"], 50)
    groups = np.repeat(np.arange(10), 10).astype(str)
    labelled = LabelledSet("easy", labels, groups, np.zeros(100, bool))
    found = over_groups([HeldOutPredictions(labelled, np.arange(100), labels)])
    assert (found.value, found.high) == (100, 100)
    assert 40 < found.low < 70
    many = LabelledSet("easy", labels, np.arange(100).astype(str), np.zeros(100, bool))
    assert over_groups([HeldOutPredictions(many, np.arange(100), labels)]).low > 93


def test_frames_of_one_group_widen_the_interval(labelled: LabelledSet) -> None:
    rows = np.arange(len(labelled.labels_N))
    right_N = np.repeat(np.random.default_rng(0).random(len(rows) // 2) < 0.6, 2)
    predictions = np.where(right_N, labelled.labels_N, "?")
    alone = LabelledSet("alone", labelled.labels_N, rows.astype(str), labelled.support_N)
    grouped, single = (
        over_groups([HeldOutPredictions(s, rows, predictions)]) for s in (labelled, alone)
    )
    assert grouped.high - grouped.low > 1.2 * (single.high - single.low)


def test_retrieval_never_finds_a_frame_of_its_own_group(labelled: LabelledSet) -> None:
    # Rows of one group are equal and unlike all others: a search that saw them would be perfect.
    numbers = np.unique(labelled.groups_N, return_inverse=True)[1]
    features_ND = np.eye(36)[np.random.default_rng(0).permutation(36)][numbers] + 0.01
    found = retrieval(features_ND, labelled, ks=(1,))
    assert found.recall_at[1] < 60


def test_retrieval_and_clusters_of_a_perfect_encoder_are_perfect(labelled: LabelledSet) -> None:
    truth = (labelled.labels_N[:, None] == np.array(labelled.classes)).astype(float)
    found, apart = retrieval(truth, labelled), clusters(truth, labelled)
    assert (found.knn, found.recall_at[1], found.mean_average_precision) == (100, 100, 100)
    assert apart.purity == 100
    assert apart.silhouette == pytest.approx(1)


def test_judging_leaves_out_shots_that_a_set_cannot_give(
    labelled: LabelledSet, knowing: np.ndarray
) -> None:
    effort = Effort(shots=(1, 20), seeds=2, fractions=(0.5,), fraction_seeds=2)
    evaluated = evaluate_set(knowing, labelled, effort)
    assert list(evaluated.shots) == [1]
    assert len(evaluated.fractions[0.5]) == 2
    assert np.sum(confusion(evaluated.full)) == len(labelled.labels_N)
    assert np.trace(confusion(evaluated.full)) == np.sum(
        evaluated.full.predictions == labelled.labels_N
    )


def test_centring_moves_the_mean_to_the_origin_before_the_length() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(unit_rows(rows, None), [[0.6, 0.8], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(unit_rows(rows, np.array([3.0, 0.0])), [[0, 1], [-1, 0]], atol=1e-6)
