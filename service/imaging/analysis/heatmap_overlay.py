"""A heat map laid over its frame, as a PNG for people to look at.

Shape suffixes: H W frame as it came, P Q the same scaled down, h w places of the map.
"""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import InputError

Pixels: TypeAlias = npt.NDArray[np.uint8]

FOR_RGB, AGAINST_RGB = (255, 96, 0), (0, 128, 255)  # told apart by colour-blind readers too
STRONGEST = 0.55  # opacity at the map's extreme: the tissue below stays visible


def shrunk(pixels_HW: Pixels, side_px: int) -> Pixels:
    """The frame with its longer side at most ``side_px``; smaller ones as they are."""
    if max(pixels_HW.shape) <= side_px:
        return pixels_HW
    image = Image.fromarray(pixels_HW)
    image.thumbnail((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(image)


def overlay(pixels_PQ: Pixels, heat_hw: npt.NDArray[np.floating]) -> bytes:
    """A PNG: orange where the map is above 0, blue where it is below, clear at 0.

    Args:
        pixels_PQ: the frame, uint8.
        heat_hw: values at places that tile the whole frame; opacity is relative to the greatest
            magnitude.

    Raises:
        InputError: a map that is empty, not two axes or not finite.
    """
    if heat_hw.ndim != 2 or not heat_hw.size or not np.isfinite(heat_hw).all():
        raise InputError(f"expected a finite map of two axes, got shape {heat_hw.shape}")
    height, width = pixels_PQ.shape
    # Bilinear between the centres of places.
    heat_PQ = cv2.resize(heat_hw.astype(np.float32), (width, height))
    opacity_PQ = STRONGEST / (float(np.abs(heat_PQ).max()) or 1.0) * heat_PQ
    for_PQ, against_PQ = np.maximum(opacity_PQ, 0), np.maximum(-opacity_PQ, 0)
    kept_PQ = (1 - for_PQ - against_PQ) * pixels_PQ + np.float32(0.5)  # rounded, not cut
    mixed_PQ3 = np.empty((height, width, 3), np.uint8)
    for channel, (one, other) in enumerate(zip(FOR_RGB, AGAINST_RGB, strict=True)):
        mixed_PQ3[:, :, 2 - channel] = kept_PQ + one * for_PQ + other * against_PQ  # OpenCV: BGR
    # OpenCV's own defaults are the quick ones: less than half of Pillow's time, a fifth more bytes.
    return cv2.imencode(".png", mixed_PQ3)[1].tobytes()
