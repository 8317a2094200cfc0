"""Thresholds on a class's probability, with the sensitivity and specificity they give.

Shape suffixes: N rows, C classes, G groups, B resamples.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError, NotEnoughExamples
from service.fewshot.bootstrap import Estimate, over_rows, ratio, resampled
from service.fewshot.heldout import HeldOut
from service.fewshot.judge import LEAST_GROUPS

Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "name": self.name,
            "threshold": round(self.threshold, 6),
            "sensitivity": self.sensitivity.to_json(),
            "specificity": self.specificity.to_json(),
        }


def operating_point(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, sensitivity: float, *, seed: int = 0
) -> OperatingPoint:
    """The highest threshold that still finds the wanted share of a class's groups.

    Args:
        probabilities_NC: of the rows of ``held_out``; rows of NaN are left out.
        sensitivity: wanted, above 0 and up to 1.

    Raises:
        InputError: no such class, or a sensitivity outside (0, 1].
        NotEnoughExamples: fewer than 5 judged groups of the class or of the others.
    """
    chosen = _number_of(held_out, name, sensitivity)
    judged = _judgeable(held_out, probabilities_NC, chosen)
    scores_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen]
    found = _threshold(scores_N, judged.labels_N == chosen, judged.shares(), sensitivity)
    return at_threshold(held_out, probabilities_NC, name, found, seed=seed)


def at_threshold(
    held_out: HeldOut, probabilities_NC: Doubles, name: str, threshold: float, *, seed: int = 0
) -> OperatingPoint:
    """Sensitivity and specificity of a threshold that someone chose.

    Raises:
        InputError: no such class, or a threshold outside 0 to 1.
        NotEnoughExamples: fewer than 5 judged groups of the class or of the others.
    """
    chosen = _number_of(held_out, name, 1.0)
    if not 0 <= threshold <= 1:
        raise InputError(f"expected a threshold of 0 to 1, got {threshold}")
    judged = _judgeable(held_out, probabilities_NC, chosen)
    called_N = probabilities_NC[np.isfinite(probabilities_NC).all(1)][:, chosen] >= threshold
    positive_N = judged.labels_N == chosen
    times_BG = resampled(judged.groups_N, seed)

    def share_of(rows_N: Bools, hits_N: Bools) -> Estimate:
        return over_rows(
            lambda w_BN: ratio(w_BN @ (rows_N & hits_N), w_BN @ rows_N.astype(np.float64)),
            times_BG,
            judged.groups_N,
            judged.shares(),
        )

    return OperatingPoint(
        name, threshold, share_of(positive_N, called_N), share_of(~positive_N, ~called_N)
    )


def _number_of(held_out: HeldOut, name: str, sensitivity: float) -> int:
    if name not in held_out.classes:
        raise InputError(f"expected one of the {len(held_out.classes)} classes of the classifier")
    if not 0 < sensitivity <= 1:
        raise InputError(f"expected a sensitivity above 0 and up to 1, got {sensitivity}")
    return held_out.classes.index(name)


def _judgeable(held_out: HeldOut, probabilities_NC: Doubles, chosen: int) -> HeldOut:
    """The rows with probabilities, when both sides have groups enough."""
    judged = held_out.rows(np.isfinite(probabilities_NC).all(axis=1))
    own = len(np.unique(judged.groups_N[judged.labels_N == chosen]))
    others = len(np.unique(judged.groups_N[judged.labels_N != chosen]))
    if min(own, others) < LEAST_GROUPS:
        raise NotEnoughExamples(
            f"expected {LEAST_GROUPS} judged groups of the class and of the others, "
            f"got {own} and {others}"
        )
    return judged


def _threshold(scores_N: Doubles, positive_N: Bools, shares_N: Doubles, wanted: float) -> float:
    """The greatest score at which positives of the wanted share of weight are called."""
    order = np.argsort(-scores_N[positive_N], kind="stable")
    weights = shares_N[positive_N][order]
    found = np.cumsum(weights) / weights.sum()
    first = int(np.searchsorted(found, wanted - 1e-9))
    return float(scores_N[positive_N][order][min(first, len(order) - 1)])
