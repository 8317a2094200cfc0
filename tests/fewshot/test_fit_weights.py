"""Groups count once, classes as much as was asked, and C is not chosen on a handful."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from service.errors import InputError
from service.fewshot.crossval import MIN_GROUPS_TO_CHOOSE
from service.fewshot.fit import class_weights, fit, fit_head
from service.fewshot.heldout import HeldOut
from tests.fewshot.drawing import drawn


def test_thirty_copies_of_a_patients_frame_teach_as_much_as_one() -> None:
    rows, labels, groups = drawn(0, 6, 2.0)
    copied = np.concatenate([rows, np.repeat(rows[:1], 29, axis=0)])
    more = [*labels, *[labels[0]] * 29], [*groups, *[groups[0]] * 29]
    once = fit(rows, labels, groups, encoder_id="e")
    again = fit(copied, *more, encoder_id="e")
    np.testing.assert_allclose(again.head.weights_CD, once.head.weights_CD, atol=2e-3)
    assert (again.report.groups, again.report.effective_examples) == (18, 18)
    assert sum(again.report.examples_per_class.values()) == 47
    each = fit_head(copied, *more, encoder_id="e", counted="frames")
    assert np.abs(each.weights_CD - once.head.weights_CD).max() > 0.1


def test_groups_and_class_weights_are_scikit_learns_sample_weights() -> None:
    rows, labels, groups = drawn(1, 5, 2.0, rows=3)
    rows, labels, groups = rows[:-6], labels[:-6], groups[:-6]  # unbalanced
    made = fit(rows, labels, groups, encoder_id="e", weights={"c0": 3.0})
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = {"c0": 5, "c1": 5, "c2": 3}
    factor = {"c0": 9 / 5, "c1": 3 / 5, "c2": 3 / 5}  # 3 : 1 : 1 with mean 1
    weights = [factor[name] * 13 / (3 * pairs[name]) / 3 for name in labels]
    peer = LogisticRegression(C=made.report.regularisation_c, tol=1e-8, max_iter=10_000)
    peer.fit(unit, labels, sample_weight=weights)
    # Two iterative solvers, each stopped at its own tolerance.
    np.testing.assert_allclose(made.head.probabilities(rows), peer.predict_proba(unit), atol=2e-3)
    assert made.report.class_weights == pytest.approx(factor)


def test_the_held_out_rows_weigh_as_the_classes_were_asked_to() -> None:
    held = HeldOut(
        ("a", "b"), np.zeros((6, 2)), np.array([0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 2, 3, 3])
    )
    np.testing.assert_allclose(held.balanced_shares(), [1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    tilted = HeldOut(
        held.classes, held.logits_NC, held.labels_N, held.groups_N, np.array([1.5, 0.5])
    )
    np.testing.assert_allclose(tilted.balanced_shares().sum(), 4)
    np.testing.assert_allclose(tilted.balanced_shares()[:2].sum(), 3)


def test_c_is_fixed_where_a_class_has_few_groups_and_the_report_says_so() -> None:
    rows, labels, groups = drawn(2, 10, 2.0)
    report = fit(rows, labels, groups, encoder_id="e").report
    assert report.regularisation_c == 10
    assert report.c_chosen_by == f"default: a class has fewer than {MIN_GROUPS_TO_CHOOSE} groups"
    rows, labels, groups = drawn(2, MIN_GROUPS_TO_CHOOSE, 3.0, classes=2)
    report = fit(rows, labels, groups, encoder_id="e").report
    assert report.c_chosen_by == "grouped cross-validation"


@pytest.mark.parametrize(
    "wanted", [{"c9": 2.0}, {"c0": 0.0}, {"c0": -1.0}, {"c0": float("nan")}, {"c0": 2000.0}]
)
def test_weights_that_mean_nothing_are_refused(wanted) -> None:
    with pytest.raises(InputError):
        class_weights(("c0", "c1"), wanted)


def test_equal_weights_are_no_weights() -> None:
    assert class_weights(("c0", "c1"), {"c0": 2.0, "c1": 2.0}) is None
