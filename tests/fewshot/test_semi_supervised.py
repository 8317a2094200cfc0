"""Unlabelled scans in a fit: they teach only where that helps, and never judge.

Drawn embeddings: two classes, each an arc of scans, so that labels spread along the arcs.
"""

import numpy as np
import pytest

from service.errors import InputError
from service.fewshot.classifier_fit import fit_classifier
from service.fewshot.fit import fit
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.semi_supervision.propagation import confidences, neighbour_graph
from service.fewshot.semi_supervision.semi_supervised import (
    MAX_POOL,
    MAX_TAUGHT,
    NumberedScans,
    Propagation,
    UnlabelledScans,
)
from service.fewshot.solver import LogisticProblem
from tests.fewshot.drawing import one_long_cine_per_class

WIDTH = 40


def arcs(seed, count, noise=0.04):
    """(count, WIDTH) rows on two half circles, and their classes."""
    rng = np.random.default_rng(seed)
    classes_N = rng.integers(0, 2, count)
    angles_N = rng.uniform(0, np.pi, count)
    rows_ND = np.zeros((count, WIDTH))
    rows_ND[:, 0] = np.cos(angles_N) + classes_N
    rows_ND[:, 1] = np.where(classes_N, 0.4 - np.sin(angles_N), np.sin(angles_N))
    rows_ND[:, 2] = 2.0
    return rows_ND + noise * rng.standard_normal(rows_ND.shape), classes_N


def by_scanner(rng, count):
    """(count, WIDTH) rows of two scanners, which differ far more than any classes do."""
    rows_ND = 0.5 * rng.standard_normal((count, WIDTH))
    rows_ND[:, 1] += rng.choice([-6, 6], count)
    return rows_ND


def some(seed, shots):
    """``shots`` rows of each class."""
    rows_ND, classes_N = arcs(seed, 200)
    chosen = np.concatenate([np.flatnonzero(classes_N == c)[:shots] for c in (0, 1)])
    return rows_ND[chosen], classes_N[chosen]


def pool(seed=1, count=150, groups=None):
    return UnlabelledScans(arcs(seed, count)[0], groups or [f"u{u}" for u in range(count)])


def fitted(shots, seed=0, scans=None):
    rows_ND, classes_N = some(seed, shots)
    labels, groups = [f"c{c}" for c in classes_N], [f"g{n}" for n in range(len(classes_N))]
    return fit(rows_ND, labels, groups, encoder_id="e", unlabelled=scans)


def test_unlabelled_scans_raise_the_accuracy_on_other_scans_where_classes_are_curved():
    rows_QD, truth_Q = arcs(99, 400)
    gains, used = [], []
    for seed in range(4):
        plain, semi = fitted(1, seed), fitted(1, seed, pool())
        before, after = (
            balanced_accuracy(truth_Q, f.head.logits(rows_QD).argmax(1), 2) for f in (plain, semi)
        )
        gains.append(after - before)
        used.append(semi.report.unlabelled.used)
    assert all(used)
    assert np.mean(gains) > 0.02


def test_scans_that_cross_validation_finds_harmful_leave_the_head_and_its_scores_alone():
    answers = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows_ND = by_scanner(rng, 16)
        rows_ND[:, 0] += np.repeat([1.2, -1.2], 8)  # the classes
        labels, groups = ["a"] * 8 + ["b"] * 8, [str(n) for n in range(16)]
        scans = UnlabelledScans(by_scanner(rng, 120), [f"u{u}" for u in range(120)])
        plain = fit(rows_ND, labels, groups, encoder_id="e", seed=seed)
        semi = fit(rows_ND, labels, groups, encoder_id="e", seed=seed, unlabelled=scans)
        report = semi.report.unlabelled
        assert report.used == (report.gain is not None and report.gain >= 0)
        if not report.used:
            np.testing.assert_array_equal(semi.head.weights_CD, plain.head.weights_CD)
            np.testing.assert_array_equal(
                semi.scores.chosen.logits_NC, plain.scores.chosen.logits_NC
            )
            answers.append(report.because)
    assert any("worse" in because for because in answers)


def test_scans_of_few_other_patients_are_not_used():
    few = [f"u{u % 20}" for u in range(150)]
    report = fitted(5, scans=pool(groups=few)).report.unlabelled
    assert (report.used, report.taught, report.gain) == (False, 0, None)
    assert "20 other patients" in report.because


def test_an_accuracy_that_leaves_nothing_to_gain_is_left_alone():
    rows_ND = np.random.default_rng(0).standard_normal((20, WIDTH))
    rows_ND[:10, 0] += 9
    rows_ND[10:, 0] -= 9
    labels, groups = ["a"] * 10 + ["b"] * 10, [str(n) for n in range(20)]
    report = fit(rows_ND, labels, groups, encoder_id="e", unlabelled=pool()).report.unlabelled
    assert not report.used
    assert "0.95" in report.because


