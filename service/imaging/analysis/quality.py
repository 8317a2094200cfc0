"""Findings on the quality of a frame, from its pixels alone.

They are advice: each finding gives its measure and the limit that was passed. The error rates are
in ``docs/measurements/frame-analysis.md``.

Shape suffixes: T frames, h height, w width of the used region, 3 = red, green, blue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt
import scipy.fft

from service.arrays import Pixels
from service.errors import InputError
from service.imaging.analysis.pixels import Counts, above, chroma, grey, halved, histogram, shrunk

Reason: TypeAlias = Literal[
    "blank", "frozen", "saturated", "tiny", "colour_doppler", "photo_of_a_screen", "not_ultrasound"
]
REASONS: tuple[Reason, ...] = get_args(Reason)

TINY_SIDE_PX = 48  # the shorter side; the encoder gets smaller frames enlarged fourfold and more
BLANK_SPREAD = 6.0  # between the 5th and the 99th percentile of greys
MUCH_SPREAD = 60.0  # of single pixels; such a frame is not blank
SATURATED_SHARE = 0.25  # of pixels at 250 and above
DOPPLER_SHARE = 0.004  # of pixels in strongly coloured patches
STRONG_CHROMA, WEAK_CHROMA = 80, 40  # brightest minus darkest channel
COLOURED_SHARE = 0.5
ONE_HUE = 0.93  # length of the mean hue vector of a tint, as many machines add
PAGE_SHARE, PAGE_GREY = 0.35, 190
BRIGHT_DARKEST = 85  # 5th percentile; tissue contains black
MOIRE_PEAK = 1.85  # natural logarithm over the spectrum around
FROZEN_CHANGE = 0.35  # mean absolute grey levels between two frames
FROZEN_SHARE = 0.9
_SIDE_PX, _SPECTRUM_PX, _SAMPLED_PX = 192, 256, 64


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One reason, the measured value, and the limit that it passed."""

    reason: Reason
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class FrameMeasures:
    """What is cheap to measure of every frame of a clip.

    Attributes:
        spread: of greys, between the 5th and the 99th percentile.
        full: share of pixels at 250 and above.
        flow: share of pixels in strongly coloured patches.
    """

    spread: float
    full: float
    flow: float


def measure(used: Pixels) -> FrameMeasures:
    """Measure the used region of one frame, uint8 (h, w) or (h, w, 3)."""
    small = _small(used)
    counts = histogram(grey(small))
    full = float(counts[250:].sum()) / int(counts.sum())
    return FrameMeasures(_spread(counts), full, _flow_share(small) if small.ndim == 3 else 0.0)


