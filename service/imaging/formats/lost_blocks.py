"""Blocks of a file that were lost and read as zeros.

A copy that ended early in a file of reserved length, a bad sector or an upload in parts leaves
whole blocks of zeros. Most decoders go on after them without a word and make up the rest.
Compressed pixels may have long runs of zeros too, as in a black picture. But they begin and end
anywhere, and lost blocks at multiples of the block size.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from service.errors import CorruptImage

Span: TypeAlias = tuple[int, int]

BLOCK_BYTES = 4096  # of file systems; copies and uploads write multiples of it
_BLOCK = bytes(BLOCK_BYTES)
_SLACK = 2  # zeros of the data itself that touch a lost block
_MIN_SHARED = 64  # bytes of a block within compressed pixels
_MAX_BOXES = 4096
_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
_BOX_PIXELS = (b"mdat", b"jp2c")  # of HEIC and AVIF, of JPEG 2000
_END = b"\xff\xd9"  # of JPEG and JPEG 2000; entropy coding never produces it


def lost_blocks(data: bytes) -> list[Span]:
    """Runs of zeros that are whole blocks of the file, or such blocks and its end."""
    starts = [at for at in range(0, len(data), BLOCK_BYTES) if data.startswith(_BLOCK, at)]
    runs: list[Span] = []
    for at in starts:
        first = runs.pop()[0] if runs and runs[-1][1] == at else at
        runs.append((first, at + BLOCK_BYTES))
    if runs and len(data) - runs[-1][1] < BLOCK_BYTES and not any(data[runs[-1][1] :]):
        runs[-1] = (runs[-1][0], len(data))
    return [run for run in runs if _is_apart(data, *run)]


def _is_apart(data: bytes, start: int, stop: int) -> bool:
    """Whether the zeros begin and end with the run; data of long runs of its own does not so."""
    before, after = data[max(0, start - _SLACK - 1) : start], data[stop : stop + _SLACK + 1]
    return any(before) and (any(after) or stop == len(data))


def without_lost_end(data: bytes) -> tuple[bytes, list[Span]]:
    """The file as far as it was written, the rest of its space being zeros, and the lost blocks."""
    blocks = lost_blocks(data)
    if blocks and blocks[-1][1] == len(data):
        start, _ = blocks.pop()
        return data[:start], blocks
    return data, blocks


def hits(blocks: Sequence[Span], start: int, stop: int) -> bool:
    """Whether one of the blocks takes a part of a span of compressed pixels."""
    return any(min(stop, b) - max(start, a) >= _MIN_SHARED for a, b in blocks)


def refuse_lost_blocks(data: bytes) -> None:
    """Raises CorruptImage: compressed pixels of a JPEG, WebP, HEIC, AVIF or JPEG 2000 were lost.

    Other formats are left alone: PNG has check sums, and BMP and GIF have zeros of their own or
    no place for them.
    """
    blocks = lost_blocks(data)
    if blocks and any(hits(blocks, *span) for span in _pixel_spans(data)):
        raise CorruptImage("a part of the picture is missing: the file has a block of zeros there")


def _pixel_spans(data: bytes) -> Iterator[Span]:
    """Where the compressed pixels of a still lie; more than them where that does no harm."""
    if data[:4] == b"RIFF":
        yield from _webp_spans(data)
    elif data[4:8] in (b"ftyp", b"jP  "):
        yield from _box_spans(data)
    elif data.startswith((b"\xff\xd8", b"\xff\x4f")):
        end = data.rfind(_END)
        yield 0, end if end > 0 else len(data)


def _webp_spans(data: bytes) -> Iterator[Span]:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in _WEBP_PIXELS:
            yield at + 8, at + 8 + size
        at += 8 + size + size % 2


def _box_spans(data: bytes) -> Iterator[Span]:
    """The content of boxes (ISO/IEC 14496-12, 4.2; ISO/IEC 15444-1, annex I)."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        stop = at + size if size else len(data)
        if kind in _BOX_PIXELS:
            yield at + 8, stop
        if stop < at + 8:
            return
        at = stop
