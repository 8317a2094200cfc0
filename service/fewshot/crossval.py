"""Grouped cross-validation of a head: out-of-fold scores, and the choice of the penalty.

scikit-learn's StratifiedGroupKFold gives the same folds (a test compares them), but loops over rows
in Python and takes seconds to import.

Shape suffixes: N examples, G groups, C classes, F folds.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np

from service.arrays import Doubles, Ints
from service.fewshot.heldout import guesses
from service.fewshot.metrics import balanced_accuracy
from service.fewshot.solver import LogisticProblem

Grid: TypeAlias = tuple[float, ...]

GRID: Grid = (1.0, 10.0, 100.0)  # inverse strength of the L2 penalty, sklearn's C
DEFAULT_C = 10.0
MIN_GROUPS_TO_CHOOSE = 100  # of each class; with fewer, the default was better (decision 0012)
MAX_FOLDS = 5


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """Logits of each row by heads that had not seen its fold.

    Attributes:
        chosen_c: of the best held-out balanced accuracy; the default when there are no folds.
        n_folds: 0 = nothing could be scored.
        nested_NC: at a C chosen without the row's fold, for metrics; NaN = not scored.
        chosen_NC: at ``chosen_c``, the scale of the head, for calibration.
    """

    chosen_c: float
    n_folds: int
    nested_NC: Doubles
    chosen_NC: Doubles


def grouped_folds(problem: LogisticProblem, groups_N: Ints, seed: int) -> list[Ints]:
    """Test rows of each stratified fold, groups intact; none when a class has a single group.

    A fold whose training part would lack a class is left out: its rows stay without scores.
    """
    labels_N, classes = problem.labels_N, problem.classes
    fewest = min(len(np.unique(groups_N[labels_N == c])) for c in range(classes))
    if fewest < 2:
        return []
    folds = stratified_group_folds(labels_N, groups_N, min(MAX_FOLDS, fewest), seed)
    return [t for t in folds if len(t) and problem.has_all_classes(problem.without(t))]


def grid_for(problem: LogisticProblem, groups_N: Ints) -> Grid:
    """Values of C worth comparing; a single one when a class has few groups."""
    fewest = min(len(np.unique(groups_N[problem.labels_N == c])) for c in range(problem.classes))
    return GRID if fewest >= MIN_GROUPS_TO_CHOOSE else (DEFAULT_C,)


def choose_c(problem: LogisticProblem, folds: list[Ints], grid: Grid = GRID) -> float:
    """The C of the best held-out balanced accuracy; among equals the strongest penalty."""
    if not folds or len(grid) == 1:
        return DEFAULT_C
    return _best(problem, _scores_by_c(problem, folds, grid))


def cross_validate(
    problem: LogisticProblem, folds: list[Ints], grid: Grid = GRID
) -> CrossValidation:
    """Out-of-fold logits of every row, nested and at the chosen C.

    For the nested logits the other folds choose the C of each fold. A head fitted without folds i
    and j serves the choice for both, which halves the work.
    """
    nested_NC = np.full((problem.size, problem.classes), np.nan)
    if not folds:
        return CrossValidation(DEFAULT_C, 0, nested_NC, nested_NC)
    by_c = _scores_by_c(problem, folds, grid)
    if len(grid) == 1:
        return CrossValidation(grid[0], len(folds), by_c[grid[0]], by_c[grid[0]])
    inner = {
        (i, j, c): _guess_pair(problem, folds[i], folds[j], c)
        for i, j in combinations(range(len(folds)), 2)
        for c in grid
    }
    for i, test in enumerate(folds):
        nested_NC[test] = by_c[_inner_choice(problem, folds, inner, i)][test]
    chosen = _best(problem, by_c)
    return CrossValidation(chosen, len(folds), nested_NC, by_c[chosen])


def _scores_by_c(problem: LogisticProblem, folds: list[Ints], grid: Grid) -> dict[float, Doubles]:
    """Out-of-fold logits (N, C) for every C of the grid."""
    by_c = {}
    for c in grid:
        logits_NC = np.full((problem.size, problem.classes), np.nan)
        for test in folds:
            logits_NC[test] = problem.logits(problem.without(test), test, c)
        by_c[c] = logits_NC
    return by_c


def _best(problem: LogisticProblem, by_c: dict[float, Doubles]) -> float:
    scores = {c: _accuracy(problem, guesses(by_c[c])) for c in by_c}
    return max(scores, key=scores.__getitem__)


def _accuracy(problem: LogisticProblem, guesses_N: Ints) -> float:
    """Balanced accuracy, in which each row counts as much as in the fit."""
    return balanced_accuracy(problem.labels_N, guesses_N, problem.classes, problem.counts_N)


def _inner_choice(
    problem: LogisticProblem, folds: list[Ints], inner: dict[tuple[int, int, float], Ints], i: int
) -> float:
    """The C that the other folds choose for fold ``i``; the default when none has scores."""
    scores = []
    grid = tuple(dict.fromkeys(c for _, _, c in inner))
    for c in grid:
        chosen_N = np.full(problem.size, -1)
        for j in range(len(folds)):
            if j != i:
                chosen_N[folds[j]] = inner[min(i, j), max(i, j), c][folds[j]]
        scores.append(_accuracy(problem, chosen_N))
    return grid[int(np.argmax(scores))] if max(scores) > 0 else DEFAULT_C


def _guess_pair(problem: LogisticProblem, fold: Ints, next_fold: Ints, c: float) -> Ints:
    """Predictions (N,) of both folds by a head fitted without them; -1 where there is none."""
    guesses_N = np.full(problem.size, -1)
    both = np.concatenate([fold, next_fold])
    train = problem.without(both)
    if problem.has_all_classes(train):
        guesses_N[both] = problem.logits(train, both, c).argmax(1)
    return guesses_N


def stratified_group_folds(labels_N: Ints, groups_N: Ints, folds: int, seed: int) -> list[Ints]:
    """Row numbers of each fold, ascending; a fold may be empty.

    Groups are assigned one by one, those with uneven classes first, each to the fold that spreads
    the classes most evenly; among equals to the one with the fewest rows.

    Args:
        folds: at least 2, and at most the number of groups.
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
    tried_FFC /= totals_C
    tried_FFC -= np.add.reduce(tried_FFC, 1, keepdims=True) / folds  # np.std has twice the overhead
    tried_FFC *= tried_FFC
    spread_FC = np.sqrt(np.add.reduce(tried_FFC, 1) / folds)
    unevenness_F = (np.add.reduce(spread_FC, 1) / len(totals_C)).tolist()
    rows_F = np.add.reduce(held_FC, 1).tolist()
    best, least = 0, float("inf")
    for fold, unevenness in enumerate(unevenness_F):
        # As numpy.isclose, which takes longer than all the rest.
        equal = abs(unevenness - least) <= 1e-8 + 1e-5 * abs(least)
        if unevenness < least or (equal and rows_F[fold] < rows_F[best]):
            best, least = fold, unevenness
    return best
