"""Turn logits into calibrated probabilities, prediction sets and a margin for ambiguous rows.

A temperature changes no ranking and needs few examples (Guo et al. 2017, "On calibration of
modern neural networks", section 4.2). Classes count equally, as in the fit: the probabilities
hold for a population in which all classes are equally frequent.

Shape suffixes: N rows, M rows with scores, C classes, B bins.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Ints
from service.errors import InputError
from service.fewshot.conformal import Conformal, conformal
from service.fewshot.head import softmax
from service.fewshot.heldout import HeldOut, in_groups

MIN_GROUPS = 10  # groups with scores; with fewer, a temperature depends on the draw
PRIOR_SD = 1.0  # of log temperature: as if one standard deviation were a factor of e
LOG_RANGE = (-4.0, 4.0)
BINS = 10
FOLDS = 5
FALLBACK_MARGIN = 0.1  # between the two most probable classes, where none can be chosen
MIN_ANSWERED = 10  # groups above a margin
ERROR_SHARE = 0.5  # error rate of the answered rows, as a share of that of all rows


@dataclass(frozen=True, slots=True)
class Calibrator:
    """What turns the logits of one head into answers.

    Attributes:
        min_margin: a row is ambiguous when its two most probable classes differ by less.
        margin_chosen_by: how the margin was chosen.
    """

    calibration: "Calibration"
    conformal: Conformal
    min_margin: float
    margin_chosen_by: str


def fit_calibrator(held_out: HeldOut, *, seed: int = 0) -> Calibrator:
    """Calibrate on ``Fit.scores.chosen``, make prediction sets, and choose the margin."""
    calibration = calibrate(held_out)
    probabilities_NC = calibration.probabilities(held_out.logits_NC)
    margin, chosen_by = choose_margin(held_out, probabilities_NC)
    sets = conformal(held_out, probabilities_NC, seed=seed)
    return Calibrator(calibration, sets, margin, chosen_by)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are from frequencies; groups count once and classes equally.

    Attributes:
        ece: expected calibration error of the most probable class, in [0, 1], 10 bins of equal
            width (Guo et al. 2017, equation 3).
        brier: mean squared distance to the truth, summed over classes, in [0, 2] (Brier 1950).
        log_loss: mean cross-entropy, nats.
    """

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature with what it changes.

    Attributes:
        temperature: logits are divided by it; 1 where it could not be fitted.
        groups: groups with scores it was fitted on.
        before: out-of-fold, at temperature 1.
        after: out-of-fold, each row at a temperature fitted without its group.
        not_calibrated_because: why the temperature is 1, or None.
        missing_groups: how many more groups with scores would give a temperature.
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


def calibrate(held_out: HeldOut, *, prior_sd: float = PRIOR_SD) -> Calibration:
    """Fit a temperature on out-of-fold logits; never fails for lack of examples.

    Args:
        held_out: of ``Fit.scores.chosen``.
        prior_sd: of log temperature around 0; infinity = no prior.
    """
    scored = held_out.scored()
    groups = len(np.unique(scored.groups_N))
    if groups < MIN_GROUPS:
        missing = MIN_GROUPS - groups
        reason = f"{in_groups(groups)} with scores; a temperature needs {MIN_GROUPS}"
        return Calibration(1.0, groups, None, None, reason, missing)
    shares_M = scored.balanced_shares()
    after_MC = _cross_fitted_probabilities(scored, shares_M, prior_sd)
    return Calibration(
        temperature=fit_temperature(scored.logits_NC, scored.labels_N, shares_M, prior_sd=prior_sd),
        groups=groups,
        before=reliability(softmax(scored.logits_NC), scored.labels_N, shares_M),
        after=reliability(after_MC, scored.labels_N, shares_M),
    )


