"""The head is the textbook one, and what it says of itself holds on strangers."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from service.errors import NotEnoughExamples
from service.fewshot.fit import fit
from service.fewshot.metrics import compute_metrics
from service.fewshot.solver import LogisticProblem, kernel_logits, kernel_of
from tests.fewshot.drawing import one_long_cine_per_class


def drawn(seed: int, groups: int, spread: float, dim: int = 32) -> tuple[np.ndarray, list[str]]:
    """Three classes around fixed centres, ``groups`` rows each."""
    centres = np.random.default_rng(0).normal(size=(3, dim))
    rng = np.random.default_rng(seed)
    rows = np.concatenate([c + spread * rng.normal(size=(groups, dim)) for c in centres])
    return rows.astype(np.float32), [f"c{i}" for i in range(3) for _ in range(groups)]


def test_probabilities_equal_those_of_scikit_learn() -> None:
    rows, labels = drawn(1, 12, 1.5)
    rows, labels = rows[:-6], labels[:-6]  # unbalanced
    made = fit(rows, labels, [str(i) for i in range(len(labels))], encoder_id="e")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    peer = LogisticRegression(
        C=made.report.regularisation_c, class_weight="balanced", tol=1e-8, max_iter=10_000
    ).fit(unit, labels)
    given = made.head.probabilities(rows)
    # Two iterative solvers, each stopped at its own tolerance.
    np.testing.assert_allclose(given, peer.predict_proba(unit), atol=2e-3)


def test_random_labels_score_at_chance() -> None:
    scores = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(60, 32)).astype(np.float32)
        labels = [f"c{v}" for v in rng.integers(0, 3, 60)]
        made = fit(rows, labels, [str(i) for i in range(60)], encoder_id="e")
        scores.append(made.report.balanced_accuracy)
    # 720 judged guesses: two standard errors are 0.035.
    assert abs(np.mean(scores) - 1 / 3) < 0.07


def test_copies_of_one_patient_do_not_make_the_figures_rosy() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(12, 32)), 5, axis=0).astype(np.float32)
    labels = [f"c{(i // 5) % 2}" for i in range(60)]
    patients = [str(i // 5) for i in range(60)]
    leaking = fit(rows, labels, [str(i) for i in range(60)], encoder_id="e").report
    honest = fit(rows, labels, patients, encoder_id="e").report
    assert leaking.balanced_accuracy == 1.0
    assert honest.balanced_accuracy < 0.85


def test_a_long_cine_counts_as_one_patient_in_the_reported_accuracy() -> None:
    rows, labels, groups = one_long_cine_per_class()
    made = fit(rows, labels, groups, encoder_id="e")
    metrics, report = compute_metrics(made.scores.nested), made.report
    assert report.balanced_accuracy == pytest.approx(metrics.balanced_accuracy.value, abs=1e-4)
    assert report.balanced_accuracy < 0.9
    recalls = {one.name: one.recall.value for one in metrics.per_class}
    assert report.recall_per_class == pytest.approx(recalls, abs=1e-4)
    ends = (metrics.balanced_accuracy.low, metrics.balanced_accuracy.high)
    assert report.interval_95 == pytest.approx(ends, abs=1e-4)
    frames = fit(rows, labels, groups, encoder_id="e", counted="frames").report
    assert frames.balanced_accuracy > 0.98


def test_the_order_of_the_upload_changes_nothing() -> None:
    rows, labels = drawn(2, 8, 2.0)
    order = np.random.default_rng(0).permutation(len(labels))
    names = [str(i) for i in range(len(labels))]
    one = fit(rows, labels, names, encoder_id="e")
    other = fit(rows[order], [labels[i] for i in order], [names[i] for i in order], encoder_id="e")
    assert one.report == other.report
    np.testing.assert_allclose(one.head.weights_CD, other.head.weights_CD, atol=1e-5)


def test_a_single_group_per_class_is_fitted_and_not_evaluated() -> None:
    rows, labels = drawn(4, 1, 0.1)
    report = fit(rows, labels, ["a", "b", "c"], encoder_id="e").report
    assert report.balanced_accuracy is None
    assert "single group" in str(report.not_evaluated_because)
    assert all(" of 1 group; fewer" in warning for warning in report.warnings)


def test_one_class_is_refused() -> None:
    with pytest.raises(NotEnoughExamples):
        fit(np.ones((3, 4), np.float32), ["a"] * 3, ["1", "2", "3"], encoder_id="e")


@pytest.mark.parametrize("classes", [2, 3])
def test_many_small_fits_at_once_have_the_solutions_of_single_ones(classes: int) -> None:
    rows, labels = (values[: 20 * classes] for values in drawn(4, 20, 2.0))
    numbers = np.unique(labels, return_inverse=True)[1]
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    problem = LogisticProblem(unit, numbers, classes)
    order = np.random.default_rng(0).permutation(len(numbers))
    splits = [(order[:size], order[size:]) for size in (12, 20, 30)]
    together = kernel_logits(problem, kernel_of(unit), splits, 10.0)
    for (train, test), logits in zip(splits, together, strict=True):
        weights, bias = problem.solve(train, 10.0, tolerance=1e-9)
        alone = unit[test] @ weights.T + bias
        difference = softmax(logits, axis=1) - softmax(alone, axis=1)
        assert abs(difference).max() < 1e-3  # kernels penalise the bias by a hundredth
        assert (logits.argmax(1) == alone.argmax(1)).all()
