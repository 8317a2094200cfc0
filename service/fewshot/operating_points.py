"""Thresholds on the probability of a class, with their sensitivity and specificity.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from service.arrays import Bools, Doubles
from service.errors import InputError, NotEnoughExamples
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import MIN_GROUPS
from service.fewshot.uncertainty.intervals import Estimate, group_resamples, share_of_groups

Target: TypeAlias = Literal["sensitivity", "specificity"]
FOLDS = 5  # the same as MIN_GROUPS, so that each fold holds a group


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold on the probability of a class, with its figures on held-out rows.

    Attributes:
        threshold: the class is called at this probability or above.
    """

    name: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate


def operating_point(
    held_out: HeldOut,
    probabilities_NC: Doubles,
    name: str,
    target: Target,
    wanted: float,
    *,
    seed: int = 0,
) -> OperatingPoint:
    """The best threshold that reaches a sensitivity or a specificity.

    For a sensitivity it is the highest that still calls the wanted share of the groups of a class,
    for a specificity the lowest that leaves out the wanted share of the groups of the others.

    Args:
        probabilities_NC: of the rows of ``held_out``; rows of NaN are left out.
        wanted: above 0 and up to 1.

    Raises:
        InputError: no such class, a value outside (0, 1], or a specificity that only a threshold
            above 1 would give.
        NotEnoughExamples: fewer than 5 groups with scores of the class or of the others.
    """
    scores = _scores_of(held_out, probabilities_NC, name, wanted, target)
    threshold = scores.threshold(target, wanted)
    if threshold > 1:
        raise InputError("the probabilities of other classes reach 1; choose a lower specificity")
    return at_threshold(held_out, probabilities_NC, name, threshold, seed=seed)


def at_threshold(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, threshold: float, *, seed: int = 0
) -> OperatingPoint:
    """Sensitivity and specificity of a threshold that someone chose.

    Raises:
        InputError: no such class, or a threshold outside 0 to 1.
        NotEnoughExamples: fewer than 5 groups with scores of the class or of the others.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"expected a threshold of 0 to 1, got {threshold}")
    scores = _scores_of(held_out, probabilities_NC, name, 1.0, "threshold")
    return OperatingPoint(name, threshold, *scores.rates(scores.values_N >= threshold, seed))


def cross_fitted(
    held_out: HeldOut,
    probabilities_NC: Doubles,
    name: str,
    target: Target,
    wanted: float,
    *,
    seed: int = 0,
) -> tuple[Estimate, Estimate]:
    """Sensitivity and specificity of thresholds that were chosen without the scored groups.

    The figures on the rows that chose a threshold are optimistic. Here each fifth of the groups is
    called by a threshold that the rest chose.

    Raises:
        InputError, NotEnoughExamples: as the operating point of that target.
    """
    scores = _scores_of(held_out, probabilities_NC, name, wanted, target)
    called_N = np.zeros(len(scores.values_N), np.bool_)
    for test_N in _fifths(scores.scored, scores.positive_N, seed):
        threshold = scores.threshold(target, wanted, ~test_N)
        called_N[test_N] = scores.values_N[test_N] >= threshold
    return scores.rates(called_N, seed)


def _fifths(scored: HeldOut, positive_N: Bools, seed: int) -> Iterator[Bools]:
    """Masks of a fifth of the groups each; those of the class come first, so that all have some."""
    groups_G, number_N = np.unique(scored.groups_N, return_inverse=True)
    order_G = np.random.default_rng(seed).permutation(len(groups_G))
    has_G = np.bincount(number_N, weights=positive_N, minlength=len(groups_G)) > 0
    order_G = order_G[np.argsort(~has_G[order_G], kind="stable")]
    fold_G = np.empty(len(groups_G), np.int64)
    fold_G[order_G] = np.arange(len(groups_G)) % FOLDS
    for fold in range(FOLDS):
        yield fold_G[number_N] == fold


@dataclass(frozen=True, slots=True)
class _ClassScores:
    """The rows that have probabilities: that of one class, and whether the row is of the class."""

    scored: HeldOut
    values_N: Doubles
    positive_N: Bools

    def threshold(self, target: Target, wanted: float, rows: Bools | None = None) -> float:
        """The best threshold of some rows; None = all."""
        chosen = slice(None) if rows is None else rows
        values_N, positive_N = self.values_N[chosen], self.positive_N[chosen]
        shares_N = self.scored.shares()[chosen]
        if target == "sensitivity":
            return _threshold(values_N, positive_N, shares_N, wanted)
        # A threshold calls what is at or above it, so the next float above a score leaves it out.
        greatest_left_out = -_threshold(-values_N, ~positive_N, shares_N, wanted)
        return float(np.nextafter(greatest_left_out, np.inf))

    def rates(self, called_N: Bools, seed: int) -> tuple[Estimate, Estimate]:
        """Sensitivity and specificity of calls, with intervals over groups."""
        times_BG = group_resamples(self.scored.groups_N, seed)

        def share_of(rows_N: Bools, hits_N: Bools) -> Estimate:
            groups_N, shares_N = self.scored.groups_N, self.scored.shares()
            return share_of_groups(hits_N, times_BG, groups_N, shares_N, rows_N)

        return share_of(self.positive_N, called_N), share_of(~self.positive_N, ~called_N)


def _scores_of(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, wanted: float, what: str
) -> _ClassScores:
    """Raises InputError, NotEnoughExamples: as ``operating_point``."""
    if name not in held_out.classes:
        raise InputError(f"expected one of the {len(held_out.classes)} classes of the classifier")
    if not 0 < wanted <= 1:
        raise InputError(f"expected a {what} above 0 and up to 1, got {wanted}")
    number = held_out.classes.index(name)
    keep_N = np.asarray(np.isfinite(probabilities_NC).all(axis=1))
    scored = held_out.rows(keep_N)
    positive_N = scored.labels_N == number
    own, others = (len(np.unique(scored.groups_N[rows_N])) for rows_N in (positive_N, ~positive_N))
    if min(own, others) < MIN_GROUPS:
        raise NotEnoughExamples(
            f"expected {MIN_GROUPS} groups with scores of the class and of the others, "
            f"got {own} and {others}"
        )
    return _ClassScores(scored, probabilities_NC[keep_N][:, number], positive_N)


def _threshold(scores_N: Doubles, positive_N: Bools, shares_N: Doubles, wanted: float) -> float:
    """The greatest score that calls positives of the wanted share of weight."""
    order = np.argsort(-scores_N[positive_N], kind="stable")
    weights = shares_N[positive_N][order]
    called = np.cumsum(weights) / weights.sum()
    first = int(np.searchsorted(called, wanted - 1e-9))
    return float(scores_N[positive_N][order][min(first, len(order) - 1)])
