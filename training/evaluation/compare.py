"""Intervals and paired differences between encoders that saw the same splits.

Shape suffixes: R resamples, G groups, C classes, N frames, S seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.evaluation.protocol import LabelledSet, Strings, balanced_accuracy

Doubles: TypeAlias = npt.NDArray[np.float64]
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Rounded to hundredths of a point."""
        return {
            "mean": round(self.mean, 2), "low": round(self.low, 2), "high": round(self.high, 2)
        }  # fmt: skip


def over_seeds(scores_S: Sequence[float]) -> Estimate:
    """Mean of scores with Student's t interval; of one score the interval is not known (NaN)."""
    values = np.asarray(scores_S, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Estimate(mean, mean - half, mean + half)


def paired_over_seeds(
    ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]
) -> Estimate:
    """Mean over sets of (ours - theirs) at each seed, with its interval over seeds.

    Args:
        ours, theirs: set name -> one score per seed, the same sets and seeds.
    """
    differences = [np.subtract(ours[name], theirs[name]) for name in sorted(ours)]
    return over_seeds(np.mean(differences, axis=0).tolist())


@dataclass(frozen=True, slots=True)
class HeldOutPredictions:
    """Held-out guesses of one encoder on one set."""

    labelled: LabelledSet
    rows: npt.NDArray[np.int64]
    predictions: Strings

    @property
    def score(self) -> float:
        """Balanced accuracy, percent."""
        return balanced_accuracy(self.labelled.labels_N[self.rows], self.predictions)


def resampled(held_out: HeldOutPredictions, *, seed: int = 0) -> Doubles:
    """Balanced accuracy, percent, of R bootstrap resamples of whole groups; (R,).

    The same seed draws the same groups for every encoder, so differences are paired.
    """
    truth_N = held_out.labelled.labels_N[held_out.rows]
    groups_N = np.unique(held_out.labelled.groups_N[held_out.rows], return_inverse=True)[1]
    classes = {name: index for index, name in enumerate(held_out.labelled.classes)}
    truth_C = np.array([classes[name] for name in truth_N.tolist()])
    groups = int(groups_N.max()) + 1
    totals_GC = np.zeros((groups, len(classes)))
    right_GC = np.zeros_like(totals_GC)
    np.add.at(totals_GC, (groups_N, truth_C), 1)
    np.add.at(right_GC, (groups_N, truth_C), held_out.predictions == truth_N)
    times_RG = np.random.default_rng(seed).multinomial(
        groups, np.full(groups, 1 / groups), size=RESAMPLES
    )
    totals_RC, right_RC = times_RG @ totals_GC, times_RG @ right_GC
    # A resample may miss a class; its recall is then left out of that resample's mean.
    present_RC = totals_RC > 0
    recalls_RC = right_RC / np.maximum(totals_RC, 1)
    scores_R: Doubles = 100 * recalls_RC.sum(1) / np.maximum(present_RC.sum(1), 1)
    return scores_R


def over_groups(held_out: Sequence[HeldOutPredictions]) -> Estimate:
    """Mean over sets with a percentile interval over resampled groups."""
    mean = float(np.mean([found.score for found in held_out]))
    return _percentile(mean, np.mean([resampled(found) for found in held_out], axis=0))


def paired_over_groups(
    ours: Sequence[HeldOutPredictions], theirs: Sequence[HeldOutPredictions]
) -> Estimate:
    """Mean over sets of (ours - theirs), interval over resampled groups."""
    pairs = list(zip(ours, theirs, strict=True))
    mean = float(np.mean([mine.score - other.score for mine, other in pairs]))
    return _percentile(
        mean, np.mean([resampled(mine) - resampled(other) for mine, other in pairs], axis=0)
    )


def _percentile(mean: float, scores_R: Doubles) -> Estimate:
    low, high = np.percentile(scores_R, [2.5, 97.5])
    return Estimate(mean, float(low), float(high))
