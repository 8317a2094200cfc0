"""Logits of a running scene, averaged over time so that their probabilities stay calibrated.

The frames of one scene resemble each other, so they are not so many independent votes. Let the
logit of a frame be what its patient gives, of variance a^2, plus what the frame alone adds, of
variance b^2. A temperature fitted on single frames suits the variance a^2 + b^2. The mean of n
frames has a^2 + b^2 / n, so its logits are too small by the ratio of the two:

    effective frames = 1 / (r + (1 - r) / n),    r = a^2 / (a^2 + b^2)

That is Kish's design effect for clusters (Kish 1965, "Survey sampling", section 5.4) with the
correlation r within a scene. However long a scene lasts, it counts as at most 1 / r frames.

Weights fall with time and not with the number of frames, so frames that were dropped change
nothing; n is Kish's effective size of the weights.

Shape suffixes: C classes.
"""

import math
from dataclasses import dataclass

from service.arrays import Doubles
from service.errors import InputError

# Both from benchmarks/stream_report.py on real cines; see docs/measurements/stream.md.
TIME_CONSTANT_S = 0.7
CORRELATION = 0.8


@dataclass(frozen=True, slots=True)
class Averaging:
    """How logits are averaged.

    Attributes:
        time_constant_s: a frame that is older by it weighs 1/e; 0 = each frame alone.
        correlation: r above, from 0 (independent frames) to 1 (one frame says all).
    """

    time_constant_s: float = TIME_CONSTANT_S
    correlation: float = CORRELATION

    def __post_init__(self) -> None:
        if not (self.time_constant_s >= 0 and 0 <= self.correlation <= 1):
            raise InputError("expected a time constant from 0 s and a correlation of 0 to 1")


@dataclass(frozen=True, slots=True)
class AveragedLogits:
    """``logits_C`` are to be calibrated like those of one frame."""

    logits_C: Doubles
    effective_frames: float


class LogitAverage:
    """The running average of one head. Add frames in the order of their times."""

    def __init__(self, averaging: Averaging) -> None:
        self._averaging = averaging
        self.reset()

    def reset(self) -> None:
        """Forget all frames: another scene begins."""
        self._mean_C: Doubles | None = None
        self._weight = 0.0
        self._squares = 0.0
        self._time_s = -math.inf

    def add(self, logits_C: Doubles, time_s: float) -> AveragedLogits:
        """The average with one more frame; a time before the last one counts as the last one."""
        constant_s = self._averaging.time_constant_s
        elapsed_s = max(0.0, time_s - self._time_s)
        if self._mean_C is None or constant_s <= 0:
            self._mean_C, self._weight, self._squares = logits_C, 1.0, 1.0
        else:
            kept = math.exp(-elapsed_s / constant_s)
            weight = self._weight * kept + 1.0
            self._mean_C = self._mean_C + (logits_C - self._mean_C) / weight
            self._weight, self._squares = weight, self._squares * kept**2 + 1.0
        self._time_s = max(self._time_s, time_s)
        correlation = self._averaging.correlation
        frames = self._weight**2 / self._squares
        effective = 1 / (correlation + (1 - correlation) / frames)
        return AveragedLogits(self._mean_C * effective, effective)
