"""Plain PNG and JPEG files -> pixels, by imagecodecs in about half of Pillow's processor time.

A file is plain when nothing but its coded picture decides on its pixels. Pillow decodes all others
and every file that fails here, and words their errors. Both give the same pixels.

Shape suffixes: H height, W width, 3 = red, green, blue.
"""

import struct
from collections.abc import Iterator

import imagecodecs
import numpy as np
from PIL import ImageFile

from service.arrays import Pixels

_CHUNK = struct.Struct(">I4s")
# Neither transparency, animation nor Exif. Pillow finds an orientation in iTXt and zTXt too,
# and in a tEXt whose name begins as below.
_PLAIN_CHUNKS = frozenset(
    (b"IDAT", b"IEND", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"tIME", b"tEXt")
)
_RAW_PROFILE = b"Raw profile"
_IHDR_END = 33
_PLAIN_COLOURS = (0, 2)  # grey, and red, green and blue (PNG 3rd edition, 11.2.1)
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


def plain_pixels(image: ImageFile.ImageFile, data: bytes) -> Pixels | None:
    """uint8 (H, W) or (H, W, 3) as stored, without rotation; None where Pillow has to decode.

    Args:
        image: of which Pillow has read the header.
        data: the file.
    """
    is_plain_jpeg = image.format == "JPEG" and image.mode in ("L", "RGB") and _is_plain_jpeg(data)
    if not is_plain_jpeg and not is_plain_png(data):
        return None
    decode = imagecodecs.jpeg8_decode if is_plain_jpeg else imagecodecs.png_decode
    try:
        pixels = np.asarray(decode(data))
    except Exception:  # of many types; Pillow tries again and raises its own
        return None
    shape = (image.height, image.width) if image.mode == "L" else (image.height, image.width, 3)
    return pixels if pixels.dtype == np.uint8 and pixels.shape == shape else None


def is_plain_png(data: bytes) -> bool:
    """Whether the file is a PNG of 8 bits in grey or colour, upright and without transparency."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < _IHDR_END:
        return False
    depth, colours, interlaced = data[24], data[25], data[28]
    if depth != 8 or colours not in _PLAIN_COLOURS or interlaced:
        return False
    return all(
        kind in _PLAIN_CHUNKS and not (kind == b"tEXt" and data.startswith(_RAW_PROFILE, at))
        for kind, at in _chunks(data)
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and place of the content of every chunk after IHDR, up to the end of the picture."""
    at, kind = _IHDR_END, b""
    while kind != b"IEND" and at + _CHUNK.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, at)
        yield kind, at + _CHUNK.size
        at += 12 + length


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether the file has one scan, and its end.

    imagecodecs fills up what is missing of a truncated file with grey, and Pillow refuses it.
    """
    at = data.find(_SCAN)  # near the start, so its end is searched for only once
    return at >= 0 and data.find(_SCAN, at + 2) < 0 and data.rfind(_END) > at
