"""Which frames of a clip are used: all, N evenly spaced, F per second, or the N most different.

Shape suffixes: T frames, P pixels of a thumbnail.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import InputError
from service.imaging.formats.frames import Pixels

Rule: TypeAlias = Literal["all", "uniform", "fps", "different"]
MAX_COUNT = 10_000
_WRITTEN = re.compile(r"(uniform|different):(\d{1,5})|fps:(\d{1,4}(?:\.\d{1,3})?)")
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
    found = _WRITTEN.fullmatch(text)
    amount = float(found[2] or found[3]) if found else 0.0
    if found is None or not 0 < amount <= MAX_COUNT:
        raise InputError(
            f"expected frames to be all, uniform:N, fps:F or different:N with N of 1 to "
            f"{MAX_COUNT} and F above 0"
        )
    rule: Rule = "fps" if found[1] is None else found[1]  # type: ignore[assignment]
    return Sampling(rule, amount)


def evenly(total: int, count: int) -> frozenset[int]:
    """At most ``count`` places of ``total``, the middles of equal parts."""
    count = min(count, total)
    return frozenset(int((2 * i + 1) * total // (2 * count)) for i in range(count))


def most_different(sketches_TP: npt.NDArray[np.float32], count: int) -> frozenset[int]:
    """Greedy farthest points: from the frame nearest to the mean, each next farthest from all.

    Stops early when every frame left equals a chosen one.
    """
    first = int(np.square(sketches_TP - sketches_TP.mean(0)).sum(1).argmin())
    chosen = [first]
    nearest_T = np.square(sketches_TP - sketches_TP[first]).sum(1)
    while len(chosen) < count and nearest_T.max() > 0:
        chosen.append(int(nearest_T.argmax()))
        nearest_T = np.minimum(nearest_T, np.square(sketches_TP - sketches_TP[chosen[-1]]).sum(1))
    return frozenset(chosen)


def sketch(grey_HW: Pixels) -> npt.NDArray[np.float32]:
    """A small picture of a frame for comparing frames of one clip: float32 (P,)."""
    small = Image.fromarray(grey_HW).resize((_SKETCH_PX, _SKETCH_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


class Chooser:
    """Decides frame by frame, in the order of the file; use one per walk.

    Args:
        places: take exactly these; None = all, or by ``per_s``.
        per_s: take the first frame at or after each 1/F seconds.
    """

    def __init__(self, places: Collection[int] | None = None, per_s: float | None = None) -> None:
        self._places = places
        self._per_s = per_s
        self._next_s = 0.0
        self.last = max(places) if places else None

    def takes(self, index: int, time_s: float | None) -> bool:
        """Whether the frame is used; without a known time every frame is, under ``per_s``."""
        if self._places is not None:
            return index in self._places
        if self._per_s is None or time_s is None:
            return True
        if time_s + 1e-6 < self._next_s:
            return False
        self._next_s = (np.floor(time_s * self._per_s + 1e-6) + 1) / self._per_s
        return True
