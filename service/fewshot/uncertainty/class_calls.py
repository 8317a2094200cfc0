"""How often the groups of each class are called each class, in a sample and its resamples.

A table of groups x classes x classes would take gigabytes with a thousand classes, so one called
class is looked at after the other.

Shape suffixes: N rows, G groups, C classes, K classes with rows of a call, B resamples.
"""

from dataclasses import dataclass

import numpy as np

from service.arrays import Doubles, Ints
from service.fewshot.uncertainty.intervals import (
    Estimate,
    Extremes,
    effective_groups,
    mean_of_shares,
    ratio,
)


@dataclass(frozen=True, slots=True)
class ClassCalls:
    """The calls of labelled rows.

    Attributes:
        labels_N, guesses_N: class numbers; -1 = no guess, and the row is left out.
        group_N: numbers of groups.
        shares_N: weight of each row.
        times_BG: how often each group is drawn; the first row is the sample itself.
        totals_GC: weight of the rows of each group and class.
        totals_BC: the same of each resample.
    """

    labels_N: Ints
    guesses_N: Ints
    group_N: Ints
    shares_N: Doubles
    times_BG: Doubles
    totals_GC: Doubles
    totals_BC: Doubles

    @classmethod
    def of(
        cls,
        labels_N: Ints,
        guesses_N: Ints,
        groups_N: Ints,
        shares_N: Doubles,
        times_BG: Doubles,
        classes: int,
    ) -> "ClassCalls":
        """Args: as the attributes; ``groups_N`` as ``group_resamples`` had them."""
        group_N = np.unique(groups_N, return_inverse=True)[1]
        there_N = guesses_N >= 0
        totals_GC = np.zeros((times_BG.shape[1], classes))
        np.add.at(totals_GC, (group_N[there_N], labels_N[there_N]), shares_N[there_N])
        totals_BC = times_BG @ totals_GC
        return cls(labels_N, guesses_N, group_N, shares_N, times_BG, totals_GC, totals_BC)

    @property
    def groups(self) -> Doubles:
        """(C,) effective groups of each class."""
        return effective_groups(self.totals_GC)

    def right(self) -> tuple[Doubles, Extremes]:
        """(B, C) the share of each class that is called right, and the extreme groups of each."""
        is_right_N = self.guesses_N == self.labels_N
        sums_GC = np.zeros_like(self.totals_GC)
        places = self.group_N[is_right_N], self.labels_N[is_right_N]
        np.add.at(sums_GC, places, self.shares_N[is_right_N])
        extremes = Extremes.of(sums_GC, self.totals_GC)
        return ratio(self.times_BG @ sums_GC, self.totals_BC), extremes

    def balanced_accuracy(self) -> Estimate:
        """The mean over classes of the share that is called right."""
        shares_BC, extremes_C = self.right()
        return mean_of_shares(shares_BC, self.groups, extremes_C)

    def of_class(self, chosen: int) -> tuple[Doubles, Extremes]:
        """(B, C) the share of each true class that is called ``chosen``, and extreme groups."""
        called_N = self.guesses_N == chosen
        there_K, place_M = np.unique(self.labels_N[called_N], return_inverse=True)
        sums_GK = np.zeros((len(self.totals_GC), len(there_K)))
        np.add.at(sums_GK, (self.group_N[called_N], place_M), self.shares_N[called_N])
        called_BC = np.zeros_like(self.totals_BC)
        called_BC[:, there_K] = self.times_BG @ sums_GK
        of_K = Extremes.of(sums_GK, self.totals_GC[:, there_K])
        extremes = Extremes(np.zeros(len(self.groups)), np.zeros(len(self.groups)))
        extremes.least[there_K], extremes.greatest[there_K] = of_K.least, of_K.greatest
        return ratio(called_BC, self.totals_BC), extremes
