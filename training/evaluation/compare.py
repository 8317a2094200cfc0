"""Intervals and paired differences between encoders that saw the same splits.

Shape suffixes: R resamples, C classes, N frames, S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from service.fewshot.uncertainty.class_calls import ClassCalls
from service.fewshot.uncertainty.intervals import (
    Estimate,
    estimate,
    few_groups_factor,
    group_resamples,
    mean_of_present,
)
from training.evaluation.protocol import LabelledSet, Strings, balanced_accuracy

RESAMPLES = 2000


def estimate_json(score: Estimate) -> dict[str, float]:
    """A mean with its 95 % interval, rounded to hundredths of a point."""
    rounded = (round(value, 2) for value in (score.value, score.low, score.high))
    return dict(zip(("mean", "low", "high"), rounded, strict=True))


def over_seeds(scores_S: Sequence[float]) -> Estimate:
    """Mean of scores with Student's t interval, which is NaN for a single score."""
    values = np.asarray(scores_S, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Estimate(mean, mean - half, mean + half)


def paired_over_seeds(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]
) -> Estimate:
    """Mean over sets of (ours - theirs) at each seed, with its interval over seeds."""
    differences = [np.subtract(ours[name], theirs[name]) for name in sorted(ours)]
    return over_seeds(np.mean(differences, axis=0).tolist())


@dataclass(frozen=True, slots=True)
class HeldOutPredictions:
    """Held-out predictions of one encoder on one set."""

    labelled: LabelledSet
    rows: npt.NDArray[np.int64]
    predictions: Strings

    @property
    def score(self) -> float:
        """Balanced accuracy, percent."""
        return balanced_accuracy(self.labelled.labels_N[self.rows], self.predictions)


def calls_of(held_out: HeldOutPredictions) -> ClassCalls:
    """What each class of the set is called, in the set and in R bootstrap resamples of its groups.

    Each frame counts once. The groups drawn are the same for every encoder, so differences are
    paired.
    """
    labelled, rows = held_out.labelled, held_out.rows
    truth_N = labelled.labels_N[rows]
    number_of = {name: number for number, name in enumerate(labelled.classes)}
    groups_N = np.unique(labelled.groups_N[rows], return_inverse=True)[1]
    return ClassCalls.of(
        np.array([number_of[name] for name in truth_N]),
        # Another name than a class's is a wrong call.
        np.array([number_of.get(name, len(number_of)) for name in held_out.predictions]),
        groups_N,
        np.ones(len(rows)),
        group_resamples(groups_N, resamples=RESAMPLES),
        len(labelled.classes),
    )


def over_groups(held_out: Sequence[HeldOutPredictions]) -> Estimate:
    """Mean over sets, percent, with the interval that their groups leave.

    Of each set it is that of the service: wider for few groups, and open where all are right.
    """
    return _mean_of_sets([calls_of(one).balanced_accuracy() for one in held_out])


def paired_over_groups(
    ours: Sequence[HeldOutPredictions], theirs: Sequence[HeldOutPredictions]
) -> Estimate:
    """Mean over sets of (ours - theirs), points, with an interval that is wider for few groups."""
    return _mean_of_sets(
        [_difference(mine, other) for mine, other in zip(ours, theirs, strict=True)]
    )


def _difference(mine: HeldOutPredictions, other: HeldOutPredictions) -> Estimate:
    my_calls = calls_of(mine)
    gains_RC = my_calls.right()[0] - calls_of(other).right()[0]
    found, groups_C = estimate(mean_of_present(gains_RC)), my_calls.groups
    wider = few_groups_factor(float(groups_C[groups_C > 0].min()))
    below, above = max(0.0, found.value - found.low), max(0.0, found.high - found.value)
    return Estimate(found.value, found.value - wider * below, found.value + wider * above)


def _mean_of_sets(shares: Sequence[Estimate]) -> Estimate:
    """The mean of independent shares in percent (MOVER, as in ``service.fewshot``)."""
    value = 100 * float(np.mean([one.value for one in shares]))
    below = np.linalg.norm([one.value - one.low for one in shares])
    above = np.linalg.norm([one.high - one.value for one in shares])
    reach = 100 / len(shares)
    return Estimate(value, float(value - reach * below), float(value + reach * above))
