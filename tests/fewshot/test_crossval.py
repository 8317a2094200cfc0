"""Folds keep groups whole and classes even, and are those of scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from service.fewshot.crossval import (
    GRID,
    choose_c,
    cross_validate,
    grouped_folds,
    stratified_group_folds,
)
from service.fewshot.fit import counts_of
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.solver import LogisticProblem


@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("groups", [5, 14, 60, 400])
@pytest.mark.parametrize("folds", [2, 5])
def test_folds_are_those_of_scikit_learn(classes: int, groups: int, folds: int) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(groups, 4 * groups))
        labels = np.sort(rng.integers(0, classes, rows))
        names = rng.integers(0, groups, rows)
        if len(set(names.tolist())) < folds or np.bincount(labels).max() < folds:
            continue
        peer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer rows than folds
            wanted = [test.tolist() for _, test in peer.split(names, labels, names)]
        found = stratified_group_folds(labels, names, folds, seed)
        assert [fold.tolist() for fold in found] == wanted


def test_no_group_is_on_two_sides_and_every_row_is_in_one_fold() -> None:
    rng = np.random.default_rng(1)
    labels, groups = rng.integers(0, 3, 500), rng.integers(0, 90, 500)
    folds = stratified_group_folds(labels, groups, 5, 0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(500))
    sides = [set(groups[fold].tolist()) for fold in folds]
    assert sum(len(side) for side in sides) == len(set(groups.tolist()))


def test_the_penalty_is_chosen_by_patients_and_not_by_their_frames() -> None:
    differing = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), np.where(np.arange(40) < 4, 20, 1))
        labels = (groups % 2).astype(np.int64)
        points = 0.6 * rng.normal(size=(40, 6)) + np.outer(np.arange(40) % 2 - 0.5, np.eye(6)[0])
        rows = points[groups] + 0.4 * rng.normal(size=(len(groups), 6))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        problem = LogisticProblem(rows, labels, 2, counts_of(labels, groups))
        folds = grouped_folds(problem, groups, 0)
        accuracies, of_frames = [], []
        for c in GRID:
            guesses = np.empty(len(groups), np.int64)
            for fold in folds:
                guesses[fold] = problem.logits(problem.without(fold), fold, c).argmax(1)
            accuracies.append(balanced_accuracy(labels, guesses, 2, problem.counts_N))
            of_frames.append(balanced_accuracy(labels, guesses, 2))
        best = GRID[int(np.argmax(accuracies))]
        assert choose_c(problem, folds) == cross_validate(problem, folds).chosen_c == best
        differing += best != GRID[int(np.argmax(of_frames))]
    assert differing > 0
