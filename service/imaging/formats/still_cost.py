"""What it costs to decode a still, by its headers alone.

Compression lets a file of a few kilobytes ask for minutes of work or gigabytes of memory: thousands
of scans of a progressive JPEG, bombs in text chunks, run lengths that Pillow decodes in Python.
Whatever is not plainly cheap is decoded in a process with limits, which takes milliseconds more.
"""

import struct
from collections.abc import Iterator

from service.errors import DecodeLimit

MAX_BYTES = 8_000_000  # of the file
MAX_PIXELS = 4_200_000  # as a camera of 4 megapixels; the screen of a cart has 2
MAX_DECODED_BYTES = 16_000_000
MAX_SCANS = 20  # an encoder writes about ten, and an embedded preview has some
SCANS_PER_SAMPLE = 4  # a scan of a progressive file costs a fraction of a baseline decode
MAX_PARTS = 64  # segments or chunks beside the pixels
MAX_PART_BYTES = 16_384  # all of them together; Exif entries may overlap and multiply
MAX_PIXEL_CHUNKS = 4096
MAX_SCAN_PIXELS = 2_000_000_000  # scans x pixels: some tens of seconds

_PNG_CHUNK = struct.Struct(">I4s")
_IHDR = struct.Struct(">IIBBBBB")
_BMP_HEADER = struct.Struct("<IIiHHI")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the colour types of PNG
# Markers of JPEG (ITU-T T.81 B.1.1.3). Frames by Huffman codes: baseline, extended, progressive.
_FRAMES = (0xC0, 0xC1, 0xC2)
_TABLES = (0xC4, 0xDB, 0xDD)
_SCAN = b"\xff\xda"


def is_ordinary(data: bytes) -> bool:
    """Whether a PNG, JPEG or BMP takes at most some tenths of a second and 100 MB to decode.

    Whatever the bytes behind the headers are; False for every other format and for headers that
    are damaged or unusual.
    """
    if len(data) > MAX_BYTES:
        return False
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _is_ordinary_png(data)
        if data[:2] == b"\xff\xd8":
            return _is_ordinary_jpeg(data)
        return data[:2] == b"BM" and _is_ordinary_bmp(data)
    except struct.error:  # the header ends early
        return False


def check_scans(data: bytes, width_px: int, height_px: int) -> None:
    """Raises DecodeLimit: a JPEG of more scans than its size allows; nothing was decoded."""
    scans = _scans(data)
    allowed = max(MAX_SCANS, MAX_SCAN_PIXELS // (width_px * height_px))
    if scans > allowed:
        raise DecodeLimit(
            f"expected at most {allowed} scans in a JPEG of {width_px} x {height_px} px, "
            f"got {scans}"
        )


def _scans(data: bytes) -> int:
    """At least as many as there are: a few more where a preview is embedded.

    In entropy-coded data a byte 0 follows each byte 255 (ITU-T T.81 B.1.1.5), so none is missed.
    """
    return data.count(_SCAN)


def _is_small(width: int, height: int, bytes_per_pixel: float) -> bool:
    pixels = width * height
    return 0 < pixels <= MAX_PIXELS and pixels * bytes_per_pixel <= MAX_DECODED_BYTES


def _is_ordinary_png(data: bytes) -> bool:
    length, kind = _PNG_CHUNK.unpack_from(data, 8)
    if kind != b"IHDR" or length != 13:
        return False
    width, height, depth, colours, _, _, _ = _IHDR.unpack_from(data, 16)
    if not _is_small(width, height, _CHANNELS.get(colours, 8) * depth / 8):
        return False
    pixel_chunks, parts, part_bytes = 0, 0, 0
    for kind, length in _chunks(data):
        if kind == b"IDAT":
            pixel_chunks += 1
        else:
            parts, part_bytes = parts + 1, part_bytes + length
        if pixel_chunks > MAX_PIXEL_CHUNKS or parts > MAX_PARTS or part_bytes > MAX_PART_BYTES:
            return False
    return True


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and length of every chunk after IHDR (PNG 5.3), those behind the picture included."""
    at = 33
    while at + _PNG_CHUNK.size <= len(data):
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        yield kind, length
        at += 12 + length


def _is_ordinary_jpeg(data: bytes) -> bool:
    scans = _scans(data)
    if not 1 <= scans <= MAX_SCANS:
        return False
    at, parts, part_bytes, frames = 2, 0, 0, []
    while data[at : at + 2] != _SCAN:
        start, marker, length = struct.unpack_from(">BBH", data, at)
        parts += 1
        if marker in _FRAMES:
            frames.append(struct.unpack_from(">HHB", data, at + 5))
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            part_bytes += length
        elif marker not in _TABLES:
            return False  # such as a marker without a length, which readers skip differently
        if start != 0xFF or length < 2 or parts > MAX_PARTS or part_bytes > MAX_PART_BYTES:
            return False
        at += 2 + length
    if len(frames) != 1:
        return False
    height, width, components = frames[0]
    # Each scan of a progressive file visits every block again.
    return _is_small(width, height, max(components, scans / SCANS_PER_SAMPLE))


def _is_ordinary_bmp(data: bytes) -> bool:
    """Uncompressed; run lengths (compression 1 and 2) are not."""
    size, width, height, _, bits, compression = _BMP_HEADER.unpack_from(data, 14)
    return size >= 40 and compression in (0, 3) and _is_small(width, abs(height), bits / 8)
