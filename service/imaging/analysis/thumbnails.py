"""Greyscale frames -> small picture files, for thumbnails and samples."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def encode_png(pixels_HW: npt.NDArray[np.uint8]) -> bytes:
    """Return the uint8 frame (H, W) as a PNG file without any metadata."""
    return _save(Image.fromarray(pixels_HW), "PNG")


def thumbnail(pixels_HW: npt.NDArray[np.uint8], *, side_px: int) -> bytes:
    """Return the uint8 frame (H, W) as a JPEG whose longer side is at most ``side_px``."""
    image = Image.fromarray(pixels_HW)
    image.thumbnail((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _save(image, "JPEG", quality=80)


def _save(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()
