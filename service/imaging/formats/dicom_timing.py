"""When the frames of a DICOM clip follow each other, by the tags of its header.

Clips are cut after machines wrote them, and tags contradict each other. A time that does not fit
the frames, and a rate that is impossible or contradicted, become corrections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from service.imaging.formats.dicom_tags import number
from service.imaging.formats.frames import Correction

Vector: TypeAlias = npt.NDArray[np.float64]
RateTag: TypeAlias = Literal["FrameTime", "CineRate", "RecommendedDisplayFrameRate"]

RATES_HZ = (0.1, 1000.0)  # values outside are not frame rates
FRAME_TIME, FRAME_TIME_VECTOR = 0x00181063, 0x00181065


@dataclass(frozen=True, slots=True)
class Timing:
    """When the frames of a clip follow each other.

    Attributes:
        rate_hz: frames per second, None when unknown.
        times_s: of each frame since the first; None when only the rate tells.
    """

    rate_hz: float | None = None
    times_s: tuple[float, ...] | None = None
    corrections: tuple[Correction, ...] = ()

    def time_of(self, index: int) -> float | None:
        """Seconds since the first frame; None when unknown."""
        if self.times_s is not None:
            return self.times_s[index] if index < len(self.times_s) else None
        return index / self.rate_hz if self.rate_hz else None


def timing(dataset: Dataset, frames: int) -> Timing:
    """Timing of a clip of ``frames`` frames, from the Cine module (PS3.3 C.7.6.5).

    FrameTimeVector, FrameTime, CineRate and RecommendedDisplayFrameRate count in this order, but
    FrameIncrementPointer may put FrameTime first.
    """
    if frames < 2:
        return Timing()
    frame_time_hz, cine_hz = _rate_hz(dataset, "FrameTime"), _rate_hz(dataset, "CineRate")
    times_s, corrections = _frame_times(dataset, frames, frame_time_hz or cine_hz)
    times_hz = None if times_s is None else (frames - 1) / times_s[-1]
    if _differ(times_hz, frame_time_hz) and _points_at_frame_time(dataset):
        times_s, times_hz, corrections = None, None, (_wrong_times(dataset, None),)
    shown_hz = _rate_hz(dataset, "RecommendedDisplayFrameRate")
    known_hz = (times_hz, frame_time_hz, cine_hz, shown_hz, _median_rate_hz(dataset))
    rate_hz = next((rate for rate in known_hz if rate is not None), None)
    wrong = _wrong_rate(dataset, rate_hz)
    return Timing(rate_hz, times_s, corrections if wrong is None else (*corrections, wrong))


def _declared_hz(dataset: Dataset, name: RateTag) -> float | None:
    """A rate, or FrameTime, which is in milliseconds, as a rate; None unless above 0."""
    value = number(dataset, name)
    if value is None or value <= 0:
        return None
    return 1000 / value if name == "FrameTime" else value


def _rate_hz(dataset: Dataset, name: RateTag) -> float | None:
    declared_hz = _declared_hz(dataset, name)
    return declared_hz if declared_hz is not None and _is_rate(declared_hz) else None


def _is_rate(rate_hz: float) -> bool:
    return RATES_HZ[0] <= rate_hz <= RATES_HZ[1]


def _differ(rate_hz: float | None, other_hz: float | None) -> bool:
    """Whether two rates contradict each other; CineRate is a whole number."""
    if rate_hz is None or other_hz is None:
        return False
    return abs(rate_hz - other_hz) > max(1.0, 0.1 * max(rate_hz, other_hz))


def _wrong_rate(dataset: Dataset, used_hz: float | None) -> Correction | None:
    """The first rate of the file that is impossible or not the one used.

    A CineRate of 0 is a way of leaving it out. A display rate may differ from the recorded one.
    """
    tags: tuple[RateTag, ...] = ("FrameTime", "CineRate")
    for name in tags:
        value, rate_hz = number(dataset, name), _rate_hz(dataset, name)
        is_given = value is not None and (value != 0 or name == "FrameTime")
        if is_given and (rate_hz is None or _differ(rate_hz, used_hz)):
            return Correction("frame_rate", _declared_hz(dataset, name), used_hz)
    return None


def _points_at_frame_time(dataset: Dataset) -> bool:
    pointer = dataset.get("FrameIncrementPointer")
    tags = pointer if isinstance(pointer, Sequence) else [pointer]
    return FRAME_TIME in tags and FRAME_TIME_VECTOR not in tags


def _frame_times(
    dataset: Dataset, frames: int, rate_hz: float | None
) -> tuple[tuple[float, ...] | None, tuple[Correction, ...]]:
    """Seconds since the first frame, from FrameTimeVector (C.7.6.5.1.2), and its faults.

    The vector holds a step in milliseconds for each frame. The first one must be zero and is not
    always, so it is not read. Some writers leave it out, and some write times instead of steps.
    """
    if "FrameTimeVector" not in dataset:
        return None, ()
    vector_ms = _vector_ms(dataset)
    steps_ms, is_exact = vector_ms[1:frames], len(vector_ms) == frames
    if len(vector_ms) >= 4 and _are_times(vector_ms, rate_hz):
        steps_ms, is_exact = np.diff(vector_ms)[: frames - 1], False
    elif len(vector_ms) == frames - 1 and vector_ms[0] > 0:
        steps_ms = vector_ms
    is_whole = len(steps_ms) == frames - 1 and bool((steps_ms >= 0).all())
    total_s = float(steps_ms.sum()) / 1000
    if not is_whole or total_s <= 0 or not _is_rate((frames - 1) / total_s):
        return None, (_wrong_times(dataset, None),)
    times_s = (0.0, *(float(time_s) for time_s in np.cumsum(steps_ms) / 1000))
    return times_s, () if is_exact else (_wrong_times(dataset, frames),)


def _vector_ms(dataset: Dataset) -> Vector:
    """FrameTimeVector; empty when it holds anything but finite numbers."""
    value = dataset.get("FrameTimeVector")
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        vector_ms = np.array([float(step) for step in items])
    except (TypeError, ValueError):
        return np.zeros(0)
    return vector_ms if np.isfinite(vector_ms).all() else np.zeros(0)


def _are_times(vector_ms: Vector, rate_hz: float | None) -> bool:
    """Whether the vector holds times since the first frame: it grows evenly, as steps do not."""
    growth_ms = np.diff(vector_ms)
    if (growth_ms <= 0).any() or growth_ms.max() > 3 * np.median(growth_ms):
        return False
    # Steps that fit the declared rate only happen to grow.
    return rate_hz is None or _differ(1000 / float(np.median(vector_ms)), rate_hz)


def _median_rate_hz(dataset: Dataset) -> float | None:
    """The usual rate of a FrameTimeVector that does not fit the clip."""
    vector_ms = _vector_ms(dataset)
    steps_ms = vector_ms[vector_ms > 0]
    if not len(steps_ms):
        return None
    rate_hz = 1000 / float(np.median(steps_ms))
    return rate_hz if _is_rate(rate_hz) else None


def _wrong_times(dataset: Dataset, used: int | None) -> Correction:
    return Correction("frame_times", len(_vector_ms(dataset)), used)
