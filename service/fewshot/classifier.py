"""A classifier: label -> calibrated head, and what it predicts.

A single-label classifier is ``{None: head of C classes}``. A multi-label one has a head of the
classes ``absent`` and ``present`` per label, whose probabilities are independent of each other.

Shape suffixes: N rows, C classes, D embedding width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from service.arrays import Doubles, Floats
from service.errors import InputError
from service.fewshot.calibrator import Calibrator
from service.fewshot.conformal import PredictionSets
from service.fewshot.head import LinearHead
from service.fewshot.novelty import Novelty

Presence: TypeAlias = Literal["absent", "present"]
Name = TypeVar("Name", bound=str)
SetBy: TypeAlias = Literal["request", "version", "default"]
Unusable: TypeAlias = Literal["blank", "frozen", "not_ultrasound"]  # what no head can tell
Reason: TypeAlias = Unusable | Literal["far_from_every_example", "ambiguous"]

ABSENT: Presence = "absent"
PRESENT: Presence = "present"
PRESENCE: tuple[Presence, Presence] = (ABSENT, PRESENT)  # as they sort
PRESENT_NUMBER = 1  # its place among them
THRESHOLD = 0.5  # default of a label
AskedWith: TypeAlias = Literal["frame", "views"]  # one embedding, or the mean of those of its views


@dataclass(frozen=True, slots=True)
class CalibratedHead:
    """A head with what its answers need.

    Attributes:
        thresholds: class -> calibrated probability from which it is called; without defaults.
    """

    head: LinearHead
    calibrator: Calibrator
    thresholds: Mapping[str, float]

    def probabilities(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """Calibrated, float64 (N, C). Raises InputError: wrong width, zero or non-finite rows."""
        return self.calibrator.calibration.probabilities(self.head.logits(embeddings_ND))


def effective_thresholds(label: str | None, head: CalibratedHead) -> dict[str, float]:
    """Class of a head -> threshold; a label has the default unless it has its own."""
    return dict(head.thresholds) if label is None else {PRESENT: THRESHOLD, **head.thresholds}


@dataclass(frozen=True, slots=True)
class Output:
    """One class, or one label, of one row.

    Attributes:
        threshold: probability from which it is called; None = a class is called if it is the most
            probable and no class reaches a threshold of its own.
        called: None when the classifier abstains from the row or from this output.
        set_by: where the threshold comes from.
        abstained_because: set when a label is too near its threshold to be called or not.
        prediction_set: of a label, what can be true at the coverage; None for a class, or with
            too few examples.
    """

    label: str
    probability: float
    threshold: float | None
    called: bool | None
    set_by: SetBy
    abstained_because: Literal["ambiguous"] | None = None
    prediction_set: tuple[Presence, ...] | None = None


@dataclass(frozen=True, slots=True)
class Abstention:
    """Why a row has no answer; ``between`` names the two classes of an ambiguous row."""

    because: Reason
    between: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a classifier for one row.

    Attributes:
        label: the called class, of several the one that exceeds its threshold most; None when the
            classifier abstains, when none is called, and for a multi-label classifier.
        most_probable: class or label of the greatest probability, also when abstained.
        prediction_set: classes or labels that can be true at the coverage; None = too few examples.
        distance: to the nearest example, 1 - cosine; None without anchors.
        distance_percentile: percentage of the examples' own distances that are smaller.
        similarity: mean cosine to the nearest 5 examples; None without anchors.
    """

    label: str | None
    most_probable: str
    outputs: tuple[Output, ...]
    prediction_set: tuple[str, ...] | None
    abstained: Abstention | None
    distance: float | None
    distance_percentile: float | None
    similarity: float | None = None

    @property
    def decision(self) -> Literal["called", "abstained"]:
        """``abstained`` when the row has no answer."""
        return "called" if self.abstained is None else "abstained"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of N rows, with the prediction sets of each head."""

    rows: tuple[Prediction, ...]
    sets: Mapping[str | None, PredictionSets]


@dataclass(frozen=True, slots=True)
class FewShotClassifier:
    """Calibrated heads by label, sorted, and what distances are usual among the examples.

    Attributes:
        asked_with: what the heads were fitted to and calibrated with, and must be asked with.
            Distances are always between embeddings of frames.
    """

    encoder_id: str
    heads: Mapping[str | None, CalibratedHead]
    novelty: Novelty
    asked_with: AskedWith = "frame"

    @property
    def labels(self) -> tuple[str, ...]:
        """One per output: classes, or labels."""
        whole = self.heads.get(None)
        return whole.head.classes if whole else tuple(str(label) for label in self.heads)

    @property
    def width(self) -> int:
        """D."""
        return int(next(iter(self.heads.values())).head.weights_CD.shape[1])

    @property
    def not_calibrated_because(self) -> str | None:
        """The reasons of all heads; None when all are calibrated."""
        reasons = [
            reason if label is None else f"label {label!r}: {reason}"
            for label, head in self.heads.items()
            if (reason := head.calibrator.calibration.not_calibrated_because) is not None
        ]
        return "; ".join(reasons) or None

    @property
    def thresholds(self) -> dict[str, float]:
        """Class or label -> threshold, without defaults."""
        return {
            name if label is None else label: value
            for label, head in self.heads.items()
            for name, value in head.thresholds.items()
        }

    def find(self, label: str) -> tuple[str | None, str]:
        """The key of the head of an output, and the class of the output there.

        Raises:
            InputError: no such class or label.
        """
        if label not in self.labels:
            raise InputError(f"expected one of the {len(self.labels)} labels of the classifier")
        return (None, label) if None in self.heads else (label, PRESENT)

    def check_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Raises InputError: an unknown class or label, or a threshold out of range.

        Thresholds of classes may be 0 or 1, those of labels may not.
        """
        for label, value in thresholds.items():
            key, _ = self.find(label)
            if key is None and not 0 <= value <= 1:
                raise InputError(f"expected thresholds of 0 to 1, got {value:g}")
            if key is not None and not (math.isfinite(value) and 0 < value < 1):
                raise InputError(
                    f"expected thresholds of labels above 0 and below 1, got {value:g}"
                )

    def with_thresholds(self, thresholds: Mapping[str, float]) -> "FewShotClassifier":
        """The same heads with these thresholds and no others. Raises as ``check_thresholds``."""
        self.check_thresholds(thresholds)
        by_head: dict[str | None, dict[str, float]] = {label: {} for label in self.heads}
        for label, value in thresholds.items():
            key, name = self.find(label)
            by_head[key][name] = float(value)
        heads = {key: replace(head, thresholds=by_head[key]) for key, head in self.heads.items()}
        return replace(self, heads=heads)

    def with_anchors(self, anchors_SD: Floats) -> "FewShotClassifier":
        """The same classifier measuring distances to these unit rows; no rows = no distances."""
        return replace(self, novelty=replace(self.novelty, anchors_SD=anchors_SD))

    def without_anchors(self) -> "FewShotClassifier":
        """The same classifier without anchors, which are embeddings of patients."""
        return self.with_anchors(np.empty((0, self.width), np.float32))

    def predict(
        self,
        embeddings_ND: npt.NDArray[np.floating],
        coverage: float,
        *,
        thresholds: Mapping[str, float] | None = None,
        unusable_N: Sequence[Unusable | None] | None = None,
        frames_ND: npt.NDArray[np.floating] | None = None,
        shares: Mapping[str | None, Doubles] | None = None,
    ) -> Predictions:
        """Classify rows, or say why not.

        Args:
            embeddings_ND: as ``asked_with`` says.
            frames_ND: embeddings for distances; None = ``embeddings_ND``.
            coverage: share of rows whose prediction set holds the truth, 0.5 to 0.999.
            thresholds: class or label -> threshold; they override those of the heads.
            unusable_N: why the classifier abstains from a row, known from its picture.
            shares: label -> calibrated probabilities (N, C) in the place of those of the rows.

        Raises:
            InputError: wrong width, zero or non-finite rows, another coverage, a threshold that
                is out of range or of no class or label.
        """
        requested = thresholds or {}
        self.check_thresholds(requested)
        near_ND = embeddings_ND if frames_ND is None else frames_ND
        if shares is None:
            shares = {k: head.probabilities(embeddings_ND) for k, head in self.heads.items()}
        sets = {
            label: head.calibrator.conformal.sets(shares[label], coverage)
            for label, head in self.heads.items()
        }
        rows = tuple(
            self._prediction(
                tuple(self._outputs(row, shares, sets, requested)),
                self._prediction_set(row, sets),
                reason,
                *distances,
            )
            for row, (reason, distances) in enumerate(self._reasons(near_ND, unusable_N))
        )
        return Predictions(rows, sets)

    def _reasons(
        self,
        embeddings_ND: npt.NDArray[np.floating],
        unusable_N: Sequence[Unusable | None] | None,
    ) -> Iterator[tuple[Reason | None, tuple[float | None, float | None, float | None]]]:
        """Why to abstain from each row whatever its probabilities; its distance, percentile and
        similarity.
        """
        count = len(embeddings_ND)
        known_N = [None] * count if unusable_N is None else unusable_N
        if not len(self.novelty.anchors_SD):
            for unusable in known_N:
                yield unusable, (None, None, None)
            return
        distances_N, similarities_N = self.novelty.nearness(embeddings_ND)
        percentiles_N = self.novelty.percentiles(distances_N)
        far_N = self.novelty.far(distances_N)
        for row in range(count):
            reason: Reason | None = "far_from_every_example" if far_N[row] else None
            percentile = float(percentiles_N[row])
            yield (
                known_N[row] or reason,
                (
                    float(distances_N[row]),
                    round(percentile, 2) if percentile >= 0 else None,
                    float(similarities_N[row]),
                ),
            )

    def _outputs(
        self,
        row: int,
        shares: Mapping[str | None, Doubles],
        sets: Mapping[str | None, PredictionSets],
        requested: Mapping[str, float],
    ) -> Iterator[Output]:
        for label, head in self.heads.items():
            shares_C = shares[label][row]
            if label is None:
                yield from _class_outputs(shares_C, head, requested)
                continue
            share = float(shares_C[PRESENT_NUMBER])
            chosen, set_by = _threshold(label, PRESENT, head, requested)
            value = THRESHOLD if chosen is None else chosen
            # Half of it on either side: with two classes the margin is |2 p - 1|.
            ambiguous = abs(share - value) < head.calibrator.min_margin / 2
            members = _members(sets[label], row, PRESENCE)
            yield Output(
                label=label,
                probability=share,
                threshold=value,
                called=None if ambiguous else share >= value,
                set_by=set_by,
                abstained_because="ambiguous" if ambiguous else None,
                prediction_set=members,
            )

    def _prediction_set(
        self, row: int, sets: Mapping[str | None, PredictionSets]
    ) -> tuple[str, ...] | None:
        if None in self.heads:
            return _members(sets[None], row, self.labels)
        if any(of_label.members_NC is None for of_label in sets.values()):
            return None
        return tuple(
            label
            for label, of_label in zip(self.labels, sets.values(), strict=True)
            if of_label.members_NC is not None and of_label.members_NC[row, PRESENT_NUMBER]
        )

    def _prediction(
        self,
        outputs: tuple[Output, ...],
        prediction_set: tuple[str, ...] | None,
        reason: Reason | None,
        distance: float | None,
        percentile: float | None,
        similarity: float | None,
    ) -> Prediction:
        ranked = sorted(outputs, key=lambda output: -output.probability)
        abstained = Abstention(reason) if reason else self._ambiguity(ranked)
        called = None
        if abstained is not None:
            outputs = tuple(replace(output, called=None) for output in outputs)
        elif None in self.heads:
            calls = [output for output in ranked if output.called]
            best = max(calls, key=lambda o: o.probability - (o.threshold or 0.0), default=None)
            called = None if best is None else best.label
        return Prediction(
            label=called,
            most_probable=ranked[0].label,
            outputs=outputs,
            prediction_set=prediction_set,
            abstained=abstained,
            distance=distance,
            distance_percentile=percentile,
            similarity=similarity,
        )

    def _ambiguity(self, ranked: list[Output]) -> Abstention | None:
        """Set when the two most probable classes of a single-label classifier are too close."""
        whole = self.heads.get(None)
        if whole is None:
            return None
        first, second = ranked[:2]
        if first.probability - second.probability >= whole.calibrator.min_margin:
            return None
        return Abstention("ambiguous", (first.label, second.label))


