"""What the header of a JPEG, JPEG-LS or JPEG 2000 stream says, read before it is decoded.

DICOM's own tags are often wrong about these streams; the streams are right about themselves.
"""

import struct
from dataclasses import dataclass

from service.errors import CorruptImage

_SOC = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
# Frame headers (ITU-T T.81 table B.1, T.87 for F7); C4, C8 and CC are other things.
_SOF = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Stream:
    """Attributes:
    family: ``jpeg`` (lossless too), ``jpegls`` or ``jpeg2000``.
    bits: of one sample.
    adobe_transform: of an APP14 marker, None without one.
    is_jfif: whether an APP0 marker says so.
    is_lossless: a JPEG of process 14: its samples are in no colour space that it knows.
    mixes_colours: a JPEG 2000 whose decoder gives RGB, because its encoder mixed the planes.
    """

    family: str
    width_px: int
    height_px: int
    components: int
    bits: int
    adobe_transform: int | None = None
    is_jfif: bool = False
    is_lossless: bool = False
    mixes_colours: bool = False


def read_stream(data: bytes) -> Stream:
    """Raises CorruptImage: no such header, or it is cut off."""
    try:
        if data[:8] == _JP2:
            return _jpeg2000(data, data.index(_SOC))
        if data[:4] == _SOC:
            return _jpeg2000(data, 0)
        return _jpeg(data)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptImage("the header of a compressed frame is cut off") from error


def _jpeg2000(data: bytes, start: int) -> Stream:
    """SIZ follows SOC at once (ISO 15444-1 A.5.1)."""
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (components,) = struct.unpack_from(">H", data, start + 40)
    bits = (data[start + 42] & 0x7F) + 1
    coding = data.index(b"\xff\x52", start + 42)  # COD (A.6.1): its fifth parameter byte
    return Stream(
        "jpeg2000",
        right - left,
        bottom - top,
        components,
        bits,
        mixes_colours=data[coding + 8] == 1,
    )


def _jpeg(data: bytes) -> Stream:
    at = data.index(b"\xff\xd8", 0, 64) + 2
    adobe: int | None = None
    is_jfif = False
    while True:
        if data[at] != 0xFF:
            raise CorruptImage("a compressed frame has no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SOF:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            family = "jpegls" if marker == 0xF7 else "jpeg"
            lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
            return Stream(family, width, height, components, bits, adobe, is_jfif, lossless)
        if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe":
            adobe = data[at + 15]
        is_jfif = is_jfif or (marker == 0xE0 and data[at + 4 : at + 8] == b"JFIF")
        at += 2 + length
