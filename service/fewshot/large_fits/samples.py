"""A sample of very many examples: which rows are scored, and by heads of how many others.

Shape suffixes: N examples, M sampled examples, G groups, C classes.
"""

import math
from dataclasses import replace

import numpy as np

from service.arrays import Doubles, Ints
from service.fewshot.solver import LogisticProblem

LARGE = 5000  # rows that teach; with more, a sample is scored
SAMPLE_ROWS = 1000  # rows of the sample, in all
MIN_ROWS_PER_CLASS = 5  # rows of each class, where it has them
PARTS = 5  # of all groups; heads of the other parts score one
SAMPLED_GROUPS = 250  # of each class, where it has them


def sample_rows(problem: LogisticProblem, groups_N: Ints, seed: int) -> Ints:
    """Row numbers to cross-validate on, ascending: all, or a sample balanced over classes.

    The sample is drawn from ``held_parts``.
    """
    per_class = _per_class(problem)
    if problem.size * problem.views <= LARGE or _rows_per_class(problem).max() <= per_class:
        return np.arange(problem.size)
    rng = np.random.default_rng(seed)
    among = np.sort(np.concatenate(held_parts(problem, groups_N, seed)))
    drawn = [
        rng.permutation(among[problem.labels_N[among] == c])[:per_class]
        for c in range(problem.classes)
    ]
    rows_M: Ints = np.sort(np.concatenate(drawn))
    return rows_M


def held_parts(problem: LogisticProblem, groups_N: Ints, seed: int) -> list[Ints]:
    """Rows of up to five parts of whole groups, each a fifth of all groups.

    They are as many as give the sample its rows and ``SAMPLED_GROUPS`` groups of each class. A
    head is fitted without each of them, so more would only take longer.
    """
    labels_N, rows_C = problem.labels_N, _rows_per_class(problem)
    first_G, number_N = np.unique(groups_N, return_index=True, return_inverse=True)[1:]
    rank_C = np.argsort(np.argsort(rows_C, kind="stable"))
    rank_G = rank_C[labels_N[first_G]]
    np.minimum.at(rank_G, number_N, rank_C[labels_N])  # a group belongs to its rarest class
    drawn_G = np.random.default_rng(seed).permutation(len(rank_G))
    part_G = np.empty(len(rank_G), np.int64)
    # Dealt class by class, so that each part has a fifth of each.
    part_G[drawn_G[np.argsort(rank_G[drawn_G], kind="stable")]] = np.arange(len(rank_G)) % PARTS
    groups = min(len(np.unique(groups_N[labels_N == c])) for c in range(problem.classes))
    wanted = PARTS * max(SAMPLED_GROUPS / groups, _per_class(problem) / rows_C.min())
    return [np.flatnonzero(part_G[number_N] == p) for p in range(min(PARTS, math.ceil(wanted)))]


def _per_class(problem: LogisticProblem) -> int:
    """Rows of the sample of each class."""
    return max(MIN_ROWS_PER_CLASS, SAMPLE_ROWS // problem.classes)


def _rows_per_class(problem: LogisticProblem) -> Ints:
    return np.bincount(problem.labels_N, minlength=problem.classes)


def logits_of_all(
    problem: LogisticProblem, groups_N: Ints, rows_M: Ints, c: float, seed: int
) -> Doubles:
    """(M, C) logits of sampled rows by heads of all rows but their part; NaN = not scored.

    The heads of cross-validation learn from the sample alone. The length of logits grows with the
    number of rows, so those would calibrate another head than the one that serves.
    """
    logits_MC = np.full((len(rows_M), problem.classes), np.nan)
    counts_N = np.ones(problem.size) if problem.counts_N is None else problem.counts_N
    for part in held_parts(problem, groups_N, seed):
        is_held_M = np.isin(rows_M, part)
        if not is_held_M.any() or not problem.has_all_classes(problem.without(part)):
            continue
        weighed_N = counts_N.copy()
        weighed_N[part] = 0  # without weight they teach nothing, and no row needs to be copied
        rest = replace(problem, counts_N=weighed_N)
        logits_MC[is_held_M] = rest.logits(np.arange(problem.size), rows_M[is_held_M], c)
    return logits_MC
