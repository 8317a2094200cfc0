"""Windows of answers against the reference: who is called drift, and how often by chance."""

import numpy as np
import pytest

from service.fewshot.drift.accuracy_in_use import HeadOutcomes, accuracy_in_use
from service.fewshot.drift.drift_alarms import (
    DriftTest,
    drift_limits,
    false_alarm_share,
    limits_of_mixture,
)
from service.fewshot.drift.drift_reference import (
    HeldOutUse,
    drift_reference,
    mean_of_nearest,
    neighbours_of_other_groups,
)


def drawn_use(seed: int, groups: int, rows: int, *, shift: float = 0.0) -> HeldOutUse:
    """Two classes with means of their own; rows of one group resemble each other."""
    rng = np.random.default_rng(seed)
    group_N = np.repeat(np.arange(groups), rows)
    stratum_N = (group_N % 2).astype(np.int64)
    of_group = 0.05 * rng.standard_normal(groups)[group_N]
    similarity_N = 0.9 - 0.2 * stratum_N + of_group + 0.01 * rng.standard_normal(len(group_N))
    confidence_N = np.clip(0.8 + of_group, 0, 1)
    return HeldOutUse(
        similarity_N - shift,
        1 - similarity_N,
        confidence_N,
        rng.random(len(group_N)) < 0.1,
        stratum_N,
        group_N,
    )


def result_of(use: HeldOutUse, reference, limits_F) -> DriftTest:
    figures_NF = use.figures()
    counts_C = np.bincount(use.stratum_N, minlength=2)
    sums_CF = np.stack([figures_NF[use.stratum_N == c].sum(0) for c in range(2)])
    return DriftTest(len(figures_NF), reference.deviation(counts_C, sums_CF), limits_F)


