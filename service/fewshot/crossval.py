"""Grouped cross-validation of a head: out-of-fold scores, and the penalty that they favour.

Shape suffixes: N examples, C classes.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.folds import stratified_group_folds
from service.fewshot.report import balanced
from service.fewshot.solve import LogisticProblem

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Grid: TypeAlias = tuple[float, ...]

GRID: Grid = (1.0, 10.0, 100.0)  # inverse strength of the L2 penalty, sklearn's C
DEFAULT_C = 10.0
LEAST_TO_CHOOSE = 100  # groups of each class; below, choosing measured worse (decision 0012)
MAX_FOLDS = 5


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What heads that had not seen a row's fold gave it.

    Attributes:
        chosen_c: of the best held-out balanced accuracy; the default when there are no folds.
        n_folds: 0 = nothing could be judged.
        nested_NC: logits at a C chosen without the row's fold: for judging. NaN = not judged.
        chosen_NC: logits at ``chosen_c``, the scale of the head that serves: for calibration.
    """

    chosen_c: float
    n_folds: int
    nested_NC: Doubles
    chosen_NC: Doubles


def guesses(logits_NC: Doubles) -> Ints:
    """(N,) the number of the highest logit; -1 for a row of NaN."""
    judged_N = np.asarray(np.isfinite(logits_NC).all(axis=1))
    guesses_N: Ints = np.where(judged_N, np.where(judged_N[:, None], logits_NC, 0).argmax(1), -1)
    return guesses_N


def grouped_folds(problem: LogisticProblem, groups_N: Ints, seed: int) -> list[Ints]:
    """Test rows of each stratified fold, groups intact; none when a class has a single group.

    A fold whose training part would lack a class is left out: its rows stay unjudged.
    """
    labels_N, classes = problem.labels_N, problem.classes
    fewest = min(len(np.unique(groups_N[labels_N == c])) for c in range(classes))
    if fewest < 2:
        return []
    found = stratified_group_folds(labels_N, groups_N, min(MAX_FOLDS, fewest), seed)
    return [t for t in found if len(t) and problem.has_all_classes(problem.without(t))]


def grid_for(problem: LogisticProblem, groups_N: Ints) -> Grid:
    """Values of C worth comparing: one alone where a class has few groups."""
    fewest = min(len(np.unique(groups_N[problem.labels_N == c])) for c in range(problem.classes))
    return GRID if fewest >= LEAST_TO_CHOOSE else (DEFAULT_C,)


def choose_c(problem: LogisticProblem, folds: list[Ints], grid: Grid = GRID) -> float:
    """The C of the best held-out balanced accuracy; of equals the strongest penalty."""
    if not folds or len(grid) == 1:
        return DEFAULT_C
    return _best(problem, _scores_by_c(problem, folds, grid))


def cross_validate(
    problem: LogisticProblem, folds: list[Ints], grid: Grid = GRID
) -> CrossValidation:
    """Out-of-fold logits of every row, nested and at the chosen C.

    For the nested ones C is chosen for each fold from the others alone. A head fitted without
    folds i and j serves the choice for both, which halves the work.
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
    scores = {c: balanced(problem.labels_N, guesses(by_c[c]), problem.classes) for c in by_c}
    return max(scores, key=scores.__getitem__)


def _inner_choice(
    problem: LogisticProblem, folds: list[Ints], inner: dict[tuple[int, int, float], Ints], i: int
) -> float:
    """The C that the other folds favour for fold ``i``; the default when they cannot tell."""
    scores = []
    grid = tuple(dict.fromkeys(c for _, _, c in inner))
    for c in grid:
        chosen_N = np.full(problem.size, -1)
        for j in range(len(folds)):
            if j != i:
                chosen_N[folds[j]] = inner[min(i, j), max(i, j), c][folds[j]]
        scores.append(balanced(problem.labels_N, chosen_N, problem.classes))
    return grid[int(np.argmax(scores))] if max(scores) > 0 else DEFAULT_C


def _guess_pair(problem: LogisticProblem, one: Ints, other: Ints, c: float) -> Ints:
    """Predictions (N,) of both folds by a head fitted without them; -1 where there is none."""
    guesses_N = np.full(problem.size, -1)
    both = np.concatenate([one, other])
    train = problem.without(both)
    if problem.has_all_classes(train):
        guesses_N[both] = problem.logits(train, both, c).argmax(1)
    return guesses_N
