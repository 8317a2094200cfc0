"""A heat map as a transparent PNG that fits over its frame.

Shape suffixes: H W picture, P Q region in it, h w places of the map.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging.analysis.boxes import Box, clipped, crop, shifted

FOR_RGB, AGAINST_RGB = (255, 96, 0), (0, 128, 255)  # distinguishable for colour-blind readers
MAX_OPACITY = 0.55  # at the extreme of the map: the tissue below stays visible
LEVELS = 24  # of opacity on either side; steps that nobody sees make the file a fifth of the size
MAX_SIDE_PX = 4096  # a longer frame gets a picture of the same proportions
_FAST = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def overlay(heat_hw: npt.NDArray[np.floating], box: Box, frame_px: tuple[int, int]) -> bytes:
    """A PNG of red, green, blue and opacity: orange where the map is above 0, blue where below.

    Args:
        heat_hw: values at places that tile the box; the opacity is relative to the greatest
            magnitude.
        box: x0, y0, x1, y1 in pixels of the frame, outside of which all is clear; it may reach
            beyond the frame.
        frame_px: width and height.

    Raises:
        InputError: the map is empty or not finite, or has not two axes.
    """
    if heat_hw.ndim != 2 or not heat_hw.size or not np.isfinite(heat_hw).all():
        raise InputError(f"expected a finite map of two axes, got shape {heat_hw.shape}")
    scale = min(1.0, MAX_SIDE_PX / max(frame_px))
    width, height = (math.ceil(side * scale) for side in frame_px)
    x0, y0 = (math.floor(corner * scale) for corner in box[:2])
    x1, y1 = (math.ceil(corner * scale) for corner in box[2:])
    picture_HW4 = np.zeros((height, width, 4), np.uint8)
    # Bilinear between the centres of places.
    heat_PQ = cv2.resize(heat_hw.astype(np.float32), (x1 - x0, y1 - y0))
    shown = clipped((x0, y0, x1, y1), width, height)
    heat_PQ = crop(heat_PQ, shifted(shown, -x0, -y0))
    region_PQ4 = crop(picture_HW4, shown)
    levels_PQ = np.rint(heat_PQ * (LEVELS / (float(np.abs(heat_PQ).max()) or 1.0))).astype(np.int8)
    region_PQ4[...] = _colours()[levels_PQ]  # a negative level counts from the end
    return cv2.imencode(".png", picture_HW4, _FAST)[1].tobytes()


def _colours() -> npt.NDArray[np.uint8]:
    """(2 * LEVELS + 1, 4) of levels 0, 1, ..., LEVELS, -LEVELS, ..., -1, as OpenCV's BGRA."""
    levels = [*range(LEVELS + 1), *range(-LEVELS, 0)]
    colours_L4 = np.zeros((len(levels), 4), np.uint8)
    for row, level in enumerate(levels):
        rgb = FOR_RGB if level > 0 else AGAINST_RGB
        if level:
            opacity = round(255 * MAX_OPACITY * abs(level) / LEVELS)
            colours_L4[row] = (*reversed(rgb), opacity)
    return colours_L4
