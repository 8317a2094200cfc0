"""When answers in use differ from the reference by more than chance.

A window of answers is tested once, when it is full. Its limits come from a bootstrap over the
groups (patients) of the reference: whole groups are drawn until the window is full, because frames
of one patient resemble each other, and the reference is drawn again as well, because it is a sample
too. No window is drawn longer than the reference, because so many answers may come from no more
patients than the reference has (1,000 frames of 200 patients say as much of patients as 200). The
figures are tested together: the limits are those at which the chance that any figure
passes its own is the stated one (the least p-value over figures: Westfall and Young 1993,
"Resampling-based multiple testing"). They are drawn in the mixture of the reference, and widen for
windows whose mixture rests on fewer of its groups.

Shape suffixes: B resamples, K drawn groups, G groups, F figures, C strata.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from service.arrays import Doubles, Ints
from service.fewshot.drift.drift_reference import DIRECTIONS_F, FIGURES, DriftReference

MIN_GROUPS = 20  # with fewer, the tails of a bootstrap say nothing
MIN_RESAMPLES = 4000
TAIL_RESAMPLES = 20  # beyond the limit
FALSE_ALARMS_PER_1000 = 0.05  # expected, over windows of all lengths and all figures
WINDOWS = (50, 200, 1000)  # answers
_CELLS = 2_000_000  # drawn groups at once
_ABSTENTIONS = FIGURES.index("abstentions")


@dataclass(frozen=True, slots=True)
class DriftTest:
    """The test of one full window.

    Attributes:
        deviation_F: from the reference, in the order of ``FIGURES``.
        limit_F: the greatest that is no alarm; below for a figure that alarms when it falls.
    """

    answers: int
    deviation_F: Doubles
    limit_F: Doubles

    @property
    def alarms(self) -> tuple[str, ...]:
        """The figures beyond their limits."""
        beyond_F = DIRECTIONS_F * (self.deviation_F - self.limit_F) > 0
        return tuple(name for name, is_beyond in zip(FIGURES, beyond_F, strict=True) if is_beyond)


def false_alarm_share(window: int) -> float:
    """The chance that an undisturbed window of this length alarms, by any figure.

    Each length has an equal part of the false alarms, however often it is tested.
    """
    return FALSE_ALARMS_PER_1000 / len(WINDOWS) * window / 1000


def drift_limits(
    reference: DriftReference, answers: int, false_alarms: float, *, seed: int = 0
) -> Doubles:
    """(F,) limits of a window of so many answers, as deviations.

    Args:
        false_alarms: chance that an undisturbed window passes any of the limits.
    """
    resamples = max(MIN_RESAMPLES, int(np.ceil(TAIL_RESAMPLES / false_alarms)))
    drawn = min(answers, int(reference.sizes_G.sum()))
    chance_BF = DIRECTIONS_F * _deviations_by_chance(reference, drawn, resamples, seed)
    ranks_BF = np.empty_like(chance_BF, dtype=np.int64)
    order_BF = np.argsort(-chance_BF, axis=0, kind="stable")
    np.put_along_axis(ranks_BF, order_BF, np.arange(resamples)[:, None], axis=0)
    least_B = np.sort(ranks_BF.min(1))
    allowed = int(false_alarms * resamples)
    # The figures' own limits are so far out that together ``allowed`` resamples pass one.
    rank = max(0, int(least_B[min(allowed, resamples - 1)]))
    limits_F: Doubles = DIRECTIONS_F * np.take_along_axis(chance_BF, order_BF, axis=0)[rank]
    return limits_F * _few_groups_factor(reference.groups, false_alarms / len(FIGURES))


def limits_of_mixture(
    limits_F: Doubles, reference: DriftReference, counts_C: Ints, false_alarms: float
) -> Doubles:
    """(F,) the limits of ``drift_limits`` for a window with another mixture of strata.

    Where the answers are of strata of which the reference has few groups, its means are less
    certain than in its own mixture. The limits widen as the standard deviation does, and for the
    groups that the mixture rests on. They never become narrower.

    Args:
        counts_C: answers of each stratum; those of strata that are not tested do not count.
    """
    tested_C = reference.tested(counts_C)
    answers = int(tested_C.sum())
    if not answers:
        return limits_F
    tail, own_C = false_alarms / len(FIGURES), reference.rows_C / reference.rows_C.sum()
    spreads_2F = []
    for shares_C in (own_C, tested_C / answers):
        there_C = shares_C > 0
        groups = 1 / (shares_C[there_C] ** 2 / reference.groups_C[there_C]).sum()
        spreads_2F.append(reference.spread(shares_C, answers) * _few_groups_factor(groups, tail))
    usual_F, here_F = spreads_2F
    wider_F = np.where(usual_F > 0, here_F / np.where(usual_F > 0, usual_F, 1), 1)
    return limits_F * np.maximum(1, wider_F)


def _few_groups_factor(groups: float, tail: float) -> float:
    """How much farther out the limit of a tail is than its bootstrap of so few groups says.

    As ``metrics.few_groups_factor``, for a tail on one side: 1.3 for 20 groups and one window of 50
    in 36,000, 1.02 for 200.
    """
    degrees = max(1.0, groups - 1)
    quantiles = stdtrit(degrees, tail) / stdtrit(np.inf, tail)
    return float(quantiles * np.sqrt(1 + 1 / degrees))


def _deviations_by_chance(
    reference: DriftReference, answers: int, resamples: int, seed: int
) -> Doubles:
    """(B, F) deviations of windows of the reference's own groups."""
    rng = np.random.default_rng(seed)
    sizes_G, residuals_GF = _with_a_doubtful_group(reference)
    drawn = min(answers, int(np.ceil(1.5 * answers / sizes_G.mean())) + 10)
    step = max(1, _CELLS // drawn)
    parts = []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        groups_BK = rng.integers(0, len(sizes_G), (count, drawn))
        sizes_BK = sizes_G[groups_BK]
        before_BK = np.cumsum(sizes_BK, axis=1) - sizes_BK
        # The last group is cut where the window is full.
        taken_BK = np.clip(answers - before_BK, 0, sizes_BK)
        totals_B = taken_BK.sum(1)
        windows = [(taken_BK * residuals_GF[:, f][groups_BK]).sum(1) for f in range(len(FIGURES))]
        windows_BF = np.stack(windows, axis=1) / totals_B[:, None]
        parts.append(windows_BF - _resampled_reference(reference, count, rng))
    return np.concatenate(parts)


def _resampled_reference(
    reference: DriftReference, count: int, rng: np.random.Generator
) -> Doubles:
    """(B, F) mean residuals of the reference, with its groups drawn again."""
    groups = reference.groups
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
    sums_BF = times_BG @ (reference.residuals_GF * reference.sizes_G[:, None])
    means_BF: Doubles = sums_BF / (times_BG @ reference.sizes_G)[:, None]
    return means_BF


def _with_a_doubtful_group(reference: DriftReference) -> tuple[Doubles, Doubles]:
    """The groups, and one more from which the classifier abstains altogether.

    Where no held-out example was abstained from, the bootstrap would take one abstention for
    impossible. One group that may exist beside those seen is the rule of succession.
    """
    share = float(reference.means_CF[reference.rows_C > 0, _ABSTENTIONS].mean())
    more_F = np.zeros(len(FIGURES))
    more_F[_ABSTENTIONS] = 1 - share
    sizes_G = np.append(reference.sizes_G, round(float(np.median(reference.sizes_G))))
    return sizes_G, np.vstack([reference.residuals_GF, more_F])
