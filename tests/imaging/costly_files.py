"""Files of few bytes that ask for much: scans, text, run lengths, pages. All are made in code."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

SIDE_PX = 7000  # 49 megapixels, below the default limit


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _scan(first: int, last: int, bits: int, coded: bytes) -> bytes:
    """One scan of the only component; ``bits`` is the byte of the successive approximation."""
    return _segment(0xDA, struct.pack("BBBBBB", 1, 1, 0x00, first, last, bits)) + coded


def _codes(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def _jpeg_tables() -> bytes:
    """Quantisation; one DC symbol (no change) and one AC symbol (a run of 2^14 ended blocks)."""
    lengths = bytes([1] + [0] * 15)
    huffman = _segment(0xC4, b"\x00" + lengths + b"\x00" + b"\x10" + lengths + b"\xe0")
    return _segment(0xDB, b"\x00" + bytes([1] * 64)) + huffman


def jpeg(width: int, height: int, *, scans: int = 0, marker: int = 0xC2, before: bytes = b""):
    """A grey progressive JPEG of no contrast, with any number of scans that refine nothing."""
    size = _segment(marker, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))
    blocks = max(1, -(-width // 8) * -(-height // 8))
    code = "0" + format(2**14 - 1, "014b")  # ends this block and 32,766 more
    empty = code * max(1, round(blocks / (2**15 - 1)))
    refinements = _scan(1, 63, 0x00, _codes(empty)) * scans
    start = b"\xff\xd8" + before + _jpeg_tables() + size
    return start + _scan(0, 0, 0x00, _codes("0" * blocks)) + refinements + b"\xff\xd9"


def jpeg_of_many_segments(count: int) -> bytes:
    return jpeg(64, 64, before=_segment(0xED, b"") * count)


def jpeg_of_overlapping_exif(segments: int) -> bytes:
    """Each of thousands of entries declares the whole block as its value."""
    room, entries = 65_500 * segments, 65_535
    head = b"MM\0*" + struct.pack(">IH", 8, entries)
    table = b"".join(struct.pack(">HHII", tag, 7, room - 20, 10) for tag in range(entries))
    block = (head + table).ljust(room, b"\0")[:room]
    parts = [block[at : at + 65_500] for at in range(0, room, 65_500)]
    return jpeg(64, 64, before=b"".join(_segment(0xE1, b"Exif\0\0" + part) for part in parts))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, before: bytes = b"", interlaced: int = 0, split: int = 0):
    """A black grey PNG; ``split``: bytes of each IDAT chunk."""
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    rows = height * 2 if interlaced else height  # a row of each pass has a filter byte of its own
    packed = zlib.compress(bytes(width * height + 2 * rows), 9)
    parts = [packed[at : at + split] for at in range(0, len(packed), split)] if split else [packed]
    pixels = b"".join(chunk(b"IDAT", part) for part in parts)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    return start + before + pixels + chunk(b"IEND", b"")


def png_of_profiles(count: int) -> bytes:
    """Each profile inflates to a megabyte, and a file may hold thousands."""
    body = b"x\0\0" + zlib.compress(bytes(1_000_000), 9)
    return png(64, 64, before=chunk(b"iCCP", body) * count)


def png_of_texts(count: int) -> bytes:
    body = b"x\0\0" + zlib.compress(bytes(1_000_000), 9)
    return png(64, 64, before=chunk(b"zTXt", body) * count)


def png_of_long_text() -> bytes:
    body = b"x\0\1\0\0\0" + zlib.compress(bytes(20_000_000), 9)
    return png(64, 64, before=chunk(b"iTXt", body))


def png_of_empty_chunks(count: int) -> bytes:
    return png(64, 64, before=chunk(b"IDAT", b"") * count)


def rle_bmp(width: int, height: int, run: int, bits: int = 8) -> bytes:
    """Run-length encoded: ``run`` pixels at a time, down to one."""
    rows = (bytes([run, 0]) * -(-width // run) + b"\0\0") * height + b"\0\1"
    palette = bytes(4 * 2**bits)
    offset = 54 + len(palette)
    head = struct.pack("<2sIII", b"BM", offset + len(rows), 0, offset)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 3 - bits // 4, len(rows), 0, 0, 0, 0
    )
    return head + info + palette + rows


def webp(width: int, height: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8) * 255
    grey = np.tile(noise, (-(-height // 64), -(-width // 64)))[:height, :width]
    Image.fromarray(grey).save(out, "WEBP", lossless=True, quality=0, method=0)
    return out.getvalue()


def gif(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("P", (width, height)).save(out, "GIF")
    return out.getvalue()


def cyclic_tiff(pages: int, *, is_cyclic: bool) -> bytes:
    """Pages of 8 x 8 px; the last one points to the first, or nowhere."""
    fields = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8)]
    fields.append((279, 64))
    size = 2 + 12 * len(fields) + 4
    parts = [b"II*\0" + struct.pack("<I", 72) + bytes(64)]
    for page in range(pages):
        follows = 72 + size * ((page + 1) % pages) if page + 1 < pages or is_cyclic else 0
        parts.append(struct.pack("<H", len(fields)))
        parts += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields]
        parts.append(struct.pack("<I", follows))
    return b"".join(parts)


COSTLY: dict[str, Callable[[], bytes]] = {
    "a progressive JPEG of 3000 scans": lambda: jpeg(SIDE_PX, SIDE_PX, scans=3000),
    "a JPEG of 49 megapixels": lambda: jpeg(SIDE_PX, SIDE_PX, scans=1),
    "a JPEG of arithmetic code": lambda: jpeg(SIDE_PX, SIDE_PX, marker=0xCA),
    "a JPEG without a height": lambda: jpeg(64, 0, scans=2000),
    "a JPEG of a million segments": lambda: jpeg_of_many_segments(1_000_000),
    "a JPEG of overlapping Exif": lambda: jpeg_of_overlapping_exif(40),
    "a PNG of 49 megapixels": lambda: png(SIDE_PX, SIDE_PX),
    "an interlaced PNG of 49 megapixels": lambda: png(SIDE_PX, SIDE_PX, interlaced=1),
    "a PNG of thousands of profiles": lambda: png_of_profiles(15_000),
    "a PNG of thousands of texts": lambda: png_of_texts(15_000),
    "a PNG of a text of 20 MB": png_of_long_text,
    "a PNG of a million chunks": lambda: png_of_empty_chunks(1_000_000),
    "a BMP of runs": lambda: rle_bmp(SIDE_PX, SIDE_PX, 254, bits=4),
    "a BMP of runs of one": lambda: rle_bmp(3000, 3000, 1),
    "a lossless WebP": lambda: webp(2000, 2000),
    "a GIF": lambda: gif(2000, 2000),
    "a TIFF whose pages form a ring": lambda: cyclic_tiff(5, is_cyclic=True),
    "a TIFF of 20,000 pages": lambda: cyclic_tiff(20_000, is_cyclic=False),
}


def coloured(frame_HW3: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame_HW3).save(out, "PNG")
    return out.getvalue()


def thin(height: int, width: int) -> bytes:
    """Two colours side by side, which look like flow; a few kilobytes."""
    frame_HW3 = np.zeros((height, width, 3), np.uint8)
    longer = frame_HW3 if width > height else frame_HW3.transpose(1, 0, 2)
    middle = longer.shape[1] // 2
    longer[:, :middle], longer[:, middle:] = (255, 0, 0), (255, 160, 0)
    return coloured(frame_HW3)


def dots(side: int) -> bytes:
    """Flow in a corner, and a coloured dot at every second pixel of every second line."""
    frame_HW3 = np.zeros((side, side, 3), np.uint8)
    frame_HW3[::2, ::2] = (255, 0, 0)
    frame_HW3[:40, :20], frame_HW3[:40, 20:40] = (255, 0, 0), (255, 200, 0)
    return coloured(frame_HW3)


def bars(height: int, width: int) -> bytes:
    """As many small colour scales as find room."""
    steps = np.abs(np.linspace(-1, 1, 30))
    tile = np.zeros((52, 7, 3), np.uint8)
    tile[:30, :5] = np.stack([255 * np.sqrt(steps), 255 * steps**2, 0 * steps], axis=-1)[:, None]
    return coloured(np.tile(tile, (-(-height // 52), -(-width // 7), 1))[:height, :width])


# Cheap to decode, so that the service does it itself.
COSTLY_TO_ANALYZE: dict[str, Callable[[], bytes]] = {
    "a PNG of 100,000 x 8 px": lambda: thin(8, 100_000),
    "a PNG of 8 x 500,000 px": lambda: thin(500_000, 8),
    "a PNG of a million dots": lambda: dots(2048),
    "a PNG of ten thousand colour scales": lambda: bars(2048, 2048),
}
