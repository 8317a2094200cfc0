"""One temperature that makes out-of-fold probabilities honest.

A temperature changes no ranking and needs few examples (Guo et al. 2017, "On calibration of
modern neural networks", section 4.2). Classes count equally, as in the fit: the probabilities
are those of a population in which all classes are equally frequent.

Shape suffixes: N examples, M judged examples, C classes, B bins.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.fewshot.heldout import HeldOut, softmax

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

LEAST_GROUPS = 10  # judged groups; below, a temperature says more of the draw than of the head
PRIOR_SD = 1.0  # of log temperature: as if one standard deviation were a factor of e
LOG_RANGE = (-4.0, 4.0)
BINS = 10
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are from frequencies; groups count once, classes equally.

    Attributes:
        ece: expected calibration error of the most probable class, in [0, 1], 10 bins of equal
            width (Guo et al. 2017, equation 3).
        brier: mean squared distance to the truth, summed over classes, in [0, 2] (Brier 1950).
        log_loss: mean cross-entropy, nats.
    """

    ece: float
    brier: float
    log_loss: float

    def to_json(self) -> dict[str, float]:
        """Plain JSON values, rounded to 4 places."""
        return {
            "ece": round(self.ece, 4),
            "brier": round(self.brier, 4),
            "log_loss": round(self.log_loss, 4),
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature with what it changes.

    Attributes:
        temperature: logits are divided by it; 1 where it could not be fitted.
        groups: judged groups it was fitted on.
        before: out-of-fold, at temperature 1.
        after: out-of-fold, each row at a temperature fitted without its group.
        not_calibrated_because: why the temperature is 1, or None.
        missing_groups: how many more judged groups would give a temperature.
    """

    temperature: float
    groups: int
    before: Reliability | None
    after: Reliability | None
    not_calibrated_because: str | None = None
    missing_groups: int = 0

    @property
    def calibrated(self) -> bool:
        """Whether a temperature was fitted."""
        return self.not_calibrated_because is None

    def probabilities(self, logits_NC: npt.NDArray[np.floating]) -> Doubles:
        """float64 (N, C), rows sum to 1."""
        return softmax(np.asarray(logits_NC, np.float64) / self.temperature)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "calibrated": self.calibrated,
            "method": "temperature, fitted on out-of-fold scores; log-normal prior around 1",
            "prevalence": "all classes equally frequent",
            "temperature": round(self.temperature, 6),
            "groups": self.groups,
            "before": self.before and self.before.to_json(),
            "after": self.after and self.after.to_json(),
            "not_calibrated_because": self.not_calibrated_because,
            "missing_groups": self.missing_groups,
        }


def calibrate(held_out: HeldOut, *, prior_sd: float = PRIOR_SD) -> Calibration:
    """Fit a temperature on out-of-fold logits; never fails for lack of examples.

    Args:
        held_out: of ``Fit.for_calibration``.
        prior_sd: of log temperature around 0; infinity = no prior.
    """
    judged = held_out.judged()
    groups = len(np.unique(judged.groups_N))
    if groups < LEAST_GROUPS:
        missing = LEAST_GROUPS - groups
        reason = f"{groups} judged group(s); a temperature needs {LEAST_GROUPS}"
        return Calibration(1.0, groups, None, None, reason, missing)
    shares_M = judged.balanced_shares()
    after_MC = _cross_fitted(judged, shares_M, prior_sd)
    return Calibration(
        temperature=fit_temperature(judged.logits_NC, judged.labels_N, shares_M, prior_sd=prior_sd),
        groups=groups,
        before=reliability(softmax(judged.logits_NC), judged.labels_N, shares_M),
        after=reliability(after_MC, judged.labels_N, shares_M),
    )


def fit_temperature(
    logits_MC: Doubles, labels_M: Ints, weights_M: Doubles, *, prior_sd: float = PRIOR_SD
) -> float:
    """The temperature of the least weighted cross-entropy plus (log t)^2 / (2 prior_sd^2).

    Args:
        weights_M: should sum to the number of independent examples, against which the prior
            is one observation.
    """
    from scipy.optimize import minimize_scalar  # half a second that a starting service saves

    rows_M = np.arange(len(labels_M))

    def loss(log_t: float) -> float:
        scaled_MC = logits_MC * math.exp(-log_t)
        scaled_MC -= scaled_MC.max(1, keepdims=True)
        entropy_M = np.log(np.exp(scaled_MC).sum(1)) - scaled_MC[rows_M, labels_M]
        return float(weights_M @ entropy_M) + log_t**2 / (2 * prior_sd**2)

    found = minimize_scalar(loss, bounds=LOG_RANGE, method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))


def reliability(probabilities_MC: Doubles, labels_M: Ints, weights_M: Doubles) -> Reliability:
    """ECE, Brier score and log loss under example weights.

    Raises:
        InputError: no rows, or not finite.
    """
    if not len(labels_M) or not np.isfinite(probabilities_MC).all():
        raise InputError("expected at least one row of finite probabilities")
    shares_M = weights_M / weights_M.sum()
    rows_M = np.arange(len(labels_M))
    truth_MC = np.zeros_like(probabilities_MC)
    truth_MC[rows_M, labels_M] = 1
    given_M = np.maximum(probabilities_MC[rows_M, labels_M], 1e-12)
    return Reliability(
        ece=expected_calibration_error(probabilities_MC, labels_M, shares_M),
        brier=float(shares_M @ ((probabilities_MC - truth_MC) ** 2).sum(1)),
        log_loss=float(-(shares_M @ np.log(given_M))),
    )


def expected_calibration_error(
    probabilities_MC: Doubles, labels_M: Ints, shares_M: Doubles
) -> float:
    """Mean |accuracy - confidence| over bins of equal width; ``shares_M`` sum to 1."""
    confidence_M = probabilities_MC.max(1)
    right_M = probabilities_MC.argmax(1) == labels_M
    bin_M = np.minimum((confidence_M * BINS).astype(np.int64), BINS - 1)
    gap_B = np.bincount(bin_M, weights=shares_M * (right_M - confidence_M), minlength=BINS)
    return float(np.abs(gap_B).sum())


def _cross_fitted(judged: HeldOut, shares_M: Doubles, prior_sd: float) -> Doubles:
    """Probabilities (M, C) by temperatures fitted without the row's group."""
    fold_M = np.unique(judged.groups_N, return_inverse=True)[1] % FOLDS
    scaled_MC = np.empty_like(judged.logits_NC)
    for fold in range(FOLDS):
        rest_M = fold_M != fold
        temperature = fit_temperature(
            judged.logits_NC[rest_M], judged.labels_N[rest_M], shares_M[rest_M], prior_sd=prior_sd
        )
        scaled_MC[~rest_M] = judged.logits_NC[~rest_M] / temperature
    return softmax(scaled_MC)
