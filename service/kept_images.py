"""The pixels that a collection keeps, so that another encoder can look at them one day."""

from service.imaging.decode import decode
from service.imaging.encode import encode_png


def kept_png(data: bytes, *, max_pixels: int) -> bytes:
    """The looked-at pixels of an image file as a lossless PNG: no metadata, no name, no header.

    Embedding the PNG gives what embedding the file gives.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge: as for ``decode``.
    """
    return encode_png(decode(data, max_pixels=max_pixels).pixels_HW)