def test_a_long_cine_that_is_all_right_does_not_mean_that_nothing_is_left_to_gain():
    rows_ND, labels, groups = one_long_cine_per_class(WIDTH)
    report = fit(rows_ND, labels, groups, encoder_id="e", unlabelled=pool()).report
    assert report.balanced_accuracy < 0.95
    # 0.99 of the frames are right, but the scans are tried because of the patients.
    assert "0.95" not in report.unlabelled.because


def test_neither_the_labels_nor_the_scans_of_a_fold_reach_its_scores():
    rows_ND, classes_N = some(0, 6)
    unit_ND = rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)
    groups = [f"g{n}" for n in range(12)]
    test = np.array([0, 6])
    first = UnlabelledScans(
        np.concatenate([arcs(1, 200)[0], rows_ND[:1]]), [*(f"u{u}" for u in range(200)), "g0"]
    )

    def scores(labels_N):
        problem = LogisticProblem(unit_ND, labels_N, 2)
        numbered = NumberedScans.of(first, groups)
        order = np.argsort(np.argsort(groups))
        return Propagation(problem, order, numbered, 10.0).out_of_fold([test])[test]

    swapped_N = classes_N.copy()
    swapped_N[test] = 1 - swapped_N[test]
    np.testing.assert_array_equal(scores(classes_N), scores(swapped_N))


def test_labelled_examples_alone_have_out_of_fold_scores():
    semi = fitted(8, scans=pool())
    assert semi.scores.chosen.logits_NC.shape == (16, 2)
    assert semi.report.groups == 16
    assert semi.report.examples_per_class == {"c0": 8, "c1": 8}


def test_the_frames_of_one_long_clip_count_once_together():
    scans = pool()
    clip = UnlabelledScans(
        np.concatenate([scans.embeddings_UD, np.repeat(scans.embeddings_UD[:1], 60, 0)]),
        [*scans.groups, *["u0"] * 60],
    )
    rows_ND, classes_N = some(0, 3)
    problem = LogisticProblem(rows_ND, classes_N, 2)
    taught, _ = Propagation(
        problem, np.arange(6), NumberedScans.of(clip, [f"g{n}" for n in range(6)]), 10.0
    )._taught(np.arange(6), np.ones(210, np.bool_))
    assert taught.counts_N is not None
    assert taught.counts_N[-60:].sum() <= 0.3


def test_a_head_is_taught_by_a_bounded_number_of_scans():
    report = fitted(1, scans=pool(count=MAX_TAUGHT + 600)).report.unlabelled
    assert report.taught == MAX_TAUGHT
    with pytest.raises(InputError):
        fitted(1, scans=UnlabelledScans(np.ones((MAX_POOL + 1, WIDTH)), ["u"] * (MAX_POOL + 1)))


def test_every_label_decides_for_itself():
    rows_ND, classes_N = some(0, 6)
    targets = {
        "bent": ["present" if c else "absent" for c in classes_N],
        "even": ["present" if n % 2 else "absent" for n in range(12)],
    }
    report = fit_classifier(
        rows_ND, targets, [str(n) for n in range(12)], encoder_id="e", unlabelled=pool()
    ).report
    assert [head.unlabelled.scans for head in report.labels] == [150, 150]
    assert report.labels[0].unlabelled.agreement != report.labels[1].unlabelled.agreement


def test_shares_sum_to_one_and_stay_within_what_takes_part():
    rows_MD = arcs(3, 80)[0]
    unit_MD = (rows_MD / np.linalg.norm(rows_MD, axis=1, keepdims=True)).astype(np.float32)
    labels_M = np.full(80, -1)
    labels_M[:2] = (0, 1)
    kept_M = np.ones(80, np.bool_)
    kept_M[40:50] = False
    shares_MC = neighbour_graph(unit_MD).spread(labels_M, 2, kept_M)
    assert (shares_MC[40:50] == 0).all()
    assert (confidences(shares_MC)[40:50] == 0).all()
    sums_M = shares_MC.sum(1)
    assert (np.isclose(sums_M, 1) | (sums_M == 0)).all()
    assert shares_MC[0].argmax() == 0
    assert shares_MC[1].argmax() == 1


def test_a_head_that_nothing_can_calibrate_becomes_no_more_certain():
    scans = pool()
    plain, semi = fitted(1), fitted(1, scans=scans)
    assert semi.report.unlabelled.used
    assert semi.report.unlabelled.gain is None
    before, after = (f.head.probabilities(scans.embeddings_UD).max(1).mean() for f in (plain, semi))
    assert after <= before + 1e-5
