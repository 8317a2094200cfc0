"""Lossless JPEG (process 14) as encoders of old machines write it, by ITU-T T.81 annex H.

libjpeg-turbo writes one interleaved scan with tables of its own, which says nothing of the rest.
"""

import struct
from dataclasses import dataclass

import numpy as np

FIXED = dict.fromkeys(range(17), 5)  # the length in bits of the code of each category
SKEWED = {**{category: category + 1 for category in range(16)}, 16: 16}
_HALF = 2**15


@dataclass(frozen=True, slots=True)
class Coding:
    """How the samples are coded.

    Attributes:
        tables: lengths of codes, one dict for each Huffman table.
        selectors: the table of each component; without it all use the first.
        restart_rows: rows between two restart markers, 0 = none.
        head: segments after SOI, such as a JFIF marker.
    """

    predictor: int = 1
    shift: int = 0
    restart_rows: int = 0
    is_interleaved: bool = True
    tables: tuple[dict[int, int], ...] = (FIXED,)
    selectors: tuple[int, ...] = ()
    has_one_segment: bool = False
    head: bytes = b""


def encoded(pixels: np.ndarray, bits: int = 8, coding: Coding | None = None) -> bytes:
    """uint8 or uint16 (H, W) or (H, W, 3) -> a codestream."""
    coding = coding or Coding()
    samples = np.atleast_3d(pixels).astype(int) >> coding.shift
    height, width, count = samples.shape
    parts = b"".join(bytes([part + 1, 0x11, 0]) for part in range(count))
    frame = struct.pack(">BHHB", bits, height, width, count) + parts
    scans = [list(range(count))] if coding.is_interleaved else [[part] for part in range(count)]
    body = b"".join(_scan(samples, bits, coding, scan) for scan in scans)
    return b"\xff\xd8" + coding.head + _tables(coding) + _segment(0xC3, frame) + body + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def _tables(coding: Coding) -> bytes:
    tables = []
    for index, lengths in enumerate(coding.tables):
        counts = [list(lengths.values()).count(length) for length in range(1, 17)]
        tables.append(bytes([index, *counts, *sorted(lengths, key=lambda c: (lengths[c], c))]))
    if coding.has_one_segment:
        return _segment(0xC4, b"".join(tables))
    return b"".join(_segment(0xC4, table) for table in tables)


def _codes(lengths: dict[int, int]) -> dict[int, str]:
    """The canonical code of each category (T.81 annex C)."""
    codes, code, before = {}, 0, 0
    for category in sorted(lengths, key=lambda c: (lengths[c], c)):
        code <<= lengths[category] - before
        before = lengths[category]
        codes[category] = f"{code:0{before}b}"
        code += 1
    return codes


def _scan(samples: np.ndarray, bits: int, coding: Coding, parts: list[int]) -> bytes:
    selectors = coding.selectors or (0,) * samples.shape[2]
    codes = {part: _codes(coding.tables[selectors[part]]) for part in parts}
    height, width = samples.shape[:2]
    rows = coding.restart_rows or height
    out = _segment(0xDD, struct.pack(">H", rows * width)) if coding.restart_rows else b""
    named = b"".join(bytes([part + 1, selectors[part] << 4]) for part in parts)
    out += _segment(0xDA, bytes([len(parts)]) + named + bytes([coding.predictor, 0, coding.shift]))
    for number, top in enumerate(range(0, height, rows)):
        text = []
        for y in range(top, min(top + rows, height)):
            for x in range(width):
                for part in parts:
                    guess = _guess(samples[..., part], y, x, coding.predictor, y == top)
                    guess = 1 << (bits - coding.shift - 1) if guess is None else guess
                    text.append(_difference(samples[y, x, part] - guess, codes[part]))
        restart = bytes([0xFF, 0xD0 + (number - 1) % 8]) if number else b""
        out += restart + _stuffed("".join(text))
    return out


def _guess(plane: np.ndarray, y: int, x: int, predictor: int, is_first: bool) -> int | None:
    """The prediction (T.81 table H.1); None for the first sample after a restart."""
    if is_first:
        return int(plane[y, x - 1]) if x else None
    if not x:
        return int(plane[y - 1, 0])
    left, above, corner = (int(plane[y, x - 1]), int(plane[y - 1, x]), int(plane[y - 1, x - 1]))
    return (
        left,
        above,
        corner,
        left + above - corner,
        left + ((above - corner) >> 1),
        above + ((left - corner) >> 1),
        (left + above) >> 1,
    )[predictor - 1]


def _difference(value: int, codes: dict[int, str]) -> str:
    value = (int(value) + _HALF) % 2**16 - _HALF
    if value == -_HALF:
        return codes[16]
    category = abs(value).bit_length()
    below = value if value > 0 else value + (1 << category) - 1
    return codes[category] + (f"{below:0{category}b}" if category else "")


def _stuffed(text: str) -> bytes:
    text += "1" * (-len(text) % 8)
    whole = int(text, 2).to_bytes(len(text) // 8, "big")
    return whole.replace(b"\xff", b"\xff\0")
