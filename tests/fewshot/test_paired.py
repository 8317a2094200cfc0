"""Which of two heads is better on the same patients, and when nobody can tell."""

import numpy as np
import paired_coverage
import pytest

from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import compute_metrics
from service.fewshot.uncertainty.paired import METRICS, ScorePair, expanded_tail, paired_differences
from tests.fewshot.drawing import drawn_logits


def heads_of(right_2N: list[list[bool]], groups: list[int] | None = None):
    """Two heads of two classes, each right where it says so; the classes alternate."""
    right = np.array(right_2N)
    labels = np.arange(right.shape[1]) % 2
    heads = []
    for row in right:
        signs = np.where(row == (labels == 1), 1.0, -1.0)
        heads.append(HeldOut(("a", "b"), np.stack([-signs, signs], 1), labels, labels))
    shares = [softmax(head.logits_NC) for head in heads]
    return ScorePair(*heads, *shares), np.arange(len(labels)) if groups is None else groups


def by_metric(pair: ScorePair, groups) -> dict:
    return {found.metric: found for found in paired_differences({None: pair}, np.array(groups))}


def test_a_head_that_is_better_on_many_patients_is_said_to_be_better() -> None:
    found = by_metric(*heads_of([[True] * 60, [True, False] * 20 + [True, True] * 10]))
    accuracy = found["balanced_accuracy"]
    assert accuracy.value == pytest.approx(1 - (1 + 10 / 30) / 2)
    assert accuracy.low > 0
    assert {one.verdict for one in found.values()} == {"better"}
    assert (accuracy.scored, accuracy.groups, accuracy.smallest_class_groups) == (60, 60, 30)
    assert found["log_loss"].value < 0  # the smaller loss is the better one


def test_the_other_way_round_it_is_worse_by_as_much() -> None:
    pair, groups = heads_of([[True] * 60, [True, False] * 20 + [True, True] * 10])
    turned = ScorePair(pair.second, pair.first, pair.second_NC, pair.first_NC)
    one, other = by_metric(pair, groups), by_metric(turned, groups)
    for metric in METRICS:
        assert one[metric].value == pytest.approx(-other[metric].value)
        assert other[metric].verdict == "worse"


def test_few_patients_without_any_difference_are_no_proof_of_equality() -> None:
    accuracy = by_metric(*heads_of([[True] * 10, [True] * 10]))["balanced_accuracy"]
    assert (accuracy.value, accuracy.verdict) == (0, "cannot_tell")
    assert accuracy.low < -0.1
    assert accuracy.high > 0.1
    assert "contains 0" in accuracy.cannot_tell_because


def test_with_too_few_patients_there_is_no_interval_and_the_number_is_told() -> None:
    pair, groups = heads_of([[True] * 8, [False] * 8])
    accuracy = by_metric(pair, groups)["balanced_accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.verdict) == (1, None, "cannot_tell")
    assert "4 groups with" in accuracy.cannot_tell_because
    frames = by_metric(*heads_of([[True] * 80, [False] * 80], [i // 20 for i in range(80)]))
    assert frames["balanced_accuracy"].verdict == "cannot_tell"
    assert frames["balanced_accuracy"].groups == 4


def test_rows_without_scores_of_either_head_are_left_out() -> None:
    pair, groups = heads_of([[True] * 40, [False] * 40])
    pair.first.logits_NC[:20] = np.nan
    pair.second.logits_NC[30:] = np.nan
    assert by_metric(pair, groups)["balanced_accuracy"].scored == 10


def test_heads_of_other_classes_are_compared_on_the_classes_that_rows_have() -> None:
    pair, groups = heads_of([[True] * 40, [True] * 40])
    wide = HeldOut(
        ("z", "a", "b"),
        np.insert(pair.second.logits_NC, 0, 5.0, axis=1),  # the third class wins everywhere
        pair.second.labels_N + 1,
        pair.second.groups_N,
    )
    mixed = ScorePair(pair.first, wide, pair.first_NC, softmax(wide.logits_NC))
    accuracy = by_metric(mixed, groups)["balanced_accuracy"]
    assert (accuracy.value, accuracy.verdict) == (1, "better")


def test_labels_have_differences_of_their_own_beside_their_mean() -> None:
    same, groups = heads_of([[True] * 40, [True] * 40])
    better, _ = heads_of([[True] * 40, [False] * 40])
    found = paired_differences({"x": same, "y": better}, np.array(groups))
    values = {(d.label, d.metric): d.value for d in found}
    assert len(found) == 9
    assert values[(None, "balanced_accuracy")] == pytest.approx(0.5)
    assert (values[("x", "balanced_accuracy")], values[("y", "balanced_accuracy")]) == (0, 1)


def test_rows_of_one_class_or_none_give_no_difference() -> None:
    pair, _ = heads_of([[True] * 40, [True] * 40])
    ones = np.flatnonzero(pair.first.labels_N == 1)
    heads = [head.rows(ones) for head in (pair.first, pair.second)]
    alone = ScorePair(*heads, pair.first_NC[ones], pair.second_NC[ones])
    for rows in (slice(None), slice(0, 0)):
        part = ScorePair(
            alone.first.rows(np.arange(20)[rows]),
            alone.second.rows(np.arange(20)[rows]),
            alone.first_NC[rows],
            alone.second_NC[rows],
        )
        for found in by_metric(part, np.arange(20)[rows]).values():
            assert (found.verdict, found.low) == ("cannot_tell", None)


def test_the_percentiles_move_out_as_groups_become_few() -> None:
    tails = [expanded_tail(groups) for groups in (5, 10, 100, 100_000)]
    assert tails == sorted(tails)
    assert tails[0] == pytest.approx(0.001, abs=2e-4)
    assert tails[-1] == pytest.approx(0.025, abs=1e-4)


def test_figures_of_few_patients_who_are_all_right_are_not_certain() -> None:
    labels = np.array([0, 1] * 5)
    held = HeldOut(("a", "b"), np.stack([-labels, labels], 1) * 1.0, labels, np.arange(10))
    found = compute_metrics(held)
    figures = (found.balanced_accuracy, found.auroc, found.per_class[0].recall)
    # All ten patients bear witness to the mean of the two recalls.
    for figure, patients in zip(figures, (10, 5, 5), strict=True):
        assert (figure.value, figure.high) == (1, 1)
        assert figure.low == pytest.approx(0.025 ** (1 / patients))


@pytest.mark.slow
def test_intervals_hold_the_true_difference_as_often_as_they_say() -> None:
    for setting in paired_coverage.SETTINGS[::3]:
        for metric, (covered, wrong, _) in paired_coverage.coverage(setting, 200).items():
            assert covered >= 0.92, (setting, metric)  # 0.95 less two standard errors
            assert wrong <= 0.05, (setting, metric)


def test_many_classes_are_compared_too() -> None:
    first, second = (drawn_logits(5, 90, classes=5) for _ in range(2))
    pair = ScorePair(first, second, softmax(first.logits_NC), softmax(second.logits_NC))
    assert by_metric(pair, first.groups_N)["auroc"].value == 0
