"""The answers of one version to the frames of one live stream.

Probabilities come from the average of the last frames, the answer is held against short changes,
and both begin anew where another scene begins: the probe was lifted, or the picture jumped.

Shape suffixes: C classes, D embedding width.
"""

from collections.abc import Mapping

import numpy as np

from service.arrays import Bools, Doubles
from service.catalog.ids import new_ids
from service.classifiers.loaded import LoadedClassifier
from service.classifiers.prediction import ABSTAIN_ON, PredictedItem, UltrasoundGate
from service.classifiers.streaming.stream_records import (
    STEADY,
    Steadiness,
    StreamAnswer,
    StreamFrame,
    StreamReason,
)
from service.errors import WrongAccuracy
from service.fewshot.classifier import Prediction, Reason
from service.fewshot.head import unit_rows
from service.fewshot.temporal.held_value import HeldValue
from service.fewshot.temporal.logit_average import LogitAverage

# Reasons to abstain from a frame whatever its probabilities: it is no evidence for any class.
NO_EVIDENCE: frozenset[Reason] = frozenset(
    {"blank", "frozen", "not_ultrasound", "far_from_every_example"}
)
SCENE_MEMORY = 0.8  # of one frame to the next, for the mean that frames are compared with
COUNT_AFTER_S = 1.0  # a scene has settled
COUNT_EVERY_S = 10.0  # at most one answer in this time counts


