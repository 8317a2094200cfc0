"""Which frames of a clip are used: all, N evenly spaced, F per second, or the N most different.

Shape suffixes: T frames, P pixels of a thumbnail.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from service.arrays import Floats, Pixels
from service.errors import InputError

Rule: TypeAlias = Literal["all", "uniform", "fps", "different"]
MAX_COUNT = 10_000
_PATTERN = re.compile(r"(uniform|different):(\d{1,5})|fps:(\d{1,4}(?:\.\d{1,3})?)")
_SKETCH_PX = 24


@dataclass(frozen=True, slots=True)
class Sampling:
    """``amount`` is the number of frames, or the frames per second of ``fps``."""

    rule: Rule = "all"
    amount: float = 0.0

    def __str__(self) -> str:
        return self.rule if self.rule == "all" else f"{self.rule}:{self.amount:g}"


def parse_sampling(text: str) -> Sampling:
    """Read ``all``, ``uniform:N``, ``fps:F`` or ``different:N``. Raises InputError."""
    if text == "all":
        return Sampling()
    match = _PATTERN.fullmatch(text)
    amount = float(match[2] or match[3]) if match else 0.0
    if match is None or not 0 < amount <= MAX_COUNT:
        raise InputError(
            f"expected frames to be all, uniform:N, fps:F or different:N with N of 1 to "
            f"{MAX_COUNT} and F above 0"
        )
    rule: Rule = "fps" if match[1] is None else match[1]  # type: ignore[assignment]
    return Sampling(rule, amount)


def evenly(total: int, count: int) -> frozenset[int]:
    """At most ``count`` indexes of ``total`` frames, the middles of equal parts."""
    count = min(count, total)
    return frozenset(int((2 * i + 1) * total // (2 * count)) for i in range(count))


def most_different(sketches_TP: Floats, count: int) -> frozenset[int]:
    """Farthest-point sampling, which starts with the frame nearest to the mean.

    It stops early when every remaining frame equals a selected one.
    """
    selected = [int(_distances(sketches_TP, sketches_TP.mean(0)).argmin())]
    nearest_T = _distances(sketches_TP, sketches_TP[selected[0]])
    while len(selected) < count and nearest_T.max() > 0:
        selected.append(int(nearest_T.argmax()))
        nearest_T = np.minimum(nearest_T, _distances(sketches_TP, sketches_TP[selected[-1]]))
    return frozenset(selected)


def _distances(sketches_TP: Floats, sketch_P: Floats) -> Floats:
    return np.asarray(np.square(sketches_TP - sketch_P).sum(1))


def sketch(grey_HW: Pixels) -> Floats:
    """A small picture of a frame for comparing frames of one clip: float32 (P,)."""
    small = Image.fromarray(grey_HW).resize((_SKETCH_PX, _SKETCH_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


class FrameSelector:
    """Selects frames one by one, in the order of the file; for one pass over the file.

    Args:
        indexes: select exactly these frames; None = all, or by ``per_s``.
        per_s: select the first frame at or after each 1/F seconds.
    """

    def __init__(self, indexes: Collection[int] | None = None, per_s: float | None = None) -> None:
        self._indexes = indexes
        self._per_s = per_s
        self._next_s = 0.0
        self.last = max(indexes) if indexes else None

    def takes(self, index: int, time_s: float | None) -> bool:
        """Whether the frame is selected; ``per_s`` selects every frame of unknown time."""
        if self._indexes is not None:
            return index in self._indexes
        if self._per_s is None or time_s is None:
            return True
        if time_s + 1e-6 < self._next_s:
            return False
        self._next_s = (np.floor(time_s * self._per_s + 1e-6) + 1) / self._per_s
        return True
