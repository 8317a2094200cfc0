"""Scores that heads gave to examples they had not seen, and how much each example counts.

Shape suffixes: N examples, M judged examples, C classes.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Out-of-fold logits of labelled examples, in the caller's order.

    Attributes:
        classes: C names.
        logits_NC: float64; each row by a head fitted without the row's group; NaN = not judged.
        labels_N: number of the given class.
        groups_N: number of the patient, study or image that is never on both sides.
        class_weights_C: how frequent each class is beside the others; None = all equally.
    """

    classes: tuple[str, ...]
    logits_NC: Doubles
    labels_N: Ints
    groups_N: Ints
    class_weights_C: Doubles | None = None

    @property
    def is_judged(self) -> Bools:
        """Which rows have scores."""
        judged_N: Bools = np.asarray(np.isfinite(self.logits_NC).all(axis=1))
        return judged_N

    def judged(self) -> "HeldOut":
        """The rows that have scores."""
        return self.rows(self.is_judged)

    def rows(self, chosen: Bools | Ints) -> "HeldOut":
        """Some rows, by mask or number."""
        return replace(
            self,
            logits_NC=self.logits_NC[chosen],
            labels_N=self.labels_N[chosen],
            groups_N=self.groups_N[chosen],
        )

    def groups_per_class(self) -> Ints:
        """(C,) how many different groups each class has."""
        labels_M = self._pairs()[0]
        counts_C: Ints = np.bincount(labels_M, minlength=len(self.classes))
        return counts_C

    def _pairs(self) -> tuple[Ints, Ints, Ints]:
        """Label of each different (group, label), pair number of each row, rows per pair."""
        keys_N = self.groups_N * len(self.classes) + self.labels_N
        keys_P, pair_N, rows_P = np.unique(keys_N, return_inverse=True, return_counts=True)
        return keys_P % len(self.classes), pair_N, rows_P

    def shares(self) -> Doubles:
        """(N,) 1 / rows of the same group and label: frames of one cine count once together."""
        _, pair_N, rows_P = self._pairs()
        shares_N: Doubles = 1.0 / rows_P[pair_N]
        return shares_N

    def balanced_shares(self) -> Doubles:
        """(N,) ``shares``, scaled so that classes weigh as in the fit; they sum to the pairs.

        The heads are fitted for classes that are equally frequent, or as frequent as
        ``class_weights_C`` says, and so their probabilities are judged.
        """
        labels_P, pair_N, rows_P = self._pairs()
        pairs_C = np.bincount(labels_P, minlength=len(self.classes))
        given_C = self.class_weights_C
        wanted_C = (pairs_C > 0) * (np.ones(len(pairs_C)) if given_C is None else given_C)
        scale_C = len(labels_P) * wanted_C / (wanted_C.sum() * np.maximum(pairs_C, 1))
        shares_N: Doubles = scale_C[self.labels_N] / rows_P[pair_N]
        return shares_N

    def one_row_per_group(self, seed: int = 0) -> Ints:
        """A drawn row number of each (group, label), ascending.

        One row per group keeps rows exchangeable (Dunn, Wasserman, Ramdas 2022, "Distribution-
        free prediction sets for two-layer hierarchical models", subsampling once).
        """
        order_N = np.random.default_rng(seed).permutation(len(self.labels_N))
        pair_N = self._pairs()[1]
        first_P = np.unique(pair_N[order_N], return_index=True)[1]
        rows_P: Ints = np.sort(order_N[first_P])
        return rows_P


def softmax(logits_NC: Doubles) -> Doubles:
    """Rows that sum to 1; a row of NaN stays NaN."""
    powers_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    shares_NC: Doubles = powers_NC / powers_NC.sum(1, keepdims=True)
    return shares_NC
