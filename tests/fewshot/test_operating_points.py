"""Operating points by specificity, and what they promise."""

import numpy as np
import pytest

from service.errors import InputError, NotEnoughExamples
from service.fewshot.head import softmax
from service.fewshot.operating_points import (
    at_threshold,
    cross_fitted,
    operating_point,
)
from tests.fewshot.drawing import drawn_logits


@pytest.mark.parametrize("wanted", [0.5, 0.9, 1.0])
def test_a_specificity_is_reached_at_the_best_sensitivity(wanted: float) -> None:
    held = drawn_logits(5, 300)
    shares = softmax(held.logits_NC)
    found = operating_point(held, shares, "c2", "specificity", wanted)
    assert found.specificity.value >= wanted - 1e-9
    lower = np.nextafter(found.threshold, -1)  # calls one more of the others
    assert at_threshold(held, shares, "c2", lower).specificity.value < wanted
    positive = held.labels_N == 2
    assert found.sensitivity.value == pytest.approx((shares[positive, 2] >= found.threshold).mean())


def test_impossible_specificities_are_refused() -> None:
    held = drawn_logits(6, 60)
    shares = softmax(held.logits_NC)
    for name, wanted in (("none", 0.9), ("c0", 0.0), ("c0", 1.1)):
        with pytest.raises(InputError):
            operating_point(held, shares, name, "specificity", wanted)
    with pytest.raises(InputError, match="reach 1"):
        operating_point(held, np.ones_like(shares), "c0", "specificity", 0.9)
    few = held.rows(np.flatnonzero(held.labels_N == 0))
    with pytest.raises(NotEnoughExamples):
        operating_point(few, softmax(few.logits_NC), "c0", "specificity", 0.9)


@pytest.mark.parametrize("target", ["sensitivity", "specificity"])
def test_thresholds_chosen_without_the_scored_groups_promise_what_others_get(target) -> None:
    promised, honest, truth = [], [], []
    others = drawn_logits(99, 20_000)
    for seed in range(30):
        held = drawn_logits(seed, 40)
        shares = softmax(held.logits_NC)
        point = operating_point(held, shares, "c1", target, 0.95)
        promised.append(getattr(point, target).value)
        found = cross_fitted(held, shares, "c1", target, 0.95)
        honest.append(found[target == "specificity"].value)
        called = softmax(others.logits_NC)[:, 1] >= point.threshold
        side = others.labels_N == 1 if target == "sensitivity" else others.labels_N != 1
        truth.append((called if target == "sensitivity" else ~called)[side].mean())
    # Means over 30 draws of about 13 positives scatter by 2 %.
    assert abs(np.mean(honest) - np.mean(truth)) < 0.04
    assert np.mean(promised) > np.mean(honest)


def test_every_part_of_the_groups_is_scored_by_the_others() -> None:
    held = drawn_logits(7, 40)
    sure = np.where(held.labels_N[:, None] == np.arange(3), 0.9, 0.05)
    found = cross_fitted(held, sure, "c0", "sensitivity", 0.9)
    assert [figure.value for figure in found] == [1.0, 1.0]
    with pytest.raises(InputError):
        cross_fitted(held, sure, "none", "sensitivity", 0.9)
