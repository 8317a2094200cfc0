"""Operations on pictures that several analyses share.

Shape suffixes: h, w rows and columns, 3 = red, green, blue.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.imaging.analysis.boxes import Box, clipped

Counts: TypeAlias = npt.NDArray[np.int64]
MIN_SIDE_PX = 8
LARGE_SIDE_PX = 1280
_MAX_INT_SUM_PX = 2**31 // 256  # of 8 bits, whose sum has 31


def histogram(greys_hw: Pixels, mask_hw: Pixels | None = None) -> Counts:
    """Counts of the 256 grey levels, int64 (256,), where a mask is not 0."""
    counts = cv2.calcHist([greys_hw], [0], mask_hw, [256], [0, 256])
    return np.asarray(np.rint(counts).astype(np.int64).ravel())


def grey(pixels: Pixels) -> Pixels:
    """(h, w), quickly: for measuring; the encoder gets ``frames.grey_of``."""
    if pixels.ndim == 2:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def grey_if_large(pixels: Pixels) -> Pixels:
    """Grey when the longer side has ``LARGE_SIDE_PX``: three channels take twice as long to shrink.

    The mean of greys and the grey of means differ by rounding where there is colour, so smaller
    frames, whose regions are stored with many scans, keep the old order.
    """
    return grey(pixels) if max(pixels.shape[:2]) >= LARGE_SIDE_PX else pixels


def shrunk(pixels: Pixels, scale: float) -> Pixels:
    """The picture scaled down, with sides of at least 8 px; a scale from 1 on changes nothing."""
    if scale >= 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(MIN_SIDE_PX, round(width * scale)), max(MIN_SIDE_PX, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def small_grey(pixels: Pixels, scale: float) -> Pixels:
    """Grey, scaled down as ``shrunk`` does."""
    if pixels.ndim == 2 and max(pixels.shape) >= LARGE_SIDE_PX and scale < 1:
        return _area_means(pixels, scale)
    return grey(shrunk(pixels, scale))  # converted quicker at a small size


def _area_means(grey_hw: Pixels, scale: float) -> Pixels:
    """As ``shrunk`` in a third of its time, where a side is not divided evenly.

    Sums over the area of a pixel of the result are differences of the running sum of the picture,
    which is linear between its pixels. About one mean in 100,000 is rounded to the other side.
    """
    height, width = grey_hw.shape
    depth = cv2.CV_32S if grey_hw.size < _MAX_INT_SUM_PX else cv2.CV_64F
    sums_hw = cv2.integral(grey_hw, sdepth=depth)
    rows = np.linspace(0, height, max(MIN_SIDE_PX, round(height * scale)) + 1)
    columns = np.linspace(0, width, max(MIN_SIDE_PX, round(width * scale)) + 1)
    top, left = np.minimum(rows.astype(int), height - 1), np.minimum(columns.astype(int), width - 1)
    down, across = (rows - top)[:, None], columns - left
    upper_hw, lower_hw = (
        lines_hw.take(left, 1) * (1 - across) + lines_hw.take(left + 1, 1) * across
        for lines_hw in (sums_hw.take(top, 0), sums_hw.take(top + 1, 0))
    )
    corners_hw = upper_hw * (1 - down) + lower_hw * down
    area = (height / (len(rows) - 1)) * (width / (len(columns) - 1))
    means_hw = np.diff(np.diff(corners_hw, axis=0), axis=1) / area
    return np.asarray(np.rint(means_hw), np.uint8)


def halved(pixels: Pixels, *, from_px: int, at_least: float) -> Pixels:
    """The picture at half its size as often as its longer side is at least ``from_px``.

    Means of 2 x 2 pixels take a tenth of the time of any other factor, so large pictures are halved
    before they are measured at a small size.

    Args:
        at_least: scale of the result, at least.
    """
    scale = 1.0
    while max(pixels.shape[:2]) >= from_px and scale >= 2 * at_least:
        height, width = (side // 2 for side in pixels.shape[:2])
        if min(height, width) < MIN_SIDE_PX:
            break
        even = pixels[: 2 * height, : 2 * width]  # the last line of an odd side is left out
        pixels = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
        scale /= 2
    return pixels


def box_of(mask_hw: Pixels, margin_px: int = 0) -> Box:
    """The box of all pixels above 0, enlarged inside the picture; empty without any."""
    left, top, across, down = cv2.boundingRect(mask_hw)
    if not across:
        return 0, 0, 0, 0
    box = (left - margin_px, top - margin_px, left + across + margin_px, top + down + margin_px)
    return clipped(box, mask_hw.shape[1], mask_hw.shape[0])


def above(values_hw: cv2.typing.MatLike, limit: int) -> Pixels:
    """1 where a value is above the limit, else 0."""
    return np.asarray(cv2.threshold(values_hw, limit, 1, cv2.THRESH_BINARY)[1], np.uint8)


def brightest(frame_hw3: Pixels) -> Pixels:
    """The brightest channel, (h, w)."""
    return _reduced(cv2.max, *_channels(frame_hw3))


def darkest(frame_hw3: Pixels) -> Pixels:
    """The darkest channel, (h, w)."""
    return _reduced(cv2.min, *_channels(frame_hw3))


def chroma(frame_hw3: Pixels) -> Pixels:
    """The brightest channel minus the darkest, (h, w): 0 where there is no colour."""
    return brightest_and_chroma(frame_hw3)[1]


def brightest_and_chroma(frame_hw3: Pixels) -> tuple[Pixels, Pixels]:
    """Both of a frame, whose channels are taken apart once."""
    channels = _channels(frame_hw3)
    max_hw, min_hw = _reduced(cv2.max, *channels), _reduced(cv2.min, *channels)
    return max_hw, np.asarray(cv2.subtract(max_hw, min_hw), np.uint8)


def _channels(frame_hw3: Pixels) -> Sequence[Any]:
    return cv2.split(frame_hw3)  # a part of a frame is read in place


def _reduced(operation: Callable[..., Any], red_hw: Any, green_hw: Any, blue_hw: Any) -> Pixels:
    return np.asarray(operation(operation(red_hw, green_hw), blue_hw), np.uint8)


def quickly_shrunk(pixels: Pixels, side_px: int) -> Pixels:
    """Grey, the longer side at most ``side_px``; single lines may get lost."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale < 1:
        size = (max(MIN_SIDE_PX, round(width * scale)), max(MIN_SIDE_PX, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return grey(pixels)


def morphed(mask_hw: Pixels, operation: int, side_px: int) -> Pixels:
    """Open or close a mask with a disc."""
    odd = side_px | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd, odd))
    return np.asarray(cv2.morphologyEx(mask_hw, operation, disc), np.uint8)


def share_of(mask_hw: Pixels, part_hw: Pixels) -> float:
    """Share of the pixels of a part that are in a mask; both 0 or 1."""
    both = cv2.countNonZero(cv2.bitwise_and(mask_hw, part_hw))
    return both / max(1, cv2.countNonZero(part_hw))
