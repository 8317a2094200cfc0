"""Estimates with 95 % intervals that respect groups.

Intervals are percentile bootstraps over whole groups, widened for few groups. Where all groups of a
class are right, or all wrong, no resample differs: exact binomial bounds stand for what the
groups leave open. They count in part where groups are partly wrong and none is mostly wrong, or
only groups of few rows are.

Shape suffixes: N rows, C classes, G groups, B resamples, X events or columns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from service.arrays import Bools, Doubles, Ints

RESAMPLES = 1000
MIN_RESAMPLES = 100  # with very many groups, whose intervals are narrow anyway
_CELLS = 4_000_000  # of one block of resamples x rows, 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval: percentile bootstrap over groups."""

    value: float
    low: float
    high: float


def group_resamples(groups_N: Ints, seed: int = 0, resamples: int = RESAMPLES) -> Doubles:
    """(B + 1, G) how often each group is drawn; the first row is the sample itself.

    Groups are in the order of ``numpy.unique``.
    """
    groups = len(np.unique(groups_N))
    resamples = min(resamples, max(MIN_RESAMPLES, _CELLS // groups))
    rng = np.random.default_rng(seed)
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    return np.concatenate([np.ones((1, groups)), times_BG])


def estimate(
    values_B: Doubles,
    groups: float | None = None,
    *,
    unseen: tuple[float, float] = (0.0, 0.0),
    least: float = 0.0,
) -> Estimate:
    """The first value with the percentiles of the others; resamples of NaN are left out.

    No resample of rows that are all right has a wrong one: what no row shows has no part in the
    percentiles, and joins them as an independent source (MOVER: Zou and Donner 2008, "Construction
    of confidence limits about effect measures").

    Args:
        groups: independent (``effective``) groups behind it; None = the percentiles alone.
        unseen: how far below and above the value the figure may lie by what no row shows.
        least: of the figure, whose greatest is 1.
    """
    others_B = values_B[1:][np.isfinite(values_B[1:])]
    value = float(values_B[0])
    low, high = np.percentile(others_B, [2.5, 97.5]) if len(others_B) else (value, value)
    if groups is not None:
        widening, (below, above) = few_groups_factor(groups), unseen
        low = max(least, value - np.hypot(widening * max(0.0, value - low), below))
        high = min(1.0, value + np.hypot(widening * max(0.0, high - value), above))
    return Estimate(value, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Extremes:
    """The least and the greatest share of a group, of one figure or of each of several.

    A group of fewer rows than ``usual_size`` stands that much nearer to 1 and to 0: that a short
    one is wrong does not say what long ones do.
    """

    least: Doubles
    greatest: Doubles

    @staticmethod
    def of(hits_G: Doubles, totals_G: Doubles) -> "Extremes":
        """Of groups along the first axis; one without rows has no part in it.

        Args:
            hits_G: weight of the rows of each group that the share counts.
            totals_G: of all its rows.
        """
        sizes_G = np.maximum(totals_G, usual_size(totals_G))
        sizes_G = np.where(sizes_G > 0, sizes_G, 1)
        least_G, greatest_G = 1 - (totals_G - hits_G) / sizes_G, hits_G / sizes_G
        return Extremes(
            np.asarray(least_G.min(0, initial=1.0)), np.asarray(greatest_G.max(0, initial=0.0))
        )

    @property
    def weights(self) -> tuple[Doubles, Doubles]:
        """How much of the bounds on what no group shows counts, below and above the figure.

        All of it where every group is right, nothing once a group of usual size is mostly wrong:
        the bootstrap then knows that there are such. Groups that are all partly right would
        otherwise claim to exclude what groups that are all right leave open.
        """
        return np.maximum(0, 2 * self.least - 1), np.maximum(0, 1 - 2 * self.greatest)


def share_estimate(values_B: Doubles, groups: float, extremes: Extremes) -> Estimate:
    """The estimate of a share over groups: 5 groups that are all right leave 0.48 to 1.

    Args:
        extremes: the shares of the least and the most right group.
    """
    bound = unseen_sum(np.array([max(1.0, groups)]))
    below, above = (bound * float(weight) for weight in extremes.weights)
    return estimate(values_B, groups, unseen=(below, above))


def unseen_sum(groups_X: Ints | Doubles, weights_X: Doubles | None = None) -> float:
    """The greatest sum of the chances of X events, none seen in so many groups each; 0 without any.

    Greater ones leave less than 2.5 % for a sample without any of them. Of a single event it is the
    exact binomial bound (Clopper and Pearson 1934): 0.52 for 5 groups.

    Args:
        weights_X: of each chance in the sum; None = 1 each.
    """
    weights_X = np.ones(len(groups_X)) if weights_X is None else weights_X
    there_X = weights_X > 0
    groups_X, weights_X = groups_X[there_X].astype(np.float64), weights_X[there_X]
    if not len(groups_X):
        return 0.0
    order_X = np.argsort(groups_X / weights_X, kind="stable")
    groups_X, weights_X = groups_X[order_X], weights_X[order_X]
    ratios_X = groups_X / weights_X
    # The sum is greatest where each event has the chance 1 - scale * ratio, and 0 beyond some.
    logs_X = np.cumsum(groups_X * np.log(ratios_X))
    scale_X = np.exp((np.log(0.025) - logs_X) / np.cumsum(groups_X))
    last = np.flatnonzero(scale_X * ratios_X <= 1)[-1]
    return float((weights_X * (1 - scale_X[last] * ratios_X))[: last + 1].sum())


def mean_of_shares(shares_BC: Doubles, groups_C: Doubles, extremes_C: Extremes) -> Estimate:
    """The mean of the shares of classes, each over the groups of its class.

    Shares of 0 and 1, which all resamples repeat, add what their groups leave open.

    Args:
        shares_BC: the first row is that of the sample; NaN = no row of the class.
        extremes_C: of the groups of each class.
    """
    there_C = np.isfinite(shares_BC[0])
    count = max(1, int(there_C.sum()))
    unseen = [unseen_sum(groups_C, weights_C * there_C) / count for weights_C in extremes_C.weights]
    fewest = float(groups_C[there_C].min(initial=groups_C.max(initial=1.0)))
    return estimate(mean_of_present(shares_BC), fewest, unseen=(unseen[0], unseen[1]))


def effective_groups(totals_GX: Doubles) -> Doubles:
    """(X,) as many equal groups say as much of a mean; of few long ones fewer than there are.

    (sum of weights)^2 / sum of squares (Kish 1965, "Survey sampling"): 10 for 10 patients of 3
    outcomes, 2 for one of 90 and nine of 3. 0 without rows.

    Args:
        totals_GX: weight of the rows of each group in each of several figures.
    """
    squares_X = (totals_GX**2).sum(0)
    groups_X: Doubles = totals_GX.sum(0) ** 2 / np.where(squares_X > 0, squares_X, 1)
    return groups_X


def usual_size(totals_GX: Doubles) -> Doubles:
    """(X,) the mean over rows of the weight of the group of the row; 0 without rows."""
    sums_X = totals_GX.sum(0)
    sizes_X: Doubles = (totals_GX**2).sum(0) / np.where(sums_X > 0, sums_X, 1)
    return sizes_X


def few_groups_factor(groups: float) -> float:
    """How much wider than its bootstrap a 95 % interval of so few groups is: 1.58 for 5.

    A bootstrap of G groups has a standard error that is too small by the root of (G - 1) / G, and
    takes normal quantiles for those of Student's t (Hesterberg 2015, "What teachers should know
    about the bootstrap", section 5.3).
    """
    degrees = max(1.0, groups - 1)
    return float(stdtrit(degrees, 0.975) / stdtrit(np.inf, 0.975) * np.sqrt(1 + 1 / degrees))


def share_of_groups(
    hits_N: Bools, times_BG: Doubles, groups_N: Ints, shares_N: Doubles, among_N: Bools
) -> Estimate:
    """The share of some rows that are hits, with an interval over their groups.

    Args: as ``weighted_figures``; ``among_N`` are the rows that count, one at least.
    """
    group_N = np.unique(groups_N, return_inverse=True)[1]
    weights_N = shares_N * among_N
    totals_G = np.bincount(group_N, weights_N, times_BG.shape[1]).astype(np.float64)
    hits_G = np.bincount(group_N, weights_N * hits_N, times_BG.shape[1]).astype(np.float64)
    values_B = ratio(times_BG @ hits_G, times_BG @ totals_G)
    extremes = Extremes.of(hits_G, totals_G)
    return share_estimate(values_B, float(effective_groups(totals_G)), extremes)


def weighted_figures(
    measure: Callable[[Doubles], Doubles], times_BG: Doubles, groups_N: Ints, shares_N: Doubles
) -> Doubles:
    """(B, ...) figures of the sample and of each resample.

    Args:
        measure: row weights (B, N) -> figures (B, ...); called on blocks of resamples.
        shares_N: weight of each row of the sample itself.
    """
    group_N = np.unique(groups_N, return_inverse=True)[1]
    step = max(1, _CELLS // max(1, len(groups_N)))
    figures = [
        measure(times_BG[start : start + step, group_N] * shares_N)
        for start in range(0, len(times_BG), step)
    ]
    return np.concatenate(figures)


def ratio(above_BX: Doubles, below_BX: Doubles) -> Doubles:
    """above / below, NaN where nothing is below."""
    safe_BX = np.where(below_BX > 0, below_BX, 1)
    shares_BX: Doubles = np.where(below_BX > 0, above_BX / safe_BX, np.nan)
    return shares_BX


def mean_of_present(values_BC: Doubles) -> Doubles:
    """(B,) mean over the classes of each resample; one without rows there is left out."""
    there_BC = np.isfinite(values_BC)
    return ratio(np.where(there_BC, values_BC, 0).sum(1), there_BC.sum(1).astype(np.float64))
