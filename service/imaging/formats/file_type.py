"""The format of a file, by its first bytes; imports no decoder."""

from typing import Literal, TypeAlias

from service.errors import UnsupportedFormat

Family: TypeAlias = Literal["still", "stack", "dicom", "video"]
FORMATS = "PNG, JPEG, WebP, BMP, TIFF, GIF, DICOM, MP4 or AVI"
PREAMBLE, MAGIC = 128, b"DICM"
# First elements of files without a preamble: group 2, or group 8 in one of three encodings.
_META = (b"\x02\0\0\0UL", b"\x02\0\x01\0OB", b"\x02\0\x02\0UI", b"\x02\0\x10\0UI")
_LITTLE = (b"\x08\0\0\0UL", b"\x08\0\x05\0CS", b"\x08\0\x08\0CS", b"\x08\0\x16\0UI")
_BIG = (b"\0\x08\0\0UL", b"\0\x08\0\x05CS", b"\0\x08\0\x08CS", b"\0\x08\0\x16UI")
_IMPLICIT = (b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0")


def family_of(data: bytes) -> Family:
    """The key in ``reader.READERS`` for the file. Raises UnsupportedFormat."""
    if _is_dicom(data):  # first: its preamble may look like a TIFF (PS3.10, 7.1)
        return "dicom"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "stack" if b"acTL" in data[:200] else "still"
    if data[:2] in (b"\xff\xd8", b"BM"):
        return "still"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "stack" if data[12:16] == b"VP8X" and data[20] & 2 else "still"
    if data[:4] in (b"GIF8", b"II*\0", b"MM\0*"):
        return "stack"
    if container_of(data):
        return "video"
    raise unsupported(data)


def unsupported(data: bytes) -> UnsupportedFormat:
    """The error for a file of no supported format."""
    content = "bytes of no known format" if data else "an empty file"
    return UnsupportedFormat(f"expected {FORMATS}, got {content}")


def _is_dicom(data: bytes) -> bool:
    """Whether there is the magic word or, without a preamble, a plausible first element."""
    if data[PREAMBLE : PREAMBLE + 4] == MAGIC:
        return True
    is_explicit = data[:6] in _META + _LITTLE + _BIG
    return is_explicit or (data[:4] in _IMPLICIT and data[5:8] == b"\0\0\0")


def container_of(data: bytes) -> str:
    """``mp4``, ``avi``, ``mpeg`` (program, transport and elementary streams), or empty."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    is_transport = data[:1] == b"\x47" and data[188:189] == b"\x47"
    starts = (b"\0\0\x01", b"\0\0\0\x01")
    return "mpeg" if is_transport or data.startswith(starts) else ""
