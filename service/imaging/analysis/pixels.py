"""Grey levels of a picture: their histogram, and the differences between channels.

Shape suffixes: h, w rows and columns, 3 = red, green, blue.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels

Counts: TypeAlias = npt.NDArray[np.int64]


def histogram(greys_hw: Pixels, mask_hw: Pixels | None = None) -> Counts:
    """Counts of the 256 grey levels, int64 (256,), where a mask is not 0."""
    shares = cv2.calcHist([greys_hw], [0], mask_hw, [256], [0, 256])
    counts: Counts = np.rint(shares).astype(np.int64).ravel()
    return counts


def brightest(frame_hw3: Pixels) -> Pixels:
    """The brightest channel, (h, w)."""
    return _each_pixel(cv2.max, *_channels(frame_hw3))


def darkest(frame_hw3: Pixels) -> Pixels:
    """The darkest channel, (h, w)."""
    return _each_pixel(cv2.min, *_channels(frame_hw3))


def chroma(frame_hw3: Pixels) -> Pixels:
    """The brightest channel less the darkest, (h, w): 0 where there is no colour."""
    channels = _channels(frame_hw3)
    most_hw, least_hw = _each_pixel(cv2.max, *channels), _each_pixel(cv2.min, *channels)
    return np.asarray(cv2.subtract(most_hw, least_hw), np.uint8)


def _channels(frame_hw3: Pixels) -> Sequence[Any]:
    return cv2.split(np.ascontiguousarray(frame_hw3))


def _each_pixel(chosen: Callable[..., Any], red_hw: Any, green_hw: Any, blue_hw: Any) -> Pixels:
    return np.asarray(chosen(chosen(red_hw, green_hw), blue_hw), np.uint8)