def test_undisturbed_windows_alarm_about_as_rarely_as_stated():
    share, windows = 0.05, 200
    alarms = 0
    for seed in range(windows // 20):
        reference = drift_reference(drawn_use(1000 + seed, 60, 3), 2)
        limits_F = drift_limits(reference, 60, share)
        for n in range(20):
            use = drawn_use(50_000 + 100 * seed + n, 20, 3)
            alarms += bool(result_of(use, reference, limits_F).alarms)
    # 10 expected; windows of one reference alarm together, so twice as many is within chance.
    assert 1 <= alarms <= 25


def test_frames_of_one_patient_make_wider_limits_than_as_many_patients():
    rows = drift_reference(drawn_use(1, 60, 10), 2)
    patients = drift_reference(drawn_use(1, 600, 1), 2)
    of_rows, of_patients = (drift_limits(r, 60, 0.01) for r in (rows, patients))
    assert of_rows[0] < 2 * of_patients[0] < 0  # similarity alarms below its limit


def test_foreign_frames_alarm_by_similarity():
    reference = drift_reference(drawn_use(1, 60, 3), 2)
    limits_F = drift_limits(reference, 60, 0.001)
    test = result_of(drawn_use(2, 20, 3, shift=0.1), reference, limits_F)
    assert test.alarms == ("similarity",)


def test_another_mixture_of_the_known_classes_is_no_drift():
    reference = drift_reference(drawn_use(1, 200, 3), 2)
    limits_F = drift_limits(reference, 300, 0.005)
    use = drawn_use(2, 200, 3)
    rare_N = use.stratum_N == 1  # its similarity is 0.2 lower
    one_class = HeldOutUse(
        *(getattr(use, name)[rare_N] for name in HeldOutUse.__dataclass_fields__)
    )
    assert not result_of(one_class, reference, limits_F).alarms


def drawn_mixture(rng, rows_C) -> HeldOutUse:
    """Frames of patients of their own; classes differ in their usual similarity alone."""
    stratum_N = np.repeat(np.arange(len(rows_C)), rows_C)
    similarity_N = 0.8 - 0.1 * stratum_N + 0.05 * rng.standard_normal(len(stratum_N))
    confidence_N = np.clip(0.85 + 0.1 * rng.standard_normal(len(stratum_N)), 0, 1)
    abstained_N = rng.random(len(stratum_N)) < 0.1
    groups_N = np.arange(len(stratum_N))
    return HeldOutUse(
        similarity_N, 1 - similarity_N, confidence_N, abstained_N, stratum_N, groups_N
    )


def of_strata(use: HeldOutUse, strata: int):
    figures_NF = use.figures()
    sums_CF = np.stack([figures_NF[use.stratum_N == c].sum(0) for c in range(strata)])
    return np.bincount(use.stratum_N, minlength=strata), sums_CF


@pytest.mark.parametrize(
    ("examples", "in_use"), [((100, 6), (5, 45)), ((50, 50, 4), (0, 0, 50)), ((30, 30), (48, 2))]
)
def test_a_mixture_that_rests_on_few_examples_is_no_drift(examples, in_use):
    share, alarms = 0.001, 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        reference = drift_reference(drawn_mixture(rng, examples), len(examples))
        limits_F = drift_limits(reference, 50, share)
        for _ in range(10):
            counts_C, sums_CF = of_strata(drawn_mixture(rng, in_use), len(examples))
            here_F = limits_of_mixture(limits_F, reference, counts_C, share)
            test = DriftTest(50, reference.deviation(counts_C, sums_CF), here_F)
            alarms += bool(test.alarms)
    assert alarms <= 2


def test_a_mixture_as_of_the_examples_keeps_its_limits():
    rng = np.random.default_rng(0)
    reference = drift_reference(drawn_mixture(rng, (60, 60)), 2)
    limits_F = drift_limits(reference, 50, 0.001)
    same_F = limits_of_mixture(limits_F, reference, np.array([25, 25]), 0.001)
    np.testing.assert_allclose(same_F, limits_F)
    counts_C, sums_CF = of_strata(drawn_mixture(rng, (2, 48)), 2)
    sums_CF[:, 0] -= 0.15 * counts_C  # every similarity is lower, as of foreign frames
    here_F = limits_of_mixture(limits_F, reference, counts_C, 0.001)
    test = DriftTest(50, reference.deviation(counts_C, sums_CF), here_F)
    assert test.alarms == ("similarity",)


def test_one_abstention_is_no_alarm_where_no_example_was_abstained_from():
    use = drawn_use(1, 60, 1)
    quiet = HeldOutUse(
        use.similarity_N,
        use.distance_N,
        use.confidence_N,
        np.zeros(60, bool),
        use.stratum_N,
        use.groups_N,
    )
    limits_F = drift_limits(drift_reference(quiet, 2), 50, 0.001)
    assert 1 / 50 < limits_F[2] < 0.5


def test_each_length_of_window_has_an_equal_part_of_the_false_alarms():
    expected = [false_alarm_share(window) * 1000 / window for window in (50, 200, 1000)]
    assert expected == pytest.approx([0.05 / 3] * 3)


def test_neighbours_are_of_other_groups():
    rows = np.eye(8)[[0, 0, 1, 1]] + 0.1
    means, nearest = neighbours_of_other_groups(rows, np.array([7, 7, 9, 9]))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    between = float(unit[0] @ unit[2])
    assert means == pytest.approx([between] * 4)
    assert nearest == pytest.approx([between] * 4)
    alone, _ = neighbours_of_other_groups(rows, np.array([7, 7, 7, 7]))
    assert np.isnan(alone).all()


def test_similarity_is_the_mean_of_the_five_nearest():
    cosines = np.array([[0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.2]], np.float32)
    assert mean_of_nearest(cosines) == pytest.approx([0.7])
    assert mean_of_nearest(cosines[:, :2]) == pytest.approx([0.5])


def outcomes(right, *, confidence=0.9, groups=None) -> HeadOutcomes:
    truth = np.arange(len(right)) % 2
    return HeadOutcomes(
        truth,
        np.where(right, truth, 1 - truth),
        np.full(len(right), confidence),
        np.ones(len(right), bool),
        np.arange(len(right)) if groups is None else np.array(groups),
    )


def test_accuracy_in_use_and_overconfidence_have_intervals():
    found = accuracy_in_use(outcomes([True] * 70 + [False] * 30), ("a", "b"))
    assert (found.outcomes, found.groups, found.answered) == (100, 100, 1.0)
    assert found.accuracy.value == pytest.approx(0.7)
    assert found.accuracy.low < 0.65 < 0.75 < found.accuracy.high
    assert found.overconfidence.value == pytest.approx(0.2)
    assert found.overconfidence.low > 0
    assert found.expected_calibration_error == pytest.approx(0.2)
    assert found.bins[9].predictions == 100
    assert found.recall["a"].value == pytest.approx(0.7)


def test_predictions_of_one_patient_count_together():
    right = [True] * 50 + [False] * 50
    each = accuracy_in_use(outcomes(right), ("a", "b"))
    patients = accuracy_in_use(outcomes(right, groups=np.arange(100) // 10), ("a", "b"))
    width = [found.accuracy.high - found.accuracy.low for found in (each, patients)]
    assert width[1] > 2 * width[0]


def test_few_patients_give_no_figures_and_the_reason():
    found = accuracy_in_use(outcomes([True] * 8, groups=[0, 0, 1, 1, 2, 2, 3, 3]), ("a", "b"))
    assert found.accuracy is None
    assert "4 groups;" in found.not_evaluated_because
    empty = accuracy_in_use(outcomes([]), ("a", "b"))
    assert (empty.outcomes, empty.answered) == (0, None)


def test_overconfidence_of_few_patients_is_held_as_often_as_its_interval_says():
    inside, rng = [], np.random.default_rng(0)
    for _ in range(120):
        truth = np.arange(5) % 2
        guesses = np.where(rng.random(5) < 0.75, truth, 1 - truth)
        sure = 0.95 + 0.005 * rng.standard_normal(5)
        outcomes = HeadOutcomes(truth, guesses, sure, np.ones(5, bool), np.arange(5))
        found = accuracy_in_use(outcomes, ("a", "b")).overconfidence
        inside.append(found.low <= 0.2 <= found.high)
    assert np.mean(inside) > 0.9
    # Five who are all right leave 0.48 to 1, so the classifier may be too sure by as much.
    right = HeadOutcomes(truth, truth, np.full(5, 0.9), np.ones(5, bool), np.arange(5))
    found = accuracy_in_use(right, ("a", "b"))
    assert found.overconfidence.high == pytest.approx(0.9 - found.accuracy.low)


def test_a_balanced_accuracy_needs_five_groups_of_each_class():
    for second, wanted in ((4, None), (5, 1.0)):
        truth = np.repeat([0, 1], (20, second))
        every = np.ones(len(truth))
        outcomes = HeadOutcomes(truth, truth, 0.9 * every, every > 0, np.arange(len(truth)))
        found = accuracy_in_use(outcomes, ("a", "b"))
        assert found.accuracy.value == found.recall["a"].value == 1.0
        value = found.balanced_accuracy and found.balanced_accuracy.value
        assert (value, found.not_evaluated_because is None) == (wanted, wanted is not None)