def is_blank(used: Pixels) -> bool:
    """Whether there is nothing to see: an empty frame, or one that is masked as a whole."""
    # Means of areas spread less than single pixels, but noise alone never makes up for so much.
    step = max(1, min(used.shape[:2]) // _SAMPLED_PX)
    if _spread(histogram(grey(np.ascontiguousarray(used[::step, ::step])))) >= MUCH_SPREAD:
        return False
    return _spread(histogram(grey(_small(used)))) < BLANK_SPREAD


def _small(used: Pixels) -> Pixels:
    """The region at the size at which most is measured."""
    halves = halved(used, from_px=2 * _SIDE_PX, at_least=_SIDE_PX / max(used.shape[:2]))
    return shrunk(halves, _SIDE_PX / max(halves.shape[:2]))


def _spread(counts: Counts) -> float:
    """Of greys, between the 5th and the 99th percentile."""
    return percentile(counts, 99) - percentile(counts, 5)


def assess_quality(used: Pixels) -> tuple[QualityFinding, ...]:
    """Findings on one frame, in the order of ``REASONS``.

    Args:
        used: uint8 (h, w) or (h, w, 3), the box of the used region before any masking.
    """
    findings: list[QualityFinding] = []
    small = _small(used)
    small_hw = grey(small)
    counts = histogram(small_hw)
    darkest, brightest = percentile(counts, 5), percentile(counts, 99)
    if brightest - darkest < BLANK_SPREAD:
        # An empty frame has no other findings.
        blank = QualityFinding("blank", round(brightest - darkest, 2), BLANK_SPREAD)
        return (blank, *_tiny(used))
    full = float(counts[250:].sum()) / small_hw.size
    if full > SATURATED_SHARE:
        findings.append(QualityFinding("saturated", round(full, 3), SATURATED_SHARE))
    findings += _tiny(used)
    foreign = _foreign(small, counts, darkest)
    if foreign is None and small.ndim == 3:
        flow = _flow_share(small)
        if flow > DOPPLER_SHARE:
            findings.append(QualityFinding("colour_doppler", round(flow, 4), DOPPLER_SHARE))
    peak = moire(used)
    if peak > MOIRE_PEAK:
        findings.append(QualityFinding("photo_of_a_screen", round(peak, 2), MOIRE_PEAK))
    if foreign is not None:
        findings.append(foreign)
    return tuple(findings)


def frozen(frames_THW: Pixels) -> QualityFinding | None:
    """Whether a clip repeats one still: its frames differ by less than noise does.

    Args:
        frames_THW: uint8 greys of the used region, in order, two or more.

    Raises:
        InputError: the frames are not uint8 of three axes, or fewer than two.
    """
    if frames_THW.dtype != np.uint8 or frames_THW.ndim != 3 or len(frames_THW) < 2:
        raise InputError(f"expected at least two uint8 frames, got shape {frames_THW.shape}")
    return still([step_between(a, b) for a, b in pairwise(frames_THW)])


def step_between(one_hw: Pixels, other_hw: Pixels) -> float:
    """Mean absolute difference of two frames, in grey levels."""
    return float(cv2.absdiff(one_hw, other_hw).mean())


def still(steps: Sequence[float]) -> QualityFinding | None:
    """``frozen`` when nearly all steps between the frames of a clip are smaller than noise."""
    share = float(np.mean(np.array(steps) < FROZEN_CHANGE)) if steps else 0.0
    return (
        QualityFinding("frozen", round(share, 3), FROZEN_SHARE) if share >= FROZEN_SHARE else None
    )


def moire(used: Pixels) -> float:
    """Height of the sharpest peak off the axes of the spectrum: a photo of a screen has a lattice.

    Only the middle of the region is measured.
    """
    side = min(_SPECTRUM_PX, *used.shape[:2])
    if side < 96:
        return 0.0
    top, left = (used.shape[0] - side) // 2, (used.shape[1] - side) // 2
    middle = grey(used[top : top + side, left : left + side]).astype(np.float32)
    window, allowed = _spectrum_plane(side)
    plane = (middle - middle.mean()) * window[:, None] * window[None, :]
    spectrum = scipy.fft.fftshift(scipy.fft.rfft2(plane), axes=0)
    power = np.abs(spectrum) + np.float32(1)
    # The logarithm is monotonic, so it may be taken after the median.
    excess = power / cv2.medianBlur(power, 5)
    return math.log(cv2.minMaxLoc(excess, allowed)[1])


@lru_cache(maxsize=_SPECTRUM_PX)
def _spectrum_plane(side: int) -> tuple[npt.NDArray[np.float32], Pixels]:
    """Window over a side, and 1 where in the half spectrum (rows centred) a lattice may show."""
    across = side // 2 + 1
    rows = np.abs(np.arange(side) - side // 2)[:, None]
    columns = np.arange(across)[None, :]
    radius = np.hypot(rows, columns)
    # Rulers, scan lines and compression lie on the axes; tissue lies in the middle.
    allowed = (rows > 4) & (columns > 4) & (radius > 0.12 * side) & (columns < across - 2)
    return np.hanning(side).astype(np.float32), allowed.astype(np.uint8)


def _tiny(used: Pixels) -> list[QualityFinding]:
    side = min(used.shape[:2])
    return [QualityFinding("tiny", side, TINY_SIDE_PX)] if side < TINY_SIDE_PX else []


def percentile(counts: Counts, percent: float) -> float:
    """As ``np.percentile``, between the two nearest greys, from counts of greys."""
    upto = counts.cumsum()
    place = percent / 100 * (int(upto[-1]) - 1)
    below, above = np.searchsorted(upto, (math.floor(place), math.ceil(place)), side="right")
    return float(below + (above - below) * (place - math.floor(place)))


def _foreign(small: Pixels, counts: Counts, darkest: float) -> QualityFinding | None:
    """A page, a colourful picture, or a bright picture without any black."""
    near = np.convolve(counts, np.ones(7, np.int64), mode="same")[PAGE_GREY:]
    page = float(near.max()) / int(counts.sum())
    # Saturated echoes are as white as paper, but never cover a third of a scan.
    if page > PAGE_SHARE:
        return QualityFinding("not_ultrasound", round(page, 3), PAGE_SHARE)
    if small.ndim == 3:
        coloured, one_hue = _colours(small)
        if coloured > COLOURED_SHARE and one_hue < ONE_HUE:
            return QualityFinding("not_ultrasound", round(coloured, 3), COLOURED_SHARE)
    if darkest > BRIGHT_DARKEST:
        return QualityFinding("not_ultrasound", round(darkest, 1), BRIGHT_DARKEST)
    return None


def _colours(small_hw3: Pixels) -> tuple[float, float]:
    """Share of coloured pixels, and how much they agree in hue (0..1)."""
    chroma_hw = chroma(small_hw3)
    coloured = chroma_hw > WEAK_CHROMA
    if not coloured.any():
        return 0.0, 1.0
    hue_hw = cv2.cvtColor(small_hw3, cv2.COLOR_RGB2HSV)[..., 0]  # 0..179
    angles = hue_hw[coloured].astype(np.float32) * (2 * np.pi / 180)
    return float(coloured.mean()), float(np.hypot(np.cos(angles).mean(), np.sin(angles).mean()))


def _flow_share(small_hw3: Pixels) -> float:
    """Share of pixels in patches of strong colour; coloured lines and letters are opened away."""
    strong_hw = above(chroma(small_hw3), STRONG_CHROMA)
    return float(cv2.morphologyEx(strong_hw, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).mean())
