"""Where the frames lie in DICOM pixel data, counted in the data itself.

NumberOfFrames and the offset tables are often wrong, and a recording may be cut off, so they are
not believed: codestreams tell by their first bytes where they begin, and native frames have one
length.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from service.errors import CorruptImage
from service.imaging.formats.codestream import begins, begins_jpegxl, is_ended, read_header
from service.imaging.formats.limits import DecodeLimits, check_length
from service.imaging.formats.lost_blocks import Span, hits
from service.imaging.pixel_data.pixel_format import RLE, PixelFormat

_Begins: TypeAlias = Callable[[bytes, int, int], bool]

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_NO_LENGTH = b"\xff\xff\xff\xff"
# Two codestreams in one item, which PS3.5 A.4 does not allow.
_SEAM = re.compile(rb"\xff\xd9\x00{0,8}(?=\xff\xd8\xff|\xff\x4f\xff\x51)")
_RLE_HEADER_BYTES = 64
_MAX_COMPARED_BYTES = 1_000_000
_CLEARLY = 1.5


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The value of (7FE0,0010).

    Attributes:
        length: bytes of the value as its header declares them, None when undefined.
        start: offset of the value in the file.
        lost_blocks: the lost blocks of the file, counted from there.
    """

    value: bytes
    length: int | None
    start: int = 0
    lost_blocks: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameSpans:
    """The parts of ``value`` that belong to each frame, in the order of the file.

    Attributes:
        lost_blocks: parts of compressed frames that are missing.
    """

    value: bytes
    spans: list[list[Span]]
    lost_blocks: tuple[Span, ...] = ()

    def __len__(self) -> int:
        return len(self.spans)

    def packed(self, index: int) -> bytes:
        """The bytes of one frame. Raises CorruptImage: a block of them was lost."""
        if any(hits(self.lost_blocks, *span) for span in self.spans[index]):
            raise CorruptImage("a part of a frame is missing: the file has a block of zeros there")
        return self.stored(index)

    def stored(self, index: int) -> bytes:
        """The bytes of one frame as they are."""
        return b"".join(self.value[start:stop] for start, stop in self.spans[index])


def native_frames(
    element: PixelElement, form: PixelFormat, declared: int | None, limits: DecodeLimits
) -> FrameSpans:
    """The whole frames; those beyond the declared number that repeat one byte are padding.

    Raises:
        CorruptImage: there is not one whole frame, or the data is compressed.
        ClipTooLong: there are more frames than allowed.
    """
    value = element.value
    if element.length is None or _is_items(value):
        raise CorruptImage("the pixels are compressed, but the transfer syntax is uncompressed")
    size = native_frame_bytes(element, form, declared)
    count = len(value) // size
    if count == 0:
        raise CorruptImage(f"expected at least {size} bytes of pixels, got {len(value)}")
    while count > max(declared or 1, 1):
        start = (count - 1) * size
        if value.count(value[start : start + 1], start, start + size) < size:
            break
        count -= 1
    check_length(count, None, limits)
    return FrameSpans(value, [[(i * size, (i + 1) * size)] for i in range(count)])


