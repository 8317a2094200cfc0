"""Odd amounts of examples: very many, one each, and names and rows that cannot be."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from service.errors import InputError
from service.fewshot.calibrator import fit_calibrator
from service.fewshot.crossval import GRID
from service.fewshot.duplicates import fingerprints
from service.fewshot.fit import MAX_CLASS_NAME, fit, fit_head
from service.fewshot.large_fits.samples import LARGE, SAMPLE_ROWS
from service.fewshot.solver import LogisticProblem
from tests.fewshot.drawing import drawn


def test_very_many_examples_are_all_fitted_and_a_sample_is_scored() -> None:
    rows, labels, groups = drawn(0, 1700, 3.0, dim=16)
    made = fit(rows, labels, groups, encoder_id="e")
    assert len(rows) > LARGE
    assert made.report.examples_per_class == {"c0": 1700, "c1": 1700, "c2": 1700}
    assert f"of {len(rows)} examples" in made.report.warnings[0]
    assert made.scores.nested.is_scored.sum() == SAMPLE_ROWS // 3 * 3
    fresh, truth, _ = drawn(1, 1000, 3.0, dim=16)
    guesses = np.array(made.head.classes)[made.head.logits(fresh).argmax(1)]
    # 1,000 judged rows and 3,000 fresh ones: two standard errors are 0.03.
    assert (guesses == truth).mean() == pytest.approx(made.report.balanced_accuracy, abs=0.04)
    assert fit_calibrator(made.scores.chosen).calibration.calibrated


def test_the_sets_of_a_large_fit_hold_the_truth_as_often_as_they_say() -> None:
    """With a third of the labels at random, heads of 800 rows have logits of another length."""
    rng = np.random.default_rng(0)
    centres = 0.1 * rng.normal(size=(4, 192)) / np.sqrt(192)

    def noisy(count: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.integers(0, 4, count)
        rows = centres[truth] + rng.normal(size=(count, 192)) / np.sqrt(192)
        said = np.where(rng.random(count) < 0.3, rng.integers(0, 4, count), truth)
        return rows.astype(np.float32), said

    rows, said = noisy(20_000)
    names = [str(i) for i in range(len(rows))]
    made = fit(rows, [f"c{label}" for label in said], names, encoder_id="e")
    calibrator = fit_calibrator(made.scores.chosen)
    fresh, truth = noisy(4000)
    shares = calibrator.calibration.probabilities(made.head.logits(fresh))
    members = calibrator.conformal.sets(shares, 0.9).members_NC
    assert members[np.arange(len(truth)), truth].mean() > 0.87


@pytest.mark.parametrize("groups", [40, 600])
def test_heads_that_score_the_sample_never_saw_its_patients(groups) -> None:
    """Each patient is far from the others, and its class is drawn: strangers cannot tell it."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(groups), 7200 // groups)
    rows = rng.normal(size=(groups, 256))[patients] + 0.1 * rng.normal(size=(len(patients), 256))
    labels = [f"c{patient % 2}" for patient in patients]
    made = fit(rows.astype(np.float32), labels, patients.astype(str).tolist(), encoder_id="e")
    chosen = made.scores.chosen.scored()
    assert len(chosen.labels_N) == SAMPLE_ROWS
    assert np.average(chosen.guesses() == chosen.labels_N, weights=chosen.shares()) < 0.75


def test_each_sampled_example_is_scored_also_of_a_class_of_two_patients() -> None:
    rows, labels, groups = drawn(0, 3000, 3.0, classes=2, dim=16)
    rare, _, _ = drawn(1, 6, 3.0, classes=1, dim=16)
    rows = np.concatenate([rows, -rare])
    made = fit(rows, [*labels, *["rare"] * 6], [*groups, *["r0"] * 3, *["r1"] * 3], encoder_id="e")
    nested, chosen = made.scores.nested, made.scores.chosen
    assert (nested.is_scored == chosen.is_scored).all()
    assert np.bincount(chosen.scored().labels_N).tolist() == [333, 333, 6]


def test_the_slim_solution_of_many_rows_is_the_exact_one() -> None:
    rows, labels, _ = drawn(0, 2000, 3.0, dim=16)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    numbers = np.array([int(name[1:]) for name in labels])
    slim = fit_head(rows, labels, [str(i) for i in range(6000)], encoder_id="e")
    peers = [
        LogisticRegression(C=c, class_weight="balanced", tol=1e-8, max_iter=10_000)
        .fit(unit, numbers)
        .predict_proba(unit)
        for c in GRID
    ]
    # float32 rows and a tolerance that grows with their number; one C of the grid was chosen.
    assert min(np.abs(slim.probabilities(rows) - peer).max() for peer in peers) < 5e-3


def test_many_rows_that_hardly_vary_along_most_axes_are_solved_to_the_end() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6000, 48)) / np.arange(1, 49)
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    truth = rng.normal(size=(48, 3)) * np.arange(1, 49)[:, None]  # told by the faint axes too
    numbers = (wide @ truth + rng.normal(size=(6000, 3))).argmax(1)
    numbers[:3] = 3  # a class of three among thousands
    peer = LogisticRegression(C=100, class_weight="balanced", tol=1e-8, max_iter=10_000)
    with threadpool_limits(1):
        expected = peer.fit(unit.astype(np.float64), numbers).predict_proba(unit)
        weights, bias = LogisticProblem(unit, numbers, 4).solve(np.arange(6000), 100.0)
    assert softmax(unit @ weights.T + bias, axis=1) == pytest.approx(expected, abs=2e-3)


def test_a_hundred_classes_of_one_example_are_fitted() -> None:
    rows, labels, groups = drawn(0, 1, 0.3, classes=100)
    made = fit(rows, labels, groups, encoder_id="e")
    assert (np.array(made.head.classes)[made.head.logits(rows).argmax(1)] == labels).all()
    assert made.report.balanced_accuracy is None


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_CLASS_NAME + 1), "x" * 10_000])
def test_class_names_that_are_empty_or_endless_are_refused(name) -> None:
    with pytest.raises(InputError, match="class names"):
        fit(np.eye(4), ["a", "a", name, name], list("abcd"), encoder_id="e")


@pytest.mark.parametrize("count", [4, LARGE + 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_rows_that_are_not_numbers_are_refused(count, bad) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 4))
    rows[2] = bad
    labels = ["a" if i % 2 else "b" for i in range(count)]
    with pytest.raises(InputError):
        fit(rows, labels, [str(i) for i in range(count)], encoder_id="e")


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_share_a_fingerprint_exactly_when_they_are_equal(kind) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 7)).astype(kind)
    near = rows.copy()
    near[:, 3] = np.nextafter(near[:, 3], kind(9))
    marks = fingerprints(np.concatenate([rows, near, rows[:10]]))
    assert len(set(marks.tolist())) == 2000
    assert (marks[:10] == marks[-10:]).all()
