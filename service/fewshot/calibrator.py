"""What stands between a head's logits and an answer: calibration, sets, distance, doubt.

Shape suffixes: N rows, C classes, D embedding width.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.fewshot.conformal import Conformal, PredictionSets, conformal
from service.fewshot.fit import Fit
from service.fewshot.head import LinearHead
from service.fewshot.heldout import HeldOut
from service.fewshot.novelty import Novelty, novelty
from service.fewshot.temperature import Calibration, calibrate

Doubles: TypeAlias = npt.NDArray[np.float64]
Reason: TypeAlias = Literal["not_ultrasound", "far_from_every_class", "ambiguous"]

FALLBACK_MARGIN = 0.1  # between the two most probable classes, where the fit cannot tell
LEAST_ANSWERED = 10  # groups above a margin, for the margin to be believed
ERROR_SHARE = 0.5  # wanted errors among the answered, as a share of those among all


@dataclass(frozen=True, slots=True)
class Answer:
    """One row's classification, or why there is none.

    Attributes:
        predicted: the most probable class, also where ``abstained_because`` says not to use it.
        probabilities: class -> probability, calibrated where ``Calibrator.calibration`` is.
        distance: to the nearest of the support, 1 - cosine.
        distance_percentile: share of the support's own distances that are smaller; None when
            there are none.
        between: the two classes of an ambiguous row, the more probable first.
    """

    predicted: str
    probabilities: dict[str, float]
    distance: float
    distance_percentile: float | None
    abstained_because: Reason | None
    between: tuple[str, str] | None

    def as_no_ultrasound(self) -> "Answer":
        """The same, abstained from: there is no point in asking which class it resembles."""
        return replace(self, abstained_because="not_ultrasound", between=None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, under the field names."""
        return {
            "predicted": self.predicted,
            "probabilities": {n: round(p, 6) for n, p in self.probabilities.items()},
            "distance": round(self.distance, 6),
            "distance_percentile": self.distance_percentile,
            "abstained_because": self.abstained_because,
            "between": self.between and list(self.between),
        }


