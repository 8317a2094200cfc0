"""Folds keep groups whole and classes even, and are those of scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from service.fewshot.crossval import stratified_group_folds


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
