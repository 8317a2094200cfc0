"""Bytes of a still image -> one greyscale frame.

Shape suffixes: H height, W width.
"""

from dataclasses import dataclass

import numpy as np

from service.arrays import Pixels
from service.errors import UnsupportedFormat
from service.imaging.formats.file_type import family_of
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded greyscale frame.

    Attributes:
        pixels_HW: uint8 intensities, 0 = black, upright (EXIF rotation applied).
        format: lower-case name of the file format, such as ``png``.
    """

    pixels_HW: Pixels
    format: str


def decode(data: bytes, *, max_pixels: int) -> Frame:
    """Decode one still image completely; colour becomes luma.

    Args:
        data: the whole file.
        max_pixels: most pixels (width x height) that the file may declare.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge: as ``read``.
    """
    family = family_of(data)
    if family in ("video", "dicom"):
        raise UnsupportedFormat(f"expected a still image, got {family}")
    image = read(data, Sampling(), DecodeLimits(max_pixels=max_pixels))
    if image.info.kind == "cine":
        raise UnsupportedFormat("expected one still frame, got an image of several frames")
    (frame,) = image
    return Frame(np.ascontiguousarray(frame.grey), image.info.format)