@dataclass(frozen=True, slots=True)
class Calibrator:
    """Everything beside the head that an honest prediction needs.

    Attributes:
        least_margin: probability between the two most probable classes below which a row is
            ambiguous.
        margin_chosen_by: how.
    """

    calibration: Calibration
    conformal: Conformal
    novelty: Novelty
    least_margin: float
    margin_chosen_by: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what a report shows; arrays are left out."""
        return {
            "calibration": self.calibration.to_json(),
            "conformal": {"method": self.conformal.method, "items": len(self.conformal.scores_M)},
            "novelty": self.novelty.to_json(),
            "least_margin": round(self.least_margin, 6),
            "margin_chosen_by": self.margin_chosen_by,
        }

    def probabilities(self, head: LinearHead, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """Calibrated, float64 (N, C). Raises InputError: wrong width, zero or non-finite rows."""
        return self.calibration.probabilities(head.logits(embeddings_ND))

    def sets(self, probabilities_NC: Doubles, coverage: float) -> PredictionSets:
        """Prediction sets, or a refusal. Raises InputError: coverage outside 0.5 to 0.999."""
        return self.conformal.sets(probabilities_NC, coverage)

    def answers(self, head: LinearHead, embeddings_ND: npt.NDArray[np.floating]) -> list[Answer]:
        """Classify rows, or say why not.

        Raises:
            InputError: wrong width, zero or non-finite rows.
        """
        return self.answers_for(
            head.classes, self.probabilities(head, embeddings_ND), embeddings_ND
        )

    def answers_for(
        self,
        classes: tuple[str, ...],
        probabilities_NC: Doubles,
        embeddings_ND: npt.NDArray[np.floating],
    ) -> list[Answer]:
        """As ``answers``, from probabilities that are known. Raises as it does."""
        distances_N = self.novelty.distances(embeddings_ND)
        percentiles_N = self.novelty.percentiles(distances_N)
        far_N = self.novelty.far(distances_N)
        return [
            self._answer(classes, *row)
            for row in zip(probabilities_NC, distances_N, percentiles_N, far_N, strict=True)
        ]

    def _answer(
        self,
        classes: tuple[str, ...],
        shares_C: Doubles,
        distance: float,
        percentile: float,
        far: bool,
    ) -> Answer:
        first, second = np.argsort(-shares_C, kind="stable")[:2]
        ambiguous = not far and shares_C[first] - shares_C[second] < self.least_margin
        return Answer(
            predicted=classes[first],
            probabilities=dict(zip(classes, shares_C.tolist(), strict=True)),
            distance=float(distance),
            distance_percentile=round(float(percentile), 2) if np.isfinite(percentile) else None,
            abstained_because=(
                "far_from_every_class" if far else "ambiguous" if ambiguous else None
            ),
            between=(classes[first], classes[second]) if ambiguous else None,
        )


def fit_calibrator(
    fitted: Fit, embeddings_ND: npt.NDArray[np.floating], *, seed: int = 0
) -> Calibrator:
    """Calibrate, and measure what is usual, on the examples that made ``fitted``.

    Args:
        fitted: of ``fit``.
        embeddings_ND: the same rows, in the same order, that ``fit`` was given.

    Raises:
        InputError: another number of rows than was fitted.
    """
    held_out = fitted.for_calibration
    if len(embeddings_ND) != len(held_out.labels_N):
        raise InputError(
            f"expected the {len(held_out.labels_N)} fitted rows, got {len(embeddings_ND)}"
        )
    calibration = calibrate(held_out)
    probabilities_NC = calibration.probabilities(held_out.logits_NC)
    margin, chosen_by = choose_margin(held_out, probabilities_NC)
    return Calibrator(
        calibration,
        conformal(held_out, probabilities_NC, seed=seed),
        novelty(embeddings_ND, held_out.labels_N, held_out.groups_N, seed=seed),
        margin,
        chosen_by,
    )


def margins(probabilities_NC: Doubles) -> Doubles:
    """(N,) difference of the two greatest probabilities of each row."""
    top_N2 = np.partition(probabilities_NC, -2, axis=1)[:, -2:]
    margins_N: Doubles = top_N2[:, 1] - top_N2[:, 0]
    return margins_N


def choose_margin(held_out: HeldOut, probabilities_NC: Doubles) -> tuple[float, str]:
    """The least margin at which answers err half as often as all out-of-fold rows do.

    Returns:
        The margin, and how it was found: by the default when nothing was judged, no error was
        made, or no margin halves the errors of enough groups.
    """
    keep_N = np.asarray(np.isfinite(probabilities_NC).all(axis=1))
    judged = held_out.rows(keep_N)
    default = FALLBACK_MARGIN, "default: too few judged examples, or errors, to choose"
    if len(judged.labels_N) == 0:
        return default
    shares_NC = probabilities_NC[keep_N]
    weights_N = judged.balanced_shares()
    wrong_N = shares_NC.argmax(1) != judged.labels_N
    order_N = np.argsort(-margins(shares_NC), kind="stable")
    answered_N = np.cumsum(weights_N[order_N])
    errors_N = np.cumsum((weights_N * wrong_N)[order_N]) / answered_N
    good = np.flatnonzero((errors_N <= ERROR_SHARE * errors_N[-1]) & (answered_N >= LEAST_ANSWERED))
    if not len(good) or errors_N[-1] == 0:
        return default
    margin = float(margins(shares_NC)[order_N[good[-1]]])
    share = answered_N[good[-1]] / answered_N[-1]
    return margin, (
        f"half the out-of-fold errors: {errors_N[good[-1]]:.3f} instead of {errors_N[-1]:.3f} "
        f"with {share:.0%} answered"
    )
