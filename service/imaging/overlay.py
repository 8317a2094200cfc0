"""A heat map laid over its frame, as a PNG for people to look at.

Shape suffixes: H W frame as it came, P Q the same scaled down, h w places of the map.
"""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float32]
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
    frame = Image.fromarray(pixels_PQ)
    heat_PQ = _enlarged(heat_hw, frame.size)
    greatest = float(np.abs(heat_PQ).max()) or 1.0
    opacity_PQ = (255 * STRONGEST / greatest * np.abs(heat_PQ)).astype(np.uint8)
    mixed = frame.convert("RGB")
    for colour, chosen_PQ in ((FOR_RGB, heat_PQ > 0), (AGAINST_RGB, heat_PQ < 0)):
        mixed.paste(colour, mask=Image.fromarray(opacity_PQ * chosen_PQ))
    # OpenCV's own defaults are the quick ones: half of Pillow's time, a fifth more bytes.
    packed = cv2.imencode(".png", np.asarray(mixed)[:, :, ::-1])[1]
    return packed.tobytes()


def _enlarged(heat_hw: npt.NDArray[np.floating], size: tuple[int, int]) -> Floats:
    """Bilinear between the centres of places; ``size`` is (width, height)."""
    image = Image.fromarray(heat_hw.astype(np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
