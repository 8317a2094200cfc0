"""How often a classifier was right in use, from what turned out to be true later.

Intervals are those of ``intervals``: percentile bootstraps over groups, widened for few groups.

Shape suffixes: N outcomes, C classes, B resamples, E bins.
"""

from dataclasses import dataclass

import numpy as np

from service.arrays import Bools, Doubles, Ints
from service.fewshot.heldout import in_groups
from service.fewshot.metrics import MIN_GROUPS, balanced_accuracy_estimate
from service.fewshot.uncertainty.intervals import (
    Estimate,
    Extremes,
    effective_groups,
    estimate,
    group_resamples,
    ratio,
    share_estimate,
    share_of_groups,
    unseen_sum,
)

BINS = 10


@dataclass(frozen=True, slots=True)
class HeadOutcomes:
    """What was predicted and what was true, of one head.

    Attributes:
        truth_N: class numbers.
        guesses_N: the most probable class.
        confidence_N: its probability.
        answered_N: whether the classifier did not abstain.
        groups_N: patients where they are known, else each prediction by itself.
    """

    truth_N: Ints
    guesses_N: Ints
    confidence_N: Doubles
    answered_N: Bools
    groups_N: Ints


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Outcomes whose probability lies in a range: its mean, and how many were right."""

    low: float
    high: float
    predictions: int
    mean_confidence: float | None
    right: int


@dataclass(frozen=True, slots=True)
class AccuracyInUse:
    """Figures of the answered outcomes; None where ``not_evaluated_because`` says why.

    Where only the outcomes of a class are of too few groups, its recall and the balanced accuracy
    are None, and the others are there.

    Attributes:
        answered: share of the outcomes that were answered.
        accuracy: share of the answered ones that were right.
        overconfidence: mean confidence minus accuracy; above 0 = surer than right.
        expected_calibration_error: over ten bins of equal width.
        recall: per class, of the answered ones.
    """

    outcomes: int
    groups: int
    answered: float | None
    accuracy: Estimate | None
    balanced_accuracy: Estimate | None
    recall: dict[str, Estimate | None]
    overconfidence: Estimate | None
    expected_calibration_error: float | None
    bins: tuple[ConfidenceBin, ...]
    not_evaluated_because: str | None


def accuracy_in_use(outcomes: HeadOutcomes, classes: tuple[str, ...]) -> AccuracyInUse:
    """The figures of one head."""
    total = len(outcomes.truth_N)
    kept = outcomes.answered_N
    groups_N = outcomes.groups_N[kept]
    groups = len(np.unique(groups_N))
    share = round(float(kept.mean()), 6) if total else None
    bins = tuple(_bins(outcomes))
    if groups < MIN_GROUPS:
        reason = f"answered outcomes of {in_groups(groups)}; figures need {MIN_GROUPS}"
        recall: dict[str, Estimate | None] = dict.fromkeys(classes)
        return AccuracyInUse(total, groups, share, None, None, recall, None, None, bins, reason)
    truth_N, guesses_N = outcomes.truth_N[kept], outcomes.guesses_N[kept]
    right_N = (truth_N == guesses_N).astype(np.float64)
    confidence_N = outcomes.confidence_N[kept]
    times_BG = group_resamples(groups_N)
    group_N = np.unique(groups_N, return_inverse=True)[1]

    outcomes_G = np.bincount(group_N).astype(np.float64)

    def mean_of(values_N: Doubles) -> Doubles:
        return ratio(times_BG @ np.bincount(group_N, values_N), times_BG @ outcomes_G)

    few = _classes_of_few_groups(truth_N, groups_N, classes)
    extremes = Extremes.of(np.bincount(group_N, right_N).astype(np.float64), outcomes_G)
    # Outcomes that are all right leave it open how often the classifier is too sure.
    if_right, if_wrong = extremes.weights
    effective = float(effective_groups(outcomes_G))
    bound = unseen_sum(np.array([effective]))
    unseen = (bound * float(if_wrong), bound * float(if_right))
    return AccuracyInUse(
        outcomes=total,
        groups=groups,
        answered=share,
        accuracy=share_estimate(mean_of(right_N), effective, extremes),
        balanced_accuracy=None
        if few
        else balanced_accuracy_estimate(
            truth_N, guesses_N, groups_N, len(classes), resamples=times_BG
        ),
        recall={
            name: _recall(truth_N == c, right_N, groups_N, times_BG)
            for c, name in enumerate(classes)
        },
        overconfidence=estimate(
            mean_of(confidence_N - right_N), effective, unseen=unseen, least=-1.0
        ),
        expected_calibration_error=_calibration_error(confidence_N, right_N),
        bins=bins,
        not_evaluated_because=f"no balanced accuracy: {few}" if few else None,
    )


def _classes_of_few_groups(truth_N: Ints, groups_N: Ints, classes: tuple[str, ...]) -> str | None:
    """Which class has too few groups for a balanced accuracy, and how many; None = none has."""
    pairs_N2 = np.unique(np.stack([truth_N, groups_N], axis=1), axis=0)
    groups_C = np.bincount(pairs_N2[:, 0], minlength=len(classes))
    fewest = int(groups_C.argmin())
    if groups_C[fewest] >= MIN_GROUPS:
        return None
    return (
        f"answered outcomes of {in_groups(int(groups_C[fewest]))} of class {classes[fewest]!r}; "
        f"it needs {MIN_GROUPS} of each"
    )


def _recall(
    of_class_N: Bools, right_N: Doubles, groups_N: Ints, times_BG: Doubles
) -> Estimate | None:
    groups = len(np.unique(groups_N[of_class_N]))
    if groups < MIN_GROUPS:
        return None

    ones_N = np.ones(len(groups_N))
    return share_of_groups(right_N > 0, times_BG, groups_N, ones_N, of_class_N)


def _bin_of(confidence_N: Doubles) -> Ints:
    numbers_N: Ints = np.minimum((confidence_N * BINS).astype(np.int64), BINS - 1)
    return numbers_N


def _calibration_error(confidence_N: Doubles, right_N: Doubles) -> float:
    gaps_E = np.bincount(_bin_of(confidence_N), right_N - confidence_N, BINS)
    return round(float(np.abs(gaps_E).sum() / len(right_N)), 6)


def _bins(outcomes: HeadOutcomes) -> list[ConfidenceBin]:
    kept = outcomes.answered_N
    confidence_N = outcomes.confidence_N[kept]
    right_N = (outcomes.truth_N == outcomes.guesses_N)[kept]
    number_N = _bin_of(confidence_N)
    bins = []
    for number in range(BINS):
        inside_N = number_N == number
        mean = round(float(confidence_N[inside_N].mean()), 6) if inside_N.any() else None
        low, high = number / BINS, (number + 1) / BINS
        right = int(right_N[inside_N].sum())
        bins.append(ConfidenceBin(low, high, int(inside_N.sum()), mean, right))
    return bins
