"""Thresholds on a class's probability, with the sensitivity and specificity they give.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError, NotEnoughExamples
from service.fewshot.heldout import HeldOut
from service.fewshot.metrics import MIN_GROUPS, Estimate, group_resamples, over_rows, ratio

Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Target: TypeAlias = Literal["sensitivity", "specificity"]
FOLDS = 5  # as many groups as the least number, so that each fold holds one


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold on one class's probability and what it gives on held-out rows.

    Attributes:
        threshold: call the class at this probability or above.
    """

    name: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate


def operating_point(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, sensitivity: float, *, seed: int = 0
) -> OperatingPoint:
    """The highest threshold that still finds the wanted share of a class's groups.

    Args:
        probabilities_NC: of the rows of ``held_out``; rows of NaN are left out.
        sensitivity: wanted, above 0 and up to 1.

    Raises:
        InputError: no such class, or a sensitivity outside (0, 1].
        NotEnoughExamples: fewer than 5 groups with scores of the class or of the others.
    """
    chosen = _number_of(held_out, name, sensitivity, "sensitivity")
    scored = _scored(held_out, probabilities_NC, chosen)
    scores_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen]
    positive_N = scored.labels_N == chosen
    threshold = _by_target(scores_N, positive_N, scored.shares(), "sensitivity", sensitivity)
    return at_threshold(held_out, probabilities_NC, name, threshold, seed=seed)


def operating_point_of_specificity(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, specificity: float, *, seed: int = 0
) -> OperatingPoint:
    """The lowest threshold that still leaves out the wanted share of the other classes' groups.

    Args:
        probabilities_NC: of the rows of ``held_out``; rows of NaN are left out.
        specificity: wanted, above 0 and up to 1.

    Raises:
        InputError: no such class, a specificity outside (0, 1], or one that only a threshold
            above 1 would give.
        NotEnoughExamples: fewer than 5 groups with scores of the class or of the others.
    """
    chosen = _number_of(held_out, name, specificity, "specificity")
    scored = _scored(held_out, probabilities_NC, chosen)
    scores_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen]
    positive_N = scored.labels_N == chosen
    threshold = _by_target(scores_N, positive_N, scored.shares(), "specificity", specificity)
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
    chosen = _number_of(held_out, name, 1.0, "threshold")
    if not 0 <= threshold <= 1:
        raise InputError(f"expected a threshold of 0 to 1, got {threshold}")
    scored = _scored(held_out, probabilities_NC, chosen)
    called_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen] >= threshold
    return OperatingPoint(name, threshold, *_rates(scored, called_N, chosen, seed))


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

    What a threshold promises where it was chosen is optimistic; this is what choosing one in
    this way gives on other groups: each fifth of them is called by a threshold of the rest.

    Raises:
        InputError, NotEnoughExamples: as the operating point of that target.
    """
    chosen = _number_of(held_out, name, wanted, target)
    scored = _scored(held_out, probabilities_NC, chosen)
    scores_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen]
    positive_N, shares_N = scored.labels_N == chosen, scored.shares()
    called_N = np.zeros(len(scores_N), np.bool_)
    for test_N in _fifths(scored, positive_N, seed):
        rest_N = ~test_N
        threshold = _by_target(
            scores_N[rest_N], positive_N[rest_N], shares_N[rest_N], target, wanted
        )
        called_N[test_N] = scores_N[test_N] >= threshold
    return _rates(scored, called_N, chosen, seed)


def _fifths(scored: HeldOut, positive_N: Bools, seed: int) -> Iterator[Bools]:
    """Masks of groups in turn; groups of the class are dealt out first, so that all have some."""
    groups_G, number_N = np.unique(scored.groups_N, return_inverse=True)
    order_G = np.random.default_rng(seed).permutation(len(groups_G))
    has_G = np.bincount(number_N, weights=positive_N, minlength=len(groups_G)) > 0
    order_G = order_G[np.argsort(~has_G[order_G], kind="stable")]
    fold_G = np.empty(len(groups_G), np.int64)
    fold_G[order_G] = np.arange(len(groups_G)) % FOLDS
    for fold in range(FOLDS):
        yield fold_G[number_N] == fold


def _by_target(
    scores_N: Doubles, positive_N: Bools, shares_N: Doubles, target: Target, wanted: float
) -> float:
    if target == "sensitivity":
        return _threshold(scores_N, positive_N, shares_N, wanted)
    # Called is what is at or above the threshold, so the next float above a score leaves it out.
    greatest_left_out = -_threshold(-scores_N, ~positive_N, shares_N, wanted)
    return float(np.nextafter(greatest_left_out, np.inf))


def _rates(scored: HeldOut, called_N: Bools, chosen: int, seed: int) -> tuple[Estimate, Estimate]:
    """Sensitivity and specificity of calls, with intervals over groups."""
    positive_N = scored.labels_N == chosen
    times_BG = group_resamples(scored.groups_N, seed)

    def share_of(rows_N: Bools, hits_N: Bools) -> Estimate:
        return over_rows(
            lambda w_BN: ratio(w_BN @ (rows_N & hits_N), w_BN @ rows_N.astype(np.float64)),
            times_BG,
            scored.groups_N,
            scored.shares(),
        )

    return share_of(positive_N, called_N), share_of(~positive_N, ~called_N)


def _number_of(held_out: HeldOut, name: str, wanted: float, what: str) -> int:
    if name not in held_out.classes:
        raise InputError(f"expected one of the {len(held_out.classes)} classes of the classifier")
    if not 0 < wanted <= 1:
        raise InputError(f"expected a {what} above 0 and up to 1, got {wanted}")
    return held_out.classes.index(name)


def _scored(held_out: HeldOut, probabilities_NC: Doubles, chosen: int) -> HeldOut:
    """The rows with probabilities, when both sides have groups enough."""
    scored = held_out.rows(np.asarray(np.isfinite(probabilities_NC).all(axis=1)))
    own = len(np.unique(scored.groups_N[scored.labels_N == chosen]))
    others = len(np.unique(scored.groups_N[scored.labels_N != chosen]))
    if min(own, others) < MIN_GROUPS:
        raise NotEnoughExamples(
            f"expected {MIN_GROUPS} groups with scores of the class and of the others, "
            f"got {own} and {others}"
        )
    return scored


def _threshold(scores_N: Doubles, positive_N: Bools, shares_N: Doubles, wanted: float) -> float:
    """The greatest score at which positives of the wanted share of weight are called."""
    order = np.argsort(-scores_N[positive_N], kind="stable")
    weights = shares_N[positive_N][order]
    called = np.cumsum(weights) / weights.sum()
    first = int(np.searchsorted(called, wanted - 1e-9))
    return float(scores_N[positive_N][order][min(first, len(order) - 1)])