def native_frame_bytes(element: PixelElement, form: PixelFormat, declared: int | None) -> int:
    """Length of one native frame; some writers declare 422 and store every chroma sample."""
    full = form.rows * form.columns * form.samples * form.allocated // 8
    if not form.is_half_sampled:
        return full
    half = full * 2 // 3
    half_step, full_step = (_step(element.value, size // form.rows) for size in (half, full))
    if full_step * _CLEARLY < half_step:
        return full
    if half_step * _CLEARLY < full_step:
        return half
    length = element.length or len(element.value)  # of the file before it was cut off
    fitting = [size for size in (half, full) if 0 <= length - size * (declared or 0) <= 1]
    if len(fitting) == 1:
        return fitting[0]
    return full if length >= full * max(declared or 1, 1) else half


def _step(value: bytes, row_bytes: int) -> float:
    """Mean difference of bytes that are one row apart, if rows have this length."""
    middle = max(0, len(value) - _MAX_COMPARED_BYTES) // 2
    part = np.frombuffer(value, np.uint8)[middle : middle + _MAX_COMPARED_BYTES].astype(np.int16)
    if len(part) <= row_bytes:
        return 0.0
    return float(np.abs(part[row_bytes:] - part[:-row_bytes]).mean())


def encapsulated_frames(
    element: PixelElement, form: PixelFormat, limits: DecodeLimits
) -> FrameSpans:
    """The frames of compressed pixel data (PS3.5 A.4); one that is cut off at the end is left out.

    Raises:
        CorruptImage: there is no whole frame, or the items are damaged.
        ClipTooLong: there are more frames than allowed.
    """
    value = element.value
    items, is_cut = _items(value)
    starts = _start_of(form, value, items)
    if items and not starts(value, *items[0]):
        del items[0]  # the basic offset table
    tail = items.pop() if is_cut and items else None
    frames: list[list[Span]] = []
    for item in items:
        for start, stop in _codestreams(value, item, starts):
            if not frames or starts(value, start, stop):
                frames.append([])
                check_length(len(frames), None, limits)
            frames[-1].append((start, stop))
    found = FrameSpans(value, frames, element.lost_blocks)
    if frames and _is_last_cut(found, starts, tail):
        frames.pop()
    if not frames:
        raise CorruptImage("expected at least one whole frame of compressed pixels, got none")
    return found


def stream_of(element: PixelElement) -> bytes:
    """The items of a video one after the other, also when the last one is cut off."""
    items, _ = _items(element.value)
    parts = items[1:] or items  # without the basic offset table
    return b"".join(element.value[start:stop] for start, stop in parts)


def _items(value: bytes) -> tuple[list[Span], bool]:
    """The first item and those with content, and whether the file ends within the last one."""
    spans: list[Span] = []
    at = 0
    while at + 8 <= len(value):
        tag, length = value[at : at + 4], value[at + 4 : at + 8]
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM or length == _NO_LENGTH:
            # Recorders that reserve space leave zeros where they stopped.
            if spans and not any(value[at : at + 4096]):
                break
            raise CorruptImage("the compressed pixel data is not a sequence of items")
        start = at + 8
        at = start + int.from_bytes(length, "little")
        if at > start or not spans:
            spans.append((start, min(at, len(value))))
    return spans, at > len(value)


def _is_items(value: bytes) -> bool:
    if value[:4] != _ITEM:
        return False
    try:
        return not _items(value)[1]
    except CorruptImage:
        return False


def _start_of(form: PixelFormat, value: bytes, items: list[Span]) -> _Begins:
    if form.syntax == RLE:
        return _begins_rle
    if any(begins_jpegxl(value, *item) for item in items[:2]):
        return lambda data, start, stop: _is_jpegxl_of(form, data, start, stop)
    return begins


def _begins_rle(value: bytes, start: int, stop: int) -> bool:
    """1 to 15 segments, of which the first follows the header (PS3.5 annex G.5)."""
    count, first = value[start : start + 4], value[start + 4 : start + 8]
    return (
        stop - start >= _RLE_HEADER_BYTES
        and 1 <= int.from_bytes(count, "little") <= 15
        and int.from_bytes(first, "little") == _RLE_HEADER_BYTES
    )


def _is_jpegxl_of(form: PixelFormat, value: bytes, start: int, stop: int) -> bool:
    if not begins_jpegxl(value, start, stop):
        return False
    try:
        header = read_header(value[start:stop])
    except CorruptImage:
        return False
    return (header.height_px, header.width_px) == (form.rows, form.columns)


def _codestreams(value: bytes, item: Span, starts: _Begins) -> list[Span]:
    """An item, divided where one codestream follows another in it."""
    start, stop = item
    spans = []
    if starts is begins:
        for seam in _SEAM.finditer(value, start, stop):
            spans.append((start, seam.end()))
            start = seam.end()
    return [*spans, (start, stop)]


def _is_last_cut(found: FrameSpans, starts: _Begins, tail: Span | None) -> bool:
    """Whether the last frame lacks its end.

    Args:
        tail: the item in which the file ends; it belongs to the last frame or begins another.
    """
    last = found.stored(len(found) - 1)
    if starts is not begins:
        return tail is not None and tail[1] - tail[0] >= 64 and not starts(found.value, *tail)
    if is_ended(last):
        return False
    return tail is not None or (len(found) > 1 and is_ended(found.stored(0)))
