"""Wrong labels are found, readers are compared, and the next frame to label is worth it."""

import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from service.errors import InputError
from service.fewshot.fit import fit
from service.fewshot.forecast import forecast, power_law
from service.fewshot.label_quality import (
    agreement,
    conflicts,
    next_to_label,
    refuse_conflicts,
    suspects,
)
from service.fewshot.portable import to_plain
from tests.fewshot.drawing import drawn


def test_swapped_labels_are_among_the_suspects_and_few_others_are() -> None:
    rows, labels, groups = drawn(0, 20, 1.0)
    for row in (3, 25, 50):
        labels[row] = "c1" if labels[row] == "c0" else "c0"
    found = suspects(fit(rows, labels, groups, encoder_id="e").scores.nested)
    assert {suspect.row for suspect in found} >= {3, 25, 50}
    assert len(found) <= 6
    assert next(s.suggested for s in found if s.row == 50) == "c2"
    json.dumps(to_plain(found))


def test_alike_rows_of_different_labels_are_named() -> None:
    rows, labels, _ = drawn(1, 5, 2.0, dim=128)
    copied = np.concatenate([rows, rows[:2]])
    found = conflicts(copied, [*labels, "c2", "c0"], min_similarity=0.9)
    assert [(c.first, c.second) for c in found] == [(0, 15)]
    with pytest.raises(InputError, match="0 and 15"):
        refuse_conflicts(copied, [*labels, "c2", "c0"])
    refuse_conflicts(copied, [*labels, "c0", "c0"])


def test_kappa_equals_that_of_scikit_learn_and_its_interval_respects_groups() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 3, 120)
    other = np.where(rng.random(120) < 0.7, one, rng.integers(0, 3, 120))
    first, second = [f"c{v}" for v in one], [f"c{v}" for v in other]
    found = agreement(first, second)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert len(found.disagreed_rows) == (one != other).sum()
    copied = agreement(first * 5, second * 5, [str(i % 120) for i in range(600)])
    assert copied.kappa.high - copied.kappa.low == pytest.approx(
        found.kappa.high - found.kappa.low, rel=0.1
    )


def test_readers_who_know_one_class_only_have_no_kappa() -> None:
    assert agreement(["a", "a"], ["a", "a"]).kappa is None


def test_the_next_to_label_are_uncertain_different_and_of_different_groups() -> None:
    rows = np.eye(6)[[0, 0, 1, 2, 3]]
    shares = np.array([[0.5, 0.5], [0.5, 0.5], [0.55, 0.45], [0.99, 0.01], [0.5, 0.5]])
    assert next_to_label(rows, shares, list("abcde"), 3) == [0, 4, 2]
    assert next_to_label(rows, shares, list("aabbb"), 5) == [0, 4]


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError):
        agreement(["a"], ["a", "b"])
    with pytest.raises(InputError):
        agreement([], [])
    with pytest.raises(InputError):
        next_to_label(np.eye(2), np.full((2, 2), 0.5), ["a", "b"], 0)
    with pytest.raises(InputError):
        conflicts(np.eye(2), ["a"], min_similarity=0.9)


def test_the_power_law_is_found_again() -> None:
    sizes = np.array([2.0, 4, 8, 16])
    best, drop, decay = power_law(sizes, 0.9 - 0.4 * sizes**-0.5)
    assert (best, drop, decay) == pytest.approx((0.9, 0.4, 0.5), abs=1e-6)


def test_a_forecast_comes_close_to_what_more_examples_gave() -> None:
    gains = []
    for seed in range(2):
        rows, labels, groups = drawn(seed, 30, 3.0)
        many = fit(rows, labels, groups, encoder_id="e").report.balanced_accuracy
        few = np.concatenate([np.arange(c * 30, c * 30 + 20) for c in range(3)])
        fitted = fit(rows[few], [labels[i] for i in few], [groups[i] for i in few], encoder_id="e")
        found = forecast(rows[few], fitted.scores.nested, each_class=False)
        assert found.gain >= 0
        gains.append(found.with_more - many)
        json.dumps(to_plain(found))
    # A judgement of 90 rows scatters by 4 %.
    assert abs(np.mean(gains)) < 0.1


def test_more_examples_are_asked_for_the_class_that_has_few_of_them() -> None:
    rows, labels, groups = drawn(1, 40, 3.0)
    few = np.concatenate([np.arange(8), np.arange(40, 120)])
    fitted = fit(rows[few], [labels[i] for i in few], [groups[i] for i in few], encoder_id="e")
    found = forecast(rows[few], fitted.scores.nested)
    gains = {name: gain.gain for name, gain in found.gain_per_class.items()}
    assert found.most_useful_class == "c0"
    assert gains["c0"] > 2 * max(gains["c1"], gains["c2"])


def test_too_few_groups_are_not_forecast_and_the_lack_is_counted() -> None:
    rows, labels, groups = drawn(0, 6, 1.0, rows=3)
    found = forecast(rows, fit(rows, labels, groups, encoder_id="e").scores.nested)
    assert found.with_more is None
    assert found.missing_groups == {"c0": 2, "c1": 2, "c2": 2}


def test_readers_who_agree_on_five_patients_are_not_certain_to_agree() -> None:
    labels = ["a", "b", "a", "b", "a"] * 4
    found = agreement(labels, labels, [str(i % 5) for i in range(20)]).kappa
    assert (found.value, found.high) == (1.0, 1.0)
    # At worst 52 % of such patients are disputed, and chance agrees on half of them.
    assert -0.2 < found.low < 0.1
