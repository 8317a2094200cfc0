"""What a multi-label classifier says of a frame: label by label, each with its own doubt.

Shape suffixes: N rows, L labels, D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.calibrator import Calibrator
from service.fewshot.conformal import PredictionSets
from service.fewshot.head import LinearHead
from service.fewshot.novelty import Novelty

Doubles: TypeAlias = npt.NDArray[np.float64]
Presence: TypeAlias = Literal["present", "absent"]

ABSENT: Presence = "absent"
PRESENT: Presence = "present"
THRESHOLD = 0.5  # of a label that is given none
CLASSES: tuple[str, ...] = (ABSENT, PRESENT)  # as they sort
PRESENT_NUMBER = 1  # its place among them


@dataclass(frozen=True, slots=True)
class LabelHead:
    """One label against the rest.

    Attributes:
        head: of the classes ``absent`` and ``present``.
        threshold: calibrated probability from which the label counts as present.
    """

    name: str
    head: LinearHead
    trust: Calibrator
    threshold: float

    def probabilities(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N,) calibrated, that the label is there."""
        shares_N: Doubles = self.trust.probabilities(self.head, embeddings_ND)[:, 1]
        return shares_N


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """One label of one row.

    Attributes:
        present: whether the probability reaches the threshold, also where ``ambiguous``.
        possible: prediction set: what can be at the asked coverage; None when refused.
        ambiguous: so near the threshold that ``present`` should not be used.
    """

    name: str
    probability: float
    threshold: float
    present: bool
    possible: tuple[Presence, ...] | None
    ambiguous: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "label": self.name,
            "probability": round(self.probability, 6),
            "threshold": self.threshold,
            "present": self.present,
            "prediction_set": None if self.possible is None else list(self.possible),
            "abstained_because": "ambiguous" if self.ambiguous else None,
        }


@dataclass(frozen=True, slots=True)
class LabelsAnswer:
    """All labels of one row, and how far it is from every example."""

    labels: tuple[LabelAnswer, ...]
    distance: float
    distance_percentile: float | None
    far: bool


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """One head per label, sorted by name, and one measure of what is usual."""

    encoder_id: str
    heads: tuple[LabelHead, ...]
    novelty: Novelty

    @property
    def labels(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(head.name for head in self.heads)

    @property
    def width(self) -> int:
        """D."""
        return int(self.heads[0].head.weights_CD.shape[1])

    def probabilities(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N, L), independent of each other. Raises InputError: wrong width or bad rows."""
        return np.stack([head.probabilities(embeddings_ND) for head in self.heads], axis=1)

    def sets(
        self, embeddings_ND: npt.NDArray[np.floating], coverage: float
    ) -> dict[str, PredictionSets]:
        """Label -> its prediction sets. Raises InputError: coverage outside 0.5 to 0.999."""
        return {
            head.name: head.trust.sets(head.trust.probabilities(head.head, embeddings_ND), coverage)
            for head in self.heads
        }

    def answers(
        self, embeddings_ND: npt.NDArray[np.floating], coverage: float
    ) -> list[LabelsAnswer]:
        """Every label of every row.

        Raises:
            InputError: wrong width, bad rows, or coverage outside 0.5 to 0.999.
        """
        shares_NL, sets = self.probabilities(embeddings_ND), self.sets(embeddings_ND, coverage)
        distances_N = self.novelty.distances(embeddings_ND)
        percentiles_N = self.novelty.percentiles(distances_N)
        far_N = self.novelty.far(distances_N)
        return [
            LabelsAnswer(
                labels=tuple(
                    _answer(head, float(shares_NL[row, i]), sets[head.name].members_NC, row)
                    for i, head in enumerate(self.heads)
                ),
                distance=float(distances_N[row]),
                distance_percentile=_shown(float(percentiles_N[row])),
                far=bool(far_N[row]),
            )
            for row in range(len(embeddings_ND))
        ]


def with_thresholds(made: MultiLabel, thresholds: Mapping[str, float]) -> MultiLabel:
    """The same heads with these thresholds; a label that is left out has 0.5."""
    heads = (replace(head, threshold=thresholds.get(head.name, THRESHOLD)) for head in made.heads)
    return replace(made, heads=tuple(heads))


def _answer(
    head: LabelHead, share: float, members_N2: npt.NDArray[np.bool_] | None, row: int
) -> LabelAnswer:
    possible: tuple[Presence, ...] | None = None
    if members_N2 is not None:
        pairs = zip((ABSENT, PRESENT), members_N2[row].tolist(), strict=True)
        possible = tuple(name for name, inside in pairs if inside)
    return LabelAnswer(
        name=head.name,
        probability=share,
        threshold=head.threshold,
        present=share >= head.threshold,
        possible=possible,
        # Half of it on either side: with two classes the margin is |2 p - 1|.
        ambiguous=abs(share - head.threshold) < head.trust.least_margin / 2,
    )


def _shown(percentile: float) -> float | None:
    return round(percentile, 2) if np.isfinite(percentile) else None
