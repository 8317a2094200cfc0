"""Rows -> folds that keep groups whole and classes even.

scikit-learn's StratifiedGroupKFold gives the same folds (a test compares them), one Python loop per
row, and takes seconds to import.

Shape suffixes: N rows, G groups, C classes, F folds.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]


def stratified_group_folds(labels_N: Ints, groups_N: Ints, folds: int, seed: int) -> list[Ints]:
    """Row numbers of each fold, ascending; a fold may be empty.

    Drawn groups are dealt out one by one, those of uneven classes first, each to the fold that
    leaves the classes spread the most evenly; of equals to the one that has the fewest rows.

    Args:
        folds: how many; at least two, and at most as many as there are groups.
    """
    numbers_N = np.unique(labels_N, return_inverse=True)[1]
    group_N = np.unique(groups_N, return_inverse=True)[1]
    counts_GC = np.zeros((int(group_N.max()) + 1, int(numbers_N.max()) + 1))
    np.add.at(counts_GC, (group_N, numbers_N), 1)
    drawn_G = np.arange(len(counts_GC))
    np.random.RandomState(seed).shuffle(drawn_G)
    deal_G = drawn_G[np.argsort(-np.std(counts_GC[drawn_G], axis=1), kind="stable")]
    fold_G = np.empty(len(counts_GC), np.int64)
    held_FC, totals_C = np.zeros((folds, counts_GC.shape[1])), counts_GC.sum(0)
    for group in deal_G.tolist():
        fold_G[group] = _best_fold(held_FC, counts_GC[group], totals_C)
        held_FC[fold_G[group]] += counts_GC[group]
    return [np.flatnonzero(fold_G[group_N] == fold) for fold in range(folds)]


def _best_fold(held_FC: Doubles, added_C: Doubles, totals_C: Doubles) -> int:
    folds = len(held_FC)
    tried_FFC = np.repeat(held_FC[None], folds, axis=0)  # the group given to each fold in turn
    tried_FFC[np.arange(folds), np.arange(folds)] += added_C
    unevenness_F = np.std(tried_FFC / totals_C, axis=1).mean(1).tolist()
    rows_F = held_FC.sum(1).tolist()
    best, least = 0, float("inf")
    for fold, unevenness in enumerate(unevenness_F):
        # As numpy.isclose, which takes longer than all the rest.
        equal = abs(unevenness - least) <= 1e-8 + 1e-5 * abs(least)
        if unevenness < least or (equal and rows_F[fold] < rows_F[best]):
            best, least = fold, unevenness
    return best
