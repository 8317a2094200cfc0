"""What goes into a live stream of one classifier, and what it answers.

Shape suffixes: D embedding width.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from service.arrays import Floats
from service.classifiers.prediction import Acquisition, PredictedItem
from service.fewshot.classifier import Prediction, Reason
from service.fewshot.temporal.logit_average import Averaging

# Beside the reasons of a single frame: nothing has stood long enough yet, and the prediction set
# of the last frames holds several classes.
StreamReason: TypeAlias = Reason | Literal["settling", "not_certain"]


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How an answer is kept from flickering.

    The times are from ``benchmarks/stream_report.py``.

    Attributes:
        averaging: of the logits.
        enter_s: how long another answer must stand to replace the held one.
        leave_s: how long there is no answer until the held one goes.
        lifted_s: how long frames show nothing to classify until the scene has ended.
        min_cosine: of a frame with the mean of its scene; below it another scene has begun. In real
            cines 99 frames of 100 have 0.47 and more, frames of other cines 0.22 and less.
    """

    averaging: Averaging = field(default_factory=Averaging)
    enter_s: float = 0.3
    leave_s: float = 1.0
    lifted_s: float = 0.5
    min_cosine: float = 0.3


STEADY = Steadiness()
EACH_FRAME = Steadiness(Averaging(time_constant_s=0.0), 0.0, 0.0, 0.0)  # without smoothing


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One embedded frame of a stream; ``time_s`` never falls."""

    embedding_D: Floats
    findings: frozenset[str]
    acquisition: Acquisition
    time_s: float


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """The answer of a stream after one more frame.

    Attributes:
        label: the held class; None also for a multi-label classifier.
        called: the held classes or labels; empty also when none of them applies.
        abstained: why nothing is held; None = ``called`` is the answer.
        between: the two classes of an ambiguous answer.
        held_s: since when the answer stands.
        smoothed: of the last frames together; its outputs are the probabilities to show.
        frame: of this frame alone.
        effective_frames: how many independent frames the last ones count as.
        scene: number of the scene, from 1; 0 = nothing was seen yet.
        counted: what counts as one answer in the figures of the version in use, else None.
    """

    label: str | None
    called: tuple[str, ...]
    abstained: StreamReason | None
    between: tuple[str, str] | None
    held_s: float
    smoothed: Prediction
    frame: Prediction
    ultrasound_score: float | None
    effective_frames: float
    scene: int
    counted: PredictedItem | None