class StreamAnswers:
    """Call ``answer`` with each frame in order.

    Args:
        coverage: of the prediction sets, 0.5 to 0.999.
        ultrasound: None = the encoder has no gate.

    Raises:
        InputError: another coverage.
        WrongAccuracy: the version is asked with views, which take longer than a frame lasts.
    """

    def __init__(
        self,
        loaded: LoadedClassifier,
        *,
        coverage: float,
        ultrasound: UltrasoundGate | None,
        steadiness: Steadiness = STEADY,
    ) -> None:
        if loaded.asks_views:
            raise WrongAccuracy("live frames are answered by versions of standard accuracy alone")
        self.loaded = loaded
        self._coverage = coverage
        self._ultrasound = ultrasound
        self._steadiness = steadiness
        self._counted_s: float | None = None
        self._scenes = 0
        self._averages = {key: LogitAverage(steadiness.averaging) for key in loaded.model.heads}
        # One for the class, or one for each label.
        self._held: dict[str | None, HeldValue[str | bool]] = {
            key: HeldValue(steadiness.enter_s, steadiness.leave_s) for key in loaded.model.heads
        }
        self.reset()

    def use(self, loaded: LoadedClassifier) -> None:
        """Go on with the same version as it is loaded now, perhaps without an erased patient."""
        self.loaded = loaded

    def reset(self) -> None:
        """Begin another scene: nothing is known."""
        self._sum_D: Doubles | None = None
        self._shares: dict[str | None, Doubles] = {}
        self._effective = 0.0
        self._unseen_s: float | None = None  # since when frames are no evidence
        self._began_s: float | None = None
        self._is_counted = False
        self._is_odd = False  # the last frame was unlike its scene
        for average in self._averages.values():
            average.reset()
        for held in self._held.values():
            held.reset()

    def answer(self, frame: StreamFrame) -> StreamAnswer:
        """The answer after one more frame.

        Raises:
            InputError: an embedding of another width, or that is not finite.
        """
        row_1D, time_s = frame.embedding_D[None], frame.time_s
        gate = self._ultrasound
        score = None if gate is None else float(gate.scores(row_1D)[0])
        passed_1 = None if gate is None else gate.passed(row_1D)
        alone = self._predict(frame, passed_1)
        reason = None if alone.abstained is None else alone.abstained.because
        if reason in NO_EVIDENCE:
            self._pass(frame)
        else:
            self._take(frame)
        smoothed = self._predict(frame, passed_1, self._shares) if self._shares else alone
        self._offer(smoothed, time_s)
        called, because, between = self._said(smoothed)
        since = [held.since_s for held in self._held.values() if held.since_s is not None]
        item = self._item_to_count(frame, smoothed, score)
        return StreamAnswer(
            label=called[0] if called and None in self._held else None,
            called=called,
            abstained=because,
            between=between,
            held_s=time_s - max(since) if since and because is None else 0.0,
            smoothed=smoothed,
            frame=alone,
            ultrasound_score=score,
            effective_frames=self._effective,
            scene=self._scenes,
            counted=item,
        )

    def _predict(
        self,
        frame: StreamFrame,
        passed_1: Bools | None,
        shares: Mapping[str | None, Doubles] | None = None,
    ) -> Prediction:
        because = next((name for name in ABSTAIN_ON if name in frame.findings), None)
        if because is None and passed_1 is not None and not passed_1[0]:
            because = "not_ultrasound"
        predicted = self.loaded.model.predict(
            frame.embedding_D[None],
            self._coverage,
            unusable_N=[because],
            shares=shares,
        )
        return predicted.rows[0]

    def _take(self, frame: StreamFrame) -> None:
        """Add the evidence of a frame; two that are unlike their scene begin another.

        One alone is left out: it may be a frame that was damaged on its way.
        """
        unit_D = unit_rows(frame.embedding_D[None])[0]
        if self._sum_D is not None:
            mean_D = self._sum_D / np.linalg.norm(self._sum_D)
            was_odd = self._is_odd
            self._is_odd = float(mean_D @ unit_D) < self._steadiness.min_cosine
            if self._is_odd and not was_odd and self._steadiness.leave_s > 0:
                return
            if self._is_odd:
                self.reset()
        if self._sum_D is None:
            self._scenes += 1
            self._sum_D, self._began_s = np.zeros_like(unit_D), frame.time_s
        self._unseen_s = None
        self._sum_D = SCENE_MEMORY * self._sum_D + unit_D
        for key, head in self.loaded.model.heads.items():
            logits_C = head.head.logits(frame.embedding_D[None])[0]
            average = self._averages[key].add(logits_C, frame.time_s)
            calibration = head.calibrator.calibration
            self._shares[key] = calibration.probabilities(average.logits_C[None])
            self._effective = average.effective_frames

    def _pass(self, frame: StreamFrame) -> None:
        """Note a frame that is no evidence; after some of them the scene has ended."""
        since_s = frame.time_s if self._unseen_s is None else self._unseen_s
        if self._shares and frame.time_s - since_s >= self._steadiness.lifted_s:
            self.reset()
        self._unseen_s = since_s

    def _offer(self, smoothed: Prediction, time_s: float) -> None:
        """Offer what the smoothed prediction says to what is held."""
        if None in self._held:
            self._held[None].offer(_class_of(smoothed), time_s)
            return
        for output in smoothed.outputs:
            is_certain = output.prediction_set is None or len(output.prediction_set) == 1
            called = output.called if smoothed.abstained is None and is_certain else None
            self._held[output.label].offer(called, time_s)

    def _said(
        self, smoothed: Prediction
    ) -> tuple[tuple[str, ...], StreamReason | None, tuple[str, str] | None]:
        """The held classes or labels, or why there are none and between which two."""
        whole = self._held.get(None)
        if whole is not None:
            if isinstance(whole.value, str):
                return ((whole.value,) if whole.value else ()), None, None
        elif any(held.value is not None for held in self._held.values()):
            called = tuple(str(key) for key, held in self._held.items() if held.value is True)
            return called, None, None
        if smoothed.abstained is not None:
            return (), smoothed.abstained.because, smoothed.abstained.between
        is_settling = any(held.is_entering for held in self._held.values())
        return (), ("settling" if is_settling else "not_certain"), None

    def _item_to_count(
        self, frame: StreamFrame, smoothed: Prediction, score: float | None
    ) -> PredictedItem | None:
        """One answer of each scene, once it has settled.

        Frames of one scene are not independent, and the tests of the monitor suppose answers about
        different patients. A scene without any evidence counts as its abstention.
        """
        began_s = self._unseen_s if self._began_s is None else self._began_s
        if self._is_counted or began_s is None or frame.time_s - began_s < COUNT_AFTER_S:
            return None
        last_s = self._counted_s
        if last_s is not None and frame.time_s - last_s < COUNT_EVERY_S:
            return None
        self._is_counted, self._counted_s = True, frame.time_s
        return PredictedItem(
            prediction_id=new_ids("prd", 1)[0],
            prediction=smoothed,
            ultrasound_score=score,
            nearest=(),
            heatmap=None,
            no_heatmap_because=None,
            frames=(),
            key_frames=(),
            findings=frame.findings,
            acquisition=frame.acquisition,
        )


def _class_of(smoothed: Prediction) -> str | None:
    """The class to hold: "" where none reaches its threshold, None where it is not certain."""
    if smoothed.abstained is not None:
        return None
    members = smoothed.prediction_set
    if members is not None and members != (smoothed.label or smoothed.most_probable,):
        return None
    return smoothed.label or ""