def _class_outputs(
    shares_C: Doubles, head: CalibratedHead, requested: Mapping[str, float]
) -> Iterator[Output]:
    """The classes of a single-label head.

    A threshold was chosen for what it catches. So a class that reaches its own is called instead
    of the most probable class that has none, however probable that is.
    """
    names, shares, most_probable = head.head.classes, shares_C.tolist(), int(shares_C.argmax())
    chosen = [_threshold(name, name, head, requested) for name in names]
    reaches = [v is not None and p >= v for (v, _), p in zip(chosen, shares, strict=True)]
    for c, (value, set_by) in enumerate(chosen):
        by_default = value is None and c == most_probable and not any(reaches)
        yield Output(names[c], shares[c], value, reaches[c] or by_default, set_by)


def _threshold(
    label: str, name: str, head: CalibratedHead, requested: Mapping[str, float]
) -> tuple[float | None, SetBy]:
    """The threshold of an output, which is the class ``name`` of its head, and who set it."""
    if label in requested:
        return requested[label], "request"
    if name in head.thresholds:
        return head.thresholds[name], "version"
    return None, "default"


def _members(sets: PredictionSets, row: int, names: tuple[Name, ...]) -> tuple[Name, ...] | None:
    if sets.members_NC is None:
        return None
    return tuple(name for name, inside in zip(names, sets.members_NC[row], strict=True) if inside)
