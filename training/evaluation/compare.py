"""Intervals and paired differences between encoders that saw the same splits.

Shape suffixes: R resamples, G groups, C classes, N frames, S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from service.arrays import Doubles
from service.fewshot.uncertainty.intervals import (
    Estimate,
    estimate,
    group_resamples,
    ratio,
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


def resampled_scores(held_out: HeldOutPredictions) -> Doubles:
    """Balanced accuracy, percent, of the set and of R bootstrap resamples of its groups; (R + 1,).

    The groups drawn are the same for every encoder, so differences are paired. A class that a
    resample misses is left out of its mean.
    """
    truth_N = held_out.labelled.labels_N[held_out.rows]
    groups_N = np.unique(held_out.labelled.groups_N[held_out.rows], return_inverse=True)[1]
    true_NC = truth_N[:, None] == np.array(held_out.labelled.classes)
    right_NC = true_NC & (held_out.predictions == truth_N)[:, None]
    totals_GC, right_GC = np.zeros((2, int(groups_N.max()) + 1, true_NC.shape[1]))
    np.add.at(totals_GC, groups_N, true_NC)
    np.add.at(right_GC, groups_N, right_NC)
    times_RG = group_resamples(groups_N, resamples=RESAMPLES)
    scores_R: Doubles = 100 * np.nanmean(ratio(times_RG @ right_GC, times_RG @ totals_GC), axis=1)
    return scores_R


def over_groups(held_out: Sequence[HeldOutPredictions]) -> Estimate:
    """Mean over sets with a percentile interval over resampled groups."""
    return estimate(np.mean([resampled_scores(predictions) for predictions in held_out], axis=0))


def paired_over_groups(
    ours: Sequence[HeldOutPredictions], theirs: Sequence[HeldOutPredictions]
) -> Estimate:
    """Mean over sets of (ours - theirs), interval over resampled groups."""
    differences = [
        resampled_scores(mine) - resampled_scores(other)
        for mine, other in zip(ours, theirs, strict=True)
    ]
    return estimate(np.mean(differences, axis=0))
