"""The binary messages of a live stream: a header of 20 bytes, and a picture.

    byte 0      1: this version of the header
    byte 1      0 = a JPEG or PNG file, 1 = grey8, 2 = rgb24
    bytes 2-5   width and height of raw pixels, two bytes each; 0 for a file
    bytes 6-7   0
    bytes 8-11  sequence number, above that of every earlier frame
    bytes 12-19 when the frame was taken, in milliseconds of the client's clock, a 64-bit float

Numbers are in network byte order. Raw pixels are rows from the top, without padding.
"""

import math
import struct
from dataclasses import dataclass

from service.embedding.live_frames import CHANNELS, PixelFormat, RawPicture
from service.errors import InputError

HEADER = struct.Struct(">BBHHHId")
HEADER_BYTES = HEADER.size
HEADER_VERSION = 1
FILE = 0
PIXEL_FORMATS: dict[int, PixelFormat] = {1: "grey8", 2: "rgb24"}


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """One frame as it arrived.

    Attributes:
        client_time_ms: by the clock of the client.
        received_s: by the clock of the event loop.
    """

    sequence: int
    client_time_ms: float
    picture: bytes | RawPicture
    received_s: float


def parse_frame(message: bytes, received_s: float) -> FrameMessage:
    """Read the header of a binary message; pixels are not looked at.

    Raises:
        InputError: it is no frame, or the header contradicts the size.
    """
    if len(message) <= HEADER_BYTES:
        raise InputError(f"expected a frame behind {HEADER_BYTES} bytes, got {len(message)} bytes")
    version, kind, width, height, zero, sequence, time_ms = HEADER.unpack_from(message)
    if version != HEADER_VERSION or zero != 0:
        raise InputError(f"expected a header of version {HEADER_VERSION}")
    if not math.isfinite(time_ms):
        raise InputError("expected a finite time of the frame")
    data = message[HEADER_BYTES:]
    if kind == FILE:
        if width or height:
            raise InputError("expected width and height 0 for a JPEG or PNG file")
        return FrameMessage(sequence, time_ms, data, received_s)
    pixel_format = PIXEL_FORMATS.get(kind)
    if pixel_format is None:
        raise InputError(f"expected the kind of a frame to be 0 to {max(PIXEL_FORMATS)}")
    expected = width * height * CHANNELS[pixel_format]
    if len(data) != expected:
        raise InputError(
            f"expected {expected} bytes of {width} x {height} {pixel_format}, got {len(data)}"
        )
    return FrameMessage(
        sequence, time_ms, RawPicture(pixel_format, width, height, data), received_s
    )
