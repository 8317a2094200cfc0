"""The pixels that a collection keeps, so that another encoder can look at them one day."""

from service.errors import UnsupportedFormat
from service.imaging.decode import decode
from service.imaging.encode import encode_png


def kept_png(data: bytes, *, max_pixels: int) -> bytes | None:
    """The looked-at pixels of a still as a lossless PNG: no metadata, no name, no header.

    Embedding the PNG gives what embedding the file gives. None for what is no still: one frame
    would not stand for a clip.

    Raises:
        CorruptImage, ImageTooLarge: as for ``decode``.
    """
    try:
        pixels_HW = decode(data, max_pixels=max_pixels).pixels_HW
    except UnsupportedFormat:
        return None
    return encode_png(pixels_HW)
