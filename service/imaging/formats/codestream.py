"""The header of a JPEG, JPEG-LS or JPEG 2000 codestream, read before the pixels are decoded.

The DICOM tags around a codestream are often wrong about it, so its own header counts.
"""

import struct
from dataclasses import dataclass

from service.errors import CorruptImage

_SOC = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
# Frame headers (ITU-T T.81 table B.1, T.87 for F7); C4, C8 and CC mark other segments.
_SOF = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """The fields of the header that decoding depends on.

    Attributes:
        family: ``jpeg`` (lossless too), ``jpegls`` or ``jpeg2000``.
        bits: of one sample.
        adobe_transform: of an APP14 marker, None without one.
        is_jfif: whether there is an APP0 marker of JFIF.
        is_lossless: a JPEG of process 14, which declares no colour space.
        mixes_colours: a JPEG 2000 with a colour transform, which its decoder turns back to RGB.
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


def read_header(data: bytes) -> CodestreamHeader:
    """Raises CorruptImage: there is no such header, or it is cut off."""
    try:
        if data[:8] == _JP2:
            return _jpeg2000(data, data.index(_SOC))
        if data[:4] == _SOC:
            return _jpeg2000(data, 0)
        return _jpeg(data)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptImage("the header of a compressed frame is cut off") from error


def _jpeg2000(data: bytes, start: int) -> CodestreamHeader:
    """SIZ follows SOC at once (ISO 15444-1 A.5.1)."""
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    bits = (depth & 0x7F) + 1
    coding = data.index(b"\xff\x52", start + 42)  # COD (A.6.1): its fifth parameter byte
    mixes = data[coding + 8] == 1
    width, height = right - left, bottom - top
    return CodestreamHeader("jpeg2000", width, height, components, bits, mixes_colours=mixes)


def _jpeg(data: bytes) -> CodestreamHeader:
    at = data.index(b"\xff\xd8", 0, 64) + 2
    adobe: int | None = None
    is_jfif = False
    while True:
        if data[at] != 0xFF:
            raise CorruptImage(f"expected a marker in a compressed frame, got byte {data[at]}")
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SOF:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            family = "jpegls" if marker == 0xF7 else "jpeg"
            lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
            size = (width, height, components, bits)
            return CodestreamHeader(family, *size, adobe, is_jfif, lossless)
        if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe":
            adobe = data[at + 15]
        is_jfif = is_jfif or (marker == 0xE0 and data[at + 4 : at + 8] == b"JFIF")
        at += 2 + length
