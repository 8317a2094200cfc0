"""Pictures of every kind as files that the service reads.

Neither Pillow nor NumPy is imported: their pictures are used through what they offer.
"""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

PNG_COLOURS = {1: 0, 3: 2}  # channels -> colour type: grey, RGB
COMPRESSION = 3  # of 9: frames leave the machine at once
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


class PillowImage(Protocol):
    """What is used of ``PIL.Image.Image``."""

    @property
    def mode(self) -> str:
        """Kind of the pixels, such as L or RGB."""

    def convert(self, mode: str) -> Any:
        """The picture with pixels of another kind."""

    def save(self, fp: Any, format: str, **params: Any) -> None:
        """Write a file."""


class FrameArray(Protocol):
    """What is used of ``numpy.ndarray``: uint8, (H, W) or (H, W, 3)."""

    @property
    def shape(self) -> Any:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:
        """Kind of the numbers."""

    def tobytes(self) -> bytes:
        """The numbers, row by row."""


Image: TypeAlias = bytes | bytearray | str | os.PathLike[str] | BinaryIO | PillowImage | FrameArray


def image_bytes(image: Image) -> bytes:
    """The file of an image.

    Args:
        image: a path, the bytes of a file, an open binary file, a Pillow image (its current frame),
            or a NumPy frame: uint8, (H, W) or (H, W, 3), 0 = black.

    Raises:
        TypeError: it is none of these.
        ValueError: a frame of another kind or shape.
        OSError: the file cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if hasattr(image, "dtype") and hasattr(image, "tobytes"):
        return _png(cast(FrameArray, image))
    if hasattr(image, "convert") and hasattr(image, "save"):
        return _saved(cast(PillowImage, image))
    if hasattr(image, "read"):
        data = image.read()
        if isinstance(data, bytes):
            return data
    raise TypeError("expected a path, bytes, a binary file, a Pillow image or a NumPy frame")


def _saved(picture: PillowImage) -> bytes:
    if picture.mode not in PNG_MODES:
        if picture.mode in ("F", "I"):
            raise ValueError(f"expected pixels of 8 or 16 bits, found mode {picture.mode}")
        picture = picture.convert("RGB")
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=COMPRESSION)
    return file.getvalue()


def _png(frame: FrameArray) -> bytes:
    """A PNG of a frame. Raises ValueError."""
    shape = tuple(int(length) for length in frame.shape)
    channels = 1 if len(shape) == 2 else shape[2] if len(shape) == 3 else 0
    if str(frame.dtype) != "uint8" or channels not in PNG_COLOURS or 0 in shape:
        found = f"{frame.dtype} of shape {shape}"
        raise ValueError(f"expected a frame of uint8, (H, W) or (H, W, 3), found {found}")
    height, width = shape[:2]
    pixels, row = frame.tobytes(), width * channels
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, height * row, row))
    header = struct.pack(">IIBBBBB", width, height, 8, PNG_COLOURS[channels], 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines, COMPRESSION)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