def fit_temperature(
    logits_MC: Doubles, labels_M: Ints, weights_M: Doubles, *, prior_sd: float = PRIOR_SD
) -> float:
    """The temperature t that minimises weighted cross-entropy + (log t)^2 / (2 prior_sd^2).

    Args:
        weights_M: should sum to the number of independent examples; the prior counts as one.
    """
    from scipy.optimize import minimize_scalar  # the import takes half a second

    rows_M = np.arange(len(labels_M))

    def loss(log_t: float) -> float:
        scaled_MC = logits_MC * math.exp(-log_t)
        scaled_MC -= scaled_MC.max(1, keepdims=True)
        entropy_M = np.log(np.exp(scaled_MC).sum(1)) - scaled_MC[rows_M, labels_M]
        return float(weights_M @ entropy_M) + log_t**2 / (2 * prior_sd**2)

    result = minimize_scalar(loss, bounds=LOG_RANGE, method="bounded", options={"xatol": 1e-4})
    return math.exp(float(result.x))


def reliability(probabilities_MC: Doubles, labels_M: Ints, weights_M: Doubles) -> Reliability:
    """ECE, Brier score and log loss under example weights.

    Raises:
        InputError: no rows, or not finite.
    """
    if not len(labels_M) or not np.isfinite(probabilities_MC).all():
        raise InputError("expected at least one row of finite probabilities")
    shares_M = weights_M / weights_M.sum()
    rows_M = np.arange(len(labels_M))
    truth_MC = np.eye(probabilities_MC.shape[1])[labels_M]
    true_M = np.maximum(probabilities_MC[rows_M, labels_M], 1e-12)
    return Reliability(
        ece=expected_calibration_error(probabilities_MC, labels_M, shares_M),
        brier=float(shares_M @ ((probabilities_MC - truth_MC) ** 2).sum(1)),
        log_loss=float(-(shares_M @ np.log(true_M))),
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


def _cross_fitted_probabilities(scored: HeldOut, shares_M: Doubles, prior_sd: float) -> Doubles:
    """Probabilities (M, C) by temperatures fitted without the row's group."""
    fold_M = np.unique(scored.groups_N, return_inverse=True)[1] % FOLDS
    scaled_MC = np.empty_like(scored.logits_NC)
    for fold in range(FOLDS):
        rest_M = fold_M != fold
        temperature = fit_temperature(
            scored.logits_NC[rest_M], scored.labels_N[rest_M], shares_M[rest_M], prior_sd=prior_sd
        )
        scaled_MC[~rest_M] = scored.logits_NC[~rest_M] / temperature
    return softmax(scaled_MC)


def margins(probabilities_NC: Doubles) -> Doubles:
    """(N,) difference of the two greatest probabilities of each row."""
    top_N2 = np.partition(probabilities_NC, -2, axis=1)[:, -2:]
    margins_N: Doubles = top_N2[:, 1] - top_N2[:, 0]
    return margins_N


def choose_margin(held_out: HeldOut, probabilities_NC: Doubles) -> tuple[float, str]:
    """The smallest margin above which answers are wrong half as often as all out-of-fold rows.

    Returns:
        The margin, and how it was chosen. The default applies when nothing has scores, no row is
        wrong, or no margin halves the errors of enough groups.
    """
    keep_N = np.asarray(np.isfinite(probabilities_NC).all(axis=1))
    scored = held_out.rows(keep_N)
    default = FALLBACK_MARGIN, "default: too few held-out examples, or errors, to choose"
    if len(scored.labels_N) == 0:
        return default
    shares_NC = probabilities_NC[keep_N]
    weights_N = scored.balanced_shares()
    wrong_N = shares_NC.argmax(1) != scored.labels_N
    order_N = np.argsort(-margins(shares_NC), kind="stable")
    answered_N = np.cumsum(weights_N[order_N])
    errors_N = np.cumsum((weights_N * wrong_N)[order_N]) / answered_N
    good = np.flatnonzero((errors_N <= ERROR_SHARE * errors_N[-1]) & (answered_N >= MIN_ANSWERED))
    if not len(good) or errors_N[-1] == 0:
        return default
    margin = float(margins(shares_NC)[order_N[good[-1]]])
    share = answered_N[good[-1]] / answered_N[-1]
    return margin, (
        f"half the out-of-fold errors: {errors_N[good[-1]]:.3f} instead of {errors_N[-1]:.3f} "
        f"with {share:.0%} answered"
    )
