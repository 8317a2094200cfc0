"""Prediction sets that hold the true class with a chosen probability.

Split conformal prediction on out-of-fold scores: LAC (Sadinle, Lei, Wasserman 2019, "Least
ambiguous set-valued classifiers with bounded error levels") or APS without randomisation (Romano,
Sesia, Candès 2020, "Classification with valid and adaptive coverage"). One drawn row per group
counts. Scores of several folds replace those of a calibration set, so the coverage is measured
(``benchmarks/fewshot_report.py``) and not guaranteed. A prior widens the sets of few groups
(decision 0047).

Shape suffixes: N rows, M calibration rows, C classes, P points of the prior.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Ints
from service.errors import InputError
from service.fewshot.heldout import HeldOut

Method: TypeAlias = Literal["lac", "aps"]
Mode: TypeAlias = Literal["auto", "marginal", "per_class"]

MIN_COVERAGE, MAX_COVERAGE = 0.5, 0.999
# Groups of which only their frames are known. Stored versions depend on it: another value needs
# a stored one.
PRIOR_GROUPS = 0.5
PRIOR_POINTS = 101  # quantiles that are stored


def items_needed(coverage: float) -> int:
    """The fewest calibration items whose greatest score is a valid threshold: 9 for 90 %.

    Raises:
        InputError: a coverage outside 0.5 to 0.999.
    """
    if not MIN_COVERAGE <= coverage <= MAX_COVERAGE:
        raise InputError(f"expected a coverage of {MIN_COVERAGE} to {MAX_COVERAGE}, got {coverage}")
    # The smallest n with (n + 1) coverage <= n; the offset absorbs rounding of 0.9 / 0.1.
    return math.ceil(coverage / (1 - coverage) - 1e-9)


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Sets for N rows, or why there are none.

    Attributes:
        members_NC: which classes are in each row's set; never empty; None when refused.
        per_class: whether the coverage holds for each class by itself.
        not_enough_because: None when there are sets.
        missing: class -> missing calibration items (independent groups), with the key "any class"
            when only the total matters. Empty when there are sets.
    """

    coverage: float
    method: Method
    members_NC: Bools | None
    per_class: bool
    not_enough_because: str | None
    missing: dict[str, int]


@dataclass(frozen=True, slots=True)
class Conformal:
    """Calibration scores of one head, from which sets at any coverage follow.

    Attributes:
        scores_M: nonconformity of the true class of each calibration item.
        labels_M: its class number.
        prior_P: scores of groups whose class has nothing to do with their frames, ascending;
            empty = no prior, as in versions of release 0.1.0.
    """

    method: Method
    classes: tuple[str, ...]
    scores_M: Doubles
    labels_M: Ints
    prior_P: Doubles = field(default_factory=lambda: np.empty(0))

    def sets(
        self, probabilities_NC: npt.NDArray[np.floating], coverage: float, *, mode: Mode = "auto"
    ) -> PredictionSets:
        """Sets at a coverage.

        Args:
            probabilities_NC: calibrated like those of the scores.
            coverage: share of rows whose set holds the true class, 0.5 to 0.999.
            mode: ``auto`` = per class when every class has enough items, else ``marginal``: the
                coverage holds in the mean over classes, each with the same weight.

        Raises:
            InputError: another coverage, or rows that are not finite or of other width.
        """
        thresholds_C, per_class, missing = self._thresholds(coverage, mode)
        if thresholds_C is None:
            reason = (
                f"not enough calibration examples: {items_needed(coverage)} of different groups "
                f"{'per class' if mode == 'per_class' else 'in all'} are needed"
            )
            return PredictionSets(coverage, self.method, None, per_class, reason, missing)
        scores_NC = nonconformity(self._checked(probabilities_NC), self.method)
        members_NC = scores_NC <= thresholds_C
        # An empty set would exclude every class; adding the most probable one only adds coverage.
        members_NC[np.arange(len(members_NC)), probabilities_NC.argmax(1)] = True
        return PredictionSets(coverage, self.method, members_NC, per_class, None, {})

    def _checked(self, probabilities_NC: npt.NDArray[np.floating]) -> Doubles:
        wide_NC = np.asarray(probabilities_NC, np.float64)
        if wide_NC.ndim != 2 or wide_NC.shape[1] != len(self.classes):
            raise InputError(f"expected {len(self.classes)} columns, got {wide_NC.shape}")
        if not np.isfinite(wide_NC).all():
            raise InputError("expected finite probabilities")
        return wide_NC

    def _thresholds(
        self, coverage: float, mode: Mode
    ) -> tuple[Doubles | None, bool, dict[str, int]]:
        """Greatest score of a member per class, whether per class, and what is missing."""
        needed = items_needed(coverage)
        items_C = np.bincount(self.labels_M, minlength=len(self.classes))
        lacking_C = np.maximum(needed - items_C, 0).tolist()
        if mode == "per_class" or (mode == "auto" and not any(lacking_C)):
            if any(lacking_C):
                pairs = zip(self.classes, lacking_C, strict=True)
                return None, True, {name: lacking for name, lacking in pairs if lacking}
            by_class = [self.scores_M[self.labels_M == c] for c in range(len(self.classes))]
            values = [threshold(scores, coverage, self.prior_P) for scores in by_class]
            return np.array(values), True, {}
        if len(self.scores_M) < needed:
            return None, False, {"any class": needed - len(self.scores_M)}
        # Versions without a prior, those of release 0.1.0, answer as they did.
        weights_M = self._equal_classes(items_C) if len(self.prior_P) else None
        value = threshold(self.scores_M, coverage, self.prior_P, weights_M)
        return np.full(len(self.classes), value), False, {}

    def _equal_classes(self, items_C: Ints) -> Doubles:
        """(M,) weights with which the items of each class count as many as the rarest has."""
        weights_M: Doubles = items_C[items_C > 0].min() / items_C[self.labels_M]
        return weights_M


