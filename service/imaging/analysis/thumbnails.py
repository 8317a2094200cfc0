"""Greyscale frames -> small picture files, for thumbnails and samples."""

import io
import zlib

import numpy as np
from PIL import Image

from service.arrays import Pixels


def encode_png(pixels_HW: Pixels) -> bytes:
    """The frame as a PNG file without any metadata."""
    # In filtered speckle only runs repeat: a search for other repeats takes three times as long,
    # and the files are larger.
    return _encoded(Image.fromarray(pixels_HW), "PNG", compress_type=zlib.Z_RLE)


def thumbnail(pixels_HW: Pixels, *, side_px: int) -> bytes:
    """The frame as a JPEG whose longer side is at most ``side_px``."""
    return _encoded(Image.fromarray(downscaled(pixels_HW, side_px)), "JPEG", quality=80)


def downscaled(pixels_HW: Pixels, side_px: int) -> Pixels:
    """The frame with its longer side at most ``side_px``; a smaller frame is returned unchanged."""
    if max(pixels_HW.shape) <= side_px:
        return pixels_HW
    image = Image.fromarray(pixels_HW)
    image.thumbnail((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(image)


def _encoded(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()
