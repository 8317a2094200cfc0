"""Averages of correlated frames, and answers that do not flicker."""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.temporal.held_value import HeldValue
from service.fewshot.temporal.logit_average import Averaging, LogitAverage

Z = np.array([1.0, -2.0])


def test_one_frame_counts_as_itself_and_equal_frames_as_their_design_effect() -> None:
    average = LogitAverage(Averaging(time_constant_s=1e9, correlation=0.5))
    assert average.add(Z, 0.0).effective_frames == 1
    for n in range(1, 4):
        last = average.add(Z, n / 10)
    assert last.effective_frames == pytest.approx(4 / (1 + 3 * 0.5))  # Kish 1965, 5.4
    np.testing.assert_allclose(last.logits_C, Z * last.effective_frames)


@pytest.mark.parametrize(("correlation", "expected"), [(0.0, 5.0), (1.0, 1.0)])
def test_independent_frames_add_up_and_fully_correlated_ones_do_not(correlation, expected) -> None:
    average = LogitAverage(Averaging(1e9, correlation))
    found = [average.add(Z, float(n)).effective_frames for n in range(5)]
    assert found[-1] == pytest.approx(expected)


def test_probabilities_of_correlated_frames_are_calibrated_where_single_ones_are() -> None:
    rng = np.random.default_rng(0)
    between, within, cines, frames = 0.8, 0.2, 4000, 20
    label_K = rng.integers(0, 2, cines)
    shared_K = rng.normal(0, np.sqrt(between), cines)
    # The log odds of one frame are 2 x for unit variance and means of -1 and 1.
    odds = np.zeros(cines)
    for k in range(cines):
        average = LogitAverage(Averaging(1e9, between))
        for n in range(frames):
            x = 2 * label_K[k] - 1 + shared_K[k] + rng.normal(0, np.sqrt(within))
            odds[k] = average.add(np.array([2 * x]), float(n)).logits_C[0]
    share_K = 1 / (1 + np.exp(-odds))
    for low in (0.05, 0.25, 0.5, 0.75):
        inside = (share_K >= low) & (share_K < low + 0.2)
        assert label_K[inside].mean() == pytest.approx(share_K[inside].mean(), abs=0.06)


def test_weights_fall_with_time_so_dropped_frames_change_nothing_but_the_number() -> None:
    dense, sparse = LogitAverage(Averaging(1.0, 0.8)), LogitAverage(Averaging(1.0, 0.8))
    for n in range(101):
        last = dense.add(np.array([n / 100]), n / 100)
        if n % 10 == 0:
            thinned = sparse.add(np.array([n / 100]), n / 100)
    assert last.effective_frames > thinned.effective_frames
    mean, fewer = (float(a.logits_C[0] / a.effective_frames) for a in (last, thinned))
    assert fewer == pytest.approx(mean, abs=0.05)


def test_a_time_constant_of_zero_takes_each_frame_alone() -> None:
    average = LogitAverage(Averaging(time_constant_s=0.0))
    average.add(Z, 0.0)
    np.testing.assert_array_equal(average.add(-Z, 0.1).logits_C, -Z)


def test_a_correlation_beyond_one_is_refused() -> None:
    with pytest.raises(InputError, match="correlation"):
        Averaging(correlation=1.1)


def offered(held: HeldValue[str], values: str, step_s: float = 0.1) -> str:
    """What is held after each letter; a dot is nothing."""
    given = [None if letter == "." else letter for letter in values]
    return "".join(held.offer(value, n * step_s) or "." for n, value in enumerate(given))


def test_an_answer_is_held_after_it_has_stood_and_against_short_changes() -> None:
    assert offered(HeldValue(0.3, 0.5), "aaaaaabbaa.aa") == "...aaaaaaaaaa"


def test_another_answer_and_none_take_their_own_times() -> None:
    assert offered(HeldValue(0.3, 0.5), "aaaabbbbbb") == "...aaaabbb"
    assert offered(HeldValue(0.3, 0.5), "aaaa........") == "...aaaaaa..."


def test_answers_that_take_turns_change_nothing() -> None:
    assert set(offered(HeldValue(0.3, 0.5), "aaaa" + "ba" * 10)[3:]) == {"a"}
