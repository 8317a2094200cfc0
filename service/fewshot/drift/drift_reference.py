"""What is usual for a classifier: its similarities, confidence and abstentions on held-out groups.

The values of an example come from what had not seen its group: out-of-fold scores, and the
examples of other groups as neighbours. Values in use are compared with the mean of the class that
was predicted, so that another mixture of the known classes is no drift.

Shape suffixes: N S rows, C strata, F figures, G groups, D embedding width.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats, Ints
from service.fewshot.head import unit_rows

FIGURES = ("similarity", "confidence", "abstentions")
DIRECTIONS_F = np.array([-1.0, -1.0, 1.0])  # in which each is a bad sign: fewer, fewer, more
NEAREST = 5  # examples whose mean similarity counts
MIN_STRATUM_GROUPS = 5  # with fewer, nothing is usual for the class, and its answers are left out
_ABSTENTIONS = FIGURES.index("abstentions")


@dataclass(frozen=True, slots=True)
class HeldOutUse:
    """How a classifier answers examples that it has not seen.

    Attributes:
        similarity_N: mean cosine to the nearest examples of other groups.
        distance_N: 1 - cosine to the nearest one.
        confidence_N: calibrated probability of the most probable class; of a multi-label
            classifier the mean over labels of the greater of p and 1 - p.
        abstained_N: whether it would have abstained.
        stratum_N: number of the most probable class; 0 for a multi-label classifier.
        groups_N: patients, studies or images.
    """

    similarity_N: Doubles
    distance_N: Doubles
    confidence_N: Doubles
    abstained_N: Bools
    stratum_N: Ints
    groups_N: Ints

    def figures(self) -> Doubles:
        """(N, F) values in the order of ``FIGURES``."""
        columns = (self.similarity_N, self.confidence_N, self.abstained_N.astype(np.float64))
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class DriftReference:
    """Means of each stratum, and how far groups are from them.

    Attributes:
        means_CF: mean of each figure per stratum.
        sizes_G: rows of each group, in strata that are tested.
        residuals_GF: mean of (value - mean of the stratum) over the rows of each group.
        rows_C: rows of each stratum; 0 where it is not tested.
        groups_C: groups of each stratum; 0 where it is not tested.
        variances_CF: of each mean, over groups.
    """

    means_CF: Doubles
    sizes_G: Ints
    residuals_GF: Doubles
    rows_C: Ints
    groups_C: Ints
    variances_CF: Doubles

    @property
    def groups(self) -> int:
        """G."""
        return len(self.sizes_G)

    def tested(self, counts_C: Ints) -> Ints:
        """(C,) answers by stratum, without those of strata of too few groups."""
        tested_C: Ints = np.where(self.rows_C > 0, counts_C, 0)
        return tested_C

    def deviation(self, counts_C: Ints, sums_CF: Doubles) -> Doubles:
        """(F,) mean of (value - mean of the stratum) over tested answers, by counts and sums."""
        total = max(1, int(self.tested(counts_C).sum()))
        differences_CF = (sums_CF - counts_C[:, None] * self.means_CF)[self.rows_C > 0]
        deviation_F: Doubles = differences_CF.sum(0) / total
        return deviation_F

    def spread(self, shares_C: Doubles, answers: int) -> Doubles:
        """(F,) roughly the standard deviation of ``deviation`` by chance, for a mixture of strata.

        The reference is uncertain by the means of its strata, and a window by as many groups as its
        answers come from, if they are drawn like those of the reference.
        """
        weights_C = shares_C**2 + shares_C * self.rows_C / answers
        spread_F: Doubles = np.sqrt(weights_C @ self.variances_CF)
        return spread_F


def drift_reference(use: HeldOutUse, strata: int) -> DriftReference:
    """The reference of at least one row."""
    figures_NF = use.figures()
    means_CF = np.tile(figures_NF.mean(0), (strata, 1))
    rows_C, groups_C = np.zeros(strata, np.int64), np.zeros(strata, np.int64)
    variances_CF = np.zeros(means_CF.shape)
    for stratum in range(strata):
        rows_N = use.stratum_N == stratum
        numbers, group_M = np.unique(use.groups_N[rows_N], return_inverse=True)
        if len(numbers) < MIN_STRATUM_GROUPS:
            continue
        rows_C[stratum], groups_C[stratum] = rows_N.sum(), len(numbers)
        means_CF[stratum] = figures_NF[rows_N].mean(0)
        sums_GF = np.zeros((len(numbers), len(FIGURES)))
        np.add.at(sums_GF, group_M, figures_NF[rows_N] - means_CF[stratum])
        variances_CF[stratum] = (sums_GF**2).sum(0) / rows_C[stratum] ** 2
        # No abstention, or nothing else, does not make the share certain: the rule of succession.
        share = (means_CF[stratum, _ABSTENTIONS] * len(numbers) + 1) / (len(numbers) + 2)
        least = share * (1 - share) / len(numbers)
        variances_CF[stratum, _ABSTENTIONS] = max(least, variances_CF[stratum, _ABSTENTIONS])
    kept_N = rows_C[use.stratum_N] > 0
    residuals_NF = (figures_NF - means_CF[use.stratum_N])[kept_N]
    _, group_N, sizes_G = np.unique(use.groups_N[kept_N], return_inverse=True, return_counts=True)
    sums_GF = np.zeros((len(sizes_G), len(FIGURES)))
    np.add.at(sums_GF, group_N, residuals_NF)
    residuals_GF = sums_GF / sizes_G[:, None]
    return DriftReference(means_CF, sizes_G, residuals_GF, rows_C, groups_C, variances_CF)


def neighbours_of_other_groups(
    embeddings_SD: npt.NDArray[np.floating], groups_S: Ints
) -> tuple[Doubles, Doubles]:
    """(S,) mean cosine to the nearest ``NEAREST`` rows of other groups; (S,) to the nearest one.

    NaN where there is only one group.
    """
    unit_SD = unit_rows(embeddings_SD).astype(np.float32)
    cosines_SS = unit_SD @ unit_SD.T
    cosines_SS[groups_S[:, None] == groups_S] = -np.inf
    best_SK = _greatest(cosines_SS).astype(np.float64)
    there_SK = np.isfinite(best_SK)
    counts_S = there_SK.sum(1)
    sums_S = np.where(there_SK, best_SK, 0).sum(1)
    means_S: Doubles = np.where(counts_S > 0, sums_S / np.maximum(counts_S, 1), np.nan)
    nearest_S: Doubles = np.where(counts_S > 0, best_SK.max(1), np.nan)
    return means_S, nearest_S


def mean_of_nearest(cosines_NS: Floats) -> Doubles:
    """(N,) mean of the ``NEAREST`` greatest of each row, or of all where there are fewer."""
    means_N: Doubles = _greatest(cosines_NS).mean(1, dtype=np.float64)
    return means_N


def _greatest(cosines_NS: Floats) -> Floats:
    count = cosines_NS.shape[1]
    if count <= NEAREST:
        return cosines_NS
    greatest_NK: Floats = np.partition(cosines_NS, count - NEAREST, axis=1)[:, count - NEAREST :]
    return greatest_NK
