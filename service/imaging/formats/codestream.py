"""The header of a compressed frame, read before its pixels are decoded.

The DICOM tags around a codestream are often wrong about it, so its own header counts. JPEG,
JPEG-LS, JPEG 2000 with HTJ2K, and JPEG XL.
"""

import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias

from service.errors import CorruptImage, UnsupportedFormat

ColourModel: TypeAlias = Literal["RGB", "YBR"]

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_SOC = b"\xff\x4f\xff\x51"
_JP2 = b"\x00\x00\x00\x0cjP  "
_JXL, _JXL_FILE = b"\xff\x0a", b"\x00\x00\x00\x0cJXL "
# Frame headers (ITU-T T.81 table B.1, T.87 for F7); C4, C8 and CC mark other segments.
_SOF = frozenset({0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_PART_2 = 0x8000  # extensions in Rsiz (ISO 15444-1 table A.10)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # ISO 18181-1 table D.2
_MAX_JUNK = 64  # bytes that some writers put before SOI


@dataclass(frozen=True, slots=True)
class CodestreamHeader:
    """The fields of the header that decoding depends on.

    Attributes:
        family: ``jpeg`` (lossless too), ``jpegls``, ``jpeg2000`` (HTJ2K too) or ``jpegxl``.
        components: 0 when the header does not tell (JPEG XL).
        bits: of one sample.
        colour: the colour model that a JPEG states by its markers, names or sampling; None when
            it states none.
        is_lossless: a JPEG of process 14.
        mixes_colours: a JPEG 2000 with a colour transform, which its decoder turns back to RGB.
    """

    family: str
    width_px: int
    height_px: int
    components: int
    bits: int
    colour: ColourModel | None = None
    is_lossless: bool = False
    mixes_colours: bool = False


def read_header(data: bytes) -> CodestreamHeader:
    """Raises CorruptImage: there is no such header, or it is cut off; UnsupportedFormat."""
    try:
        if data[:8] == _JP2:
            return _jpeg2000(data, data.index(_SOC))
        if data[:4] == _SOC:
            return _jpeg2000(data, 0)
        if data[:8] == _JXL_FILE:
            return _jpegxl(_first_jxl_part(data))
        if data[:2] == _JXL:
            return _jpegxl(data[2:])
        return _jpeg(data)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptImage("the header of a compressed frame is cut off") from error


def jpeg2000_depths(data: bytes) -> list[int]:
    """Bits of the samples of each component, of a codestream or a JP2 file.

    Raises CorruptImage: the header is not there or cut off.
    """
    try:
        start = data.index(_SOC)
        (components,) = struct.unpack_from(">H", data, start + 40)
        if not components:
            raise CorruptImage("a JPEG 2000 states no component")
        return [(data[start + 42 + 3 * part] & 0x7F) + 1 for part in range(components)]
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptImage("the header of a JPEG 2000 is cut off") from error


def begins(data: bytes, start: int, stop: int) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 begins at ``start``, or a few bytes after it.

    Entropy coding never produces SOI or SOC, so a later part of a codestream does not match.
    """
    if data.startswith((_SOC, _JP2), start, stop):
        return True
    return data.find(_SOI + b"\xff", start, min(stop, start + _MAX_JUNK)) >= 0


def begins_jpegxl(data: bytes, start: int, stop: int) -> bool:
    """Whether a JPEG XL begins; two of its bytes match by chance, so also compare its size."""
    return data.startswith((_JXL, _JXL_FILE), start, stop)


def is_ended(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 has its end marker behind its last scan."""
    return data.rfind(_EOI) > data.rfind(_SOS)


def _jpeg2000(data: bytes, start: int) -> CodestreamHeader:
    """SIZ follows SOC at once (ISO 15444-1 A.5.1)."""
    (capabilities,) = struct.unpack_from(">H", data, start + 6)
    if capabilities & _PART_2:
        raise UnsupportedFormat("JPEG 2000 with extensions of part 2 is not supported")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    bits = (depth & 0x7F) + 1
    coding = data.index(b"\xff\x52", start + 42)  # COD (A.6.1): its fifth parameter byte
    mixes = data[coding + 8] == 1
    width, height = right - left, bottom - top
    return CodestreamHeader("jpeg2000", width, height, components, bits, mixes_colours=mixes)


def _jpeg(data: bytes) -> CodestreamHeader:
    at = data.index(_SOI, 0, _MAX_JUNK) + 2
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
            bits, height, width, count = struct.unpack_from(">BHHB", data, at + 4)
            lossless = marker in (0xC3, 0xC7, 0xCB, 0xCF)
            parts = [data[at + 10 + 3 * i : at + 12 + 3 * i] for i in range(count)]
            if marker == 0xF7:
                return CodestreamHeader("jpegls", width, height, count, bits)
            colour = None if lossless else _stated_colour(adobe, is_jfif, parts)
            return CodestreamHeader("jpeg", width, height, count, bits, colour, lossless)
        if marker == 0xEE and data[at + 4 : at + 9] == b"Adobe":
            adobe = data[at + 15]
        is_jfif = is_jfif or (marker == 0xE0 and data[at + 4 : at + 8] == b"JFIF")
        at += 2 + length


def _stated_colour(adobe: int | None, is_jfif: bool, parts: list[bytes]) -> ColourModel | None:
    """As libjpeg has it; besides, planes of different sizes are never red, green and blue.

    Args:
        parts: (name, sampling factors) of each component.
    """
    if len(parts) != 3:
        return None
    if is_jfif or adobe == 1:
        return "YBR"
    if adobe == 0 or bytes(part[0] for part in parts) == b"RGB":
        return "RGB"
    return "YBR" if len({part[1] for part in parts}) > 1 else None


class _Bits:
    """Bits of a JPEG XL header, the lowest of each byte first (ISO 18181-1, annex B)."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data[:64], "little")
        self._left = 8 * min(64, len(data))

    def take(self, count: int) -> int:
        """Raises ValueError: there are fewer bits."""
        if count > self._left:
            raise ValueError
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """One of four (offset, number of further bits)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _jpegxl(codestream: bytes) -> CodestreamHeader:
    """SizeHeader and the begin of ImageMetadata (ISO 18181-1, annex D), after the signature."""
    bits = _Bits(codestream)
    is_small = bits.take(1)
    height = _jpegxl_side(bits, is_small)
    ratio = bits.take(3)
    if ratio == 0:
        width = _jpegxl_side(bits, is_small)
    else:
        numerator, denominator = _RATIOS[ratio - 1]
        width = height * numerator // denominator
    depth = 8
    if not bits.take(1):
        if bits.take(1):  # orientation, preview or animation
            raise UnsupportedFormat("JPEG XL with an orientation or animation is not supported")
        if bits.take(1):
            raise UnsupportedFormat("JPEG XL of floating-point samples is not supported")
        depth = bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    return CodestreamHeader("jpegxl", width, height, 0, depth)


def _jpegxl_side(bits: _Bits, is_small: int) -> int:
    if is_small:
        return 8 * (bits.take(5) + 1)
    return bits.choose((1, 9), (1, 13), (1, 18), (1, 30))


def _first_jxl_part(data: bytes) -> bytes:
    """The begin of the codestream in a JPEG XL file, after its signature (ISO 18181-2)."""
    at = 0
    while True:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        if kind in (b"jxlc", b"jxlp"):
            first = at + head + (4 if kind == b"jxlp" else 0)
            if data[first : first + 2] != _JXL:
                raise ValueError
            return data[first + 2 : first + 66]
        if size < head:
            raise ValueError
        at += size
