"""The format of a file, by its first bytes; imports no decoder."""

import re
import struct
from typing import Literal, TypeAlias

from service.errors import CorruptImage, UnsupportedFormat

Family: TypeAlias = Literal["still", "stack", "tiff", "dicom", "video"]
FORMATS = (
    "PNG, JPEG, JPEG 2000, WebP, HEIC, AVIF, BMP, TIFF, GIF, DICOM, MP4, AVI, MPEG, MKV or WMV"
)
PREAMBLE, MAGIC = 128, b"DICM"
# First elements of files without a preamble: group 2, or group 8 in one of three encodings.
_META = (b"\x02\0\0\0UL", b"\x02\0\x01\0OB", b"\x02\0\x02\0UI", b"\x02\0\x10\0UI")
_LITTLE = (b"\x08\0\0\0UL", b"\x08\0\x05\0CS", b"\x08\0\x08\0CS", b"\x08\0\x16\0UI")
_BIG = (b"\0\x08\0\0UL", b"\0\x08\0\x05CS", b"\0\x08\0\x08CS", b"\0\x08\0\x16UI")
_IMPLICIT = (b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0")

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_JPEG2000_STARTS = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
# Brands of ISO base media files (ISO/IEC 14496-12, 4.3; 23008-12, annex B).
_AVIF = frozenset((b"avif", b"avis"))
_HEIF = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf".split())
_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof", b"pnot")
_MAX_BRANDS = 64
_MAX_STEPS = 4096  # boxes or chunks: real pictures have a dozen, and the event loop waits meanwhile
_SYNCED_PACKETS = 5
_ICON = b"\0\0\x01\0"

_STILL_WAY = "export the picture as PNG or JPEG"
_VIDEO_WAY = "convert the video to H.264 in MP4"
_VOLUME_WAY = "export slices as PNG or the original DICOM"
_ARCHIVE_WAY = "unpack it and send the files in it"
_NOT_PICTURES = {
    b"crx ": ("camera RAW (CR3)", _STILL_WAY),
    b"M4A ": ("sound (M4A)", "send pictures or video"),
    b"M4B ": ("sound (M4B)", "send pictures or video"),
}
# (first bytes, their offset, name, way out) of files that are often sent and not read.
_UNREAD: tuple[tuple[bytes, int, str, str], ...] = (
    (b"\0\0\0\x0cJXL ", 0, "JPEG XL", _STILL_WAY),
    (b"\xff\x0a", 0, "JPEG XL", _STILL_WAY),
    (b"mjp2", 20, "Motion JPEG 2000", _VIDEO_WAY),
    (b"jpm ", 20, "JPEG 2000 document (JPM)", _STILL_WAY),
    (b"II\xbc\x01", 0, "JPEG XR", _STILL_WAY),
    (b"8BPS", 0, "Photoshop (PSD)", _STILL_WAY),
    (b"IIRO", 0, "camera RAW (ORF)", _STILL_WAY),
    (b"IIRS", 0, "camera RAW (ORF)", _STILL_WAY),
    (b"MMOR", 0, "camera RAW (ORF)", _STILL_WAY),
    (b"IIU\0", 0, "camera RAW (RW2)", _STILL_WAY),
    (b"FUJIFILMCCD-RAW", 0, "camera RAW (RAF)", _STILL_WAY),
    (b"FOVb", 0, "camera RAW (X3F)", _STILL_WAY),
    (b"\x76\x2f\x31\x01", 0, "OpenEXR", _STILL_WAY),
    (b"#?RADIANCE", 0, "Radiance HDR", _STILL_WAY),
    (b"qoif", 0, "QOI", _STILL_WAY),
    (_ICON, 0, "icon (ICO)", _STILL_WAY),
    (b"gimp xcf", 0, "GIMP (XCF)", _STILL_WAY),
    (b"BPG\xfb", 0, "BPG", _STILL_WAY),
    (b"AT&TFORM", 0, "DjVu", _STILL_WAY),
    (b"%PDF", 0, "PDF", "export its pages or pictures as PNG or JPEG"),
    (b"%!PS", 0, "PostScript", _STILL_WAY),
    (b"<svg", 0, "SVG", _STILL_WAY),
    (b"NRRD000", 0, "NRRD", _VOLUME_WAY),
    (b"ObjectType", 0, "MetaImage (MHA, MHD)", _VOLUME_WAY),
    (b"NDims", 0, "MetaImage (MHA, MHD)", _VOLUME_WAY),
    (b"n+1\0", 344, "NIfTI", _VOLUME_WAY),
    (b"ni1\0", 344, "NIfTI", _VOLUME_WAY),
    (b"n+2\0", 4, "NIfTI", _VOLUME_WAY),
    (b"KRETZFILE", 0, "a Kretz volume", _VOLUME_WAY),
    (b"\x89HDF\r\n\x1a\n", 0, "HDF5", _VOLUME_WAY),
    (b"MATLAB", 0, "MATLAB", _VOLUME_WAY),
    (b"\x93NUMPY", 0, "NumPy", _STILL_WAY),
    (b"PK\x03\x04", 0, "ZIP or Office", _ARCHIVE_WAY),
    (b"PK\x05\x06", 0, "ZIP", _ARCHIVE_WAY),
    (b"\x1f\x8b", 0, "gzip", _ARCHIVE_WAY),
    (b"7z\xbc\xaf\x27\x1c", 0, "7-Zip", _ARCHIVE_WAY),
    (b"Rar!", 0, "RAR", _ARCHIVE_WAY),
    (b"BZh", 0, "bzip2", _ARCHIVE_WAY),
    (b"\xfd7zXZ\0", 0, "XZ", _ARCHIVE_WAY),
    (b"\x28\xb5\x2f\xfd", 0, "Zstandard", _ARCHIVE_WAY),
    (b"ustar", 257, "tar", _ARCHIVE_WAY),
    (b"OggS", 0, "Ogg", _VIDEO_WAY),
    (b"\x06\x0e\x2b\x34", 0, "MXF", _VIDEO_WAY),
    (b".RMF", 0, "RealMedia", _VIDEO_WAY),
    (b"DKIF", 0, "IVF", _VIDEO_WAY),
    (b"YUV4MPEG2", 0, "YUV4MPEG", _VIDEO_WAY),
    (b"ID3", 0, "sound (MP3)", "send pictures or video"),
)
_TEXT_UNREAD = (
    (re.compile(rb"<svg[\s>]", re.I), "SVG", _STILL_WAY),
    (re.compile(rb"<!doctype html|<html", re.I), "HTML", "send the picture and not its web page"),
    (re.compile(rb"\s*<\?xml"), "XML", _STILL_WAY),
    (re.compile(rb"P[1-7]\s"), "Netpbm (PNM)", _STILL_WAY),
)


def family_of(data: bytes) -> Family:
    """The key in ``reader.READERS`` for the file. Raises UnsupportedFormat, CorruptImage."""
    if _is_dicom(data):  # first: its preamble may look like a TIFF (PS3.10, 7.1)
        return "dicom"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "stack" if _is_animated_png(data) else "still"
    if data[:4] == b"\xff\xd8\xff\xf7":
        raise _unread("JPEG-LS", _STILL_WAY)
    if data[:2] in (b"\xff\xd8", b"BM"):
        return "still"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "stack" if data[12:16] == b"VP8X" and len(data) > 20 and data[20] & 2 else "still"
    if data[:4] == b"GIF8":
        return "stack"
    if data.startswith(_JPEG2000_STARTS) and data[20:24] not in (b"mjp2", b"jpm "):
        return "stack"
    if data[:4] in TIFF_STARTS:
        return "tiff"
    if data[4:8] == b"ftyp":
        return _family_of_brands(data)
    if container_of(data):
        return "video"
    raise unsupported(data)


def unsupported(data: bytes) -> UnsupportedFormat:
    """The error for a file of no supported format; it names the format where that is known."""
    for start, at, name, way in _UNREAD:
        if data[at : at + len(start)] == start:
            return _unread(name, way)
    for pattern, name, way in _TEXT_UNREAD:
        if (pattern.search if name in ("SVG", "HTML") else pattern.match)(data[:2000]):
            return _unread(name, way)
    content = "bytes of no known format" if data else "an empty file"
    return UnsupportedFormat(f"expected {FORMATS}, got {content}")


def _unread(name: str, way: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} is not supported; {way}")


def _family_of_brands(data: bytes) -> Family:
    """The major brand decides; where it is a general one, the compatible brands decide."""
    (size,) = struct.unpack_from(">I", data)
    brands = data[8 : min(size, 16 + 4 * _MAX_BRANDS)]
    major = brands[:4]
    compatible = {brands[at : at + 4] for at in range(8, len(brands) - 3, 4)}
    if major in _NOT_PICTURES:
        name, way = _NOT_PICTURES[major]
        raise _unread(name, way)
    boxes, end = _top_level(data)
    if major in _HEIF and b"moov" in boxes and b"meta" not in boxes:
        return "video"  # an image sequence without a still, which is coded as a video track
    is_picture = bool(compatible & (_AVIF | _HEIF)) and b"moov" not in boxes
    if major not in _AVIF | _HEIF and not is_picture:
        return "video"
    if end is None:
        raise CorruptImage(f"expected at most {_MAX_STEPS} boxes in a HEIC or AVIF file, got more")
    if end > len(data):  # libheif would give what is missing as grey
        raise CorruptImage("the HEIC or AVIF file is cut off")
    return "stack"


def _top_level(data: bytes) -> tuple[set[bytes], int | None]:
    """Types of the outermost boxes of an ISO base media file, and where the last of them ends.

    That is behind the end of a file that is cut off, and None where there are more boxes than are
    looked at, as in a video of many fragments.
    """
    at, kinds = 0, set[bytes]()
    for _ in range(_MAX_STEPS):
        if at + 8 > len(data):
            return kinds, at
        size, kind = struct.unpack_from(">I4s", data, at)
        kinds.add(kind)
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size < 8:  # 0: up to the end of the file
            return kinds, len(data)
        at += size
    return kinds, at if at + 8 > len(data) else None


def _is_animated_png(data: bytes) -> bool:
    """Whether a chunk ``acTL`` stands before the first ``IDAT`` (PNG 3rd edition, 11.3.6.1).

    It is looked for among the first chunks only; a picture of so many is decoded with limits.
    """
    at = 8
    for _ in range(_MAX_STEPS):
        if at + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL":
            return True
        if kind in (b"IDAT", b"IEND"):
            return False
        at += 12 + length
    return False


def _is_dicom(data: bytes) -> bool:
    """Whether there is the magic word or, without a preamble, a plausible first element."""
    if data[PREAMBLE : PREAMBLE + 4] == MAGIC:
        return True
    is_explicit = data[:6] in _META + _LITTLE + _BIG
    return is_explicit or (data[:4] in _IMPLICIT and data[5:8] == b"\0\0\0")


def container_of(data: bytes) -> str:
    """``mp4``, ``avi``, ``mkv``, ``wmv``, ``flv``, ``mpeg``, or empty.

    ``mpeg`` are program, transport and elementary streams.
    """
    if data[4:8] in _QUICKTIME:
        return "mp4"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    if data[:4] == b"\x1a\x45\xdf\xa3":  # EBML: Matroska and WebM
        return "mkv"
    if data[:8] == b"\x30\x26\xb2\x75\x8e\x66\xcf\x11":  # ASF
        return "wmv"
    if data[:4] == b"FLV\x01":
        return "flv"
    is_stream = data.startswith((b"\0\0\x01", b"\0\0\0\x01")) and data[:4] != _ICON
    return "mpeg" if _is_transport(data) or is_stream else ""


def _is_transport(data: bytes) -> bool:
    """Whether packets of one size start with 0x47, also when the first one is cut off.

    The sizes are those of the plain form, with time stamps (M2TS), and with error correction.
    """
    for size in (188, 192, 204):
        first = data.find(b"\x47", 0, size)
        while first >= 0:
            starts = data[first : first + _SYNCED_PACKETS * size : size]
            if len(starts) > 1 and starts.count(b"\x47") == len(starts):
                return first <= 4 or len(starts) == _SYNCED_PACKETS
            first = data.find(b"\x47", first + 1, size)
    return False