def threshold(
    scores_M: Doubles, coverage: float, prior_P: Doubles, weights_M: Doubles | None = None
) -> float:
    """The smallest score that a new group stays below with the chosen probability.

    Without a prior it is the ceil((M + 1) coverage)-th smallest score. With one, the mean of a
    Dirichlet process (Ferguson 1973) takes its place where that is greater: the prior counts as
    ``PRIOR_GROUPS``. Where weighted scores are too few for the coverage, it is the greatest score
    of all, those of the prior among them.

    Args:
        prior_P: ascending; may be empty.
        weights_M: how much each score counts beside that of the new group, at most 1; None = 1
            each.

    Raises:
        InputError: fewer than ``items_needed(coverage)`` scores.
    """
    if len(scores_M) < items_needed(coverage):
        raise InputError(f"expected {items_needed(coverage)} scores or more, got {len(scores_M)}")
    order_M = np.argsort(scores_M, kind="stable")
    sorted_M = scores_M[order_M]
    sums_M = np.arange(1.0, len(scores_M) + 1)
    if weights_M is not None:
        sums_M = np.cumsum(weights_M[order_M])
    total = float(sums_M[-1])
    plain = _first(sorted_M, sums_M, (total + 1) * coverage)
    if not len(prior_P):
        return plain
    tried = np.sort(np.concatenate([sorted_M, prior_P]))
    below = np.concatenate([[0.0], sums_M])[np.searchsorted(sorted_M, tried, "right")]
    below += PRIOR_GROUPS * np.searchsorted(prior_P, tried, "right") / len(prior_P)
    return max(plain, _first(tried, below, (total + PRIOR_GROUPS + 1) * coverage))


def _first(scores_X: Doubles, sums_X: Doubles, wanted: float) -> float:
    """The first of ascending scores whose sum of weights is enough; the last when none is."""
    first = int(np.searchsorted(sums_X, wanted - 1e-9))
    return float(scores_X[min(first, len(scores_X) - 1)])


def nonconformity(probabilities_NC: Doubles, method: Method) -> Doubles:
    """How unusual each class would be for each row, (N, C).

    ``lac``: 1 - probability. ``aps``: the probability of all classes down to this one.
    """
    if method == "lac":
        return 1 - probabilities_NC
    order_NC = np.argsort(-probabilities_NC, axis=1, kind="stable")
    sums_NC = np.cumsum(np.take_along_axis(probabilities_NC, order_NC, 1), axis=1)
    scores_NC = np.empty_like(sums_NC)
    np.put_along_axis(scores_NC, order_NC, sums_NC, 1)
    return scores_NC


def conformal(
    held_out: HeldOut, probabilities_NC: Doubles, *, method: Method = "lac", seed: int = 0
) -> Conformal:
    """Keep one out-of-fold score per group and class.

    Args:
        held_out: labels and groups of the rows.
        probabilities_NC: calibrated out-of-fold probabilities; rows of NaN have no scores.
    """
    keep_N = np.asarray(np.isfinite(probabilities_NC).all(axis=1))
    scored = held_out.rows(keep_N)
    rows_M = scored.one_row_per_group(seed)
    labels_M = scored.labels_N[rows_M]
    scores_MC = nonconformity(probabilities_NC[keep_N][rows_M], method)
    prior_P = np.empty(0)
    if len(rows_M):
        shares = np.linspace(0, 1, PRIOR_POINTS)
        prior_P = np.quantile(scores_MC, shares, method="higher")
    return Conformal(
        method, held_out.classes, scores_MC[np.arange(len(rows_M)), labels_M], labels_M, prior_P
    )
