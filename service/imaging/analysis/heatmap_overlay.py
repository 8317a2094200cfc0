"""A heat map as a transparent PNG that fits over its frame.

Shape suffixes: H W picture, P Q region in it, h w places of the map.
"""

import math
from functools import cache

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.imaging.analysis.boxes import Box, clipped, crop, shifted

FOR_RGB, AGAINST_RGB = (255, 96, 0), (0, 128, 255)  # distinguishable for colour-blind readers
MAX_OPACITY = 0.55  # at the extreme of the map: the tissue below stays visible
LEVELS = 24  # of opacity on either side; steps that nobody sees make the file a fifth of the size
MAX_SIDE_PX = 4096  # a longer frame gets a picture of the same proportions
_PNG = imagecodecs.PNG


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
    picture_HW = np.zeros((height, width), np.uint32)
    # Bilinear between the centres of places.
    heat_PQ = cv2.resize(heat_hw.astype(np.float32), (x1 - x0, y1 - y0))
    shown = clipped((x0, y0, x1, y1), width, height)
    heat_PQ = crop(heat_PQ, shifted(shown, -x0, -y0))
    levels_PQ = np.rint(heat_PQ * (LEVELS / (float(np.abs(heat_PQ).max()) or 1.0))).astype(np.int8)
    crop(picture_HW, shown)[...] = _colours()[levels_PQ.view(np.uint8)]
    return _encoded(picture_HW.view(np.uint8).reshape(height, width, 4))


def _encoded(picture_HW4: npt.NDArray[np.uint8]) -> bytes:
    """As PNG. Most rows are like the row above; to try every filter takes three times as long."""
    return bytes(
        imagecodecs.png_encode(
            picture_HW4, level=1, strategy=_PNG.STRATEGY.RLE, filter=_PNG.FILTER.UP
        )
    )


@cache
def _colours() -> npt.NDArray[np.uint32]:
    """(256,) of the levels 0, 1, ..., -1 in two's complement: red, green, blue and opacity."""
    colours_L4 = np.zeros((256, 4), np.uint8)
    for level in range(1, LEVELS + 1):
        opacity = round(255 * MAX_OPACITY * level / LEVELS)
        colours_L4[level], colours_L4[-level] = (*FOR_RGB, opacity), (*AGAINST_RGB, opacity)
    colours_L = colours_L4.view(np.uint32).ravel()
    colours_L.flags.writeable = False  # the cache hands the same array to everybody
    return colours_L
