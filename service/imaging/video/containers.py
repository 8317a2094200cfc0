"""The structure of MP4, QuickTime and AVI files, read without decoding.

FFmpeg plays the first video track that it finds, and its number of frames is that of one table.
Covers, edit lists and fragments (ISO/IEC 14496-12) therefore have to be found here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from service.arrays import Pixels

_MAX_BOXES = 100_000
_HEADER = struct.Struct(">I4s")
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"udta")
_VIDEO = (b"vide", b"pict")
_EMPTY_EDIT = -1
_UNITY = 1 << 16
_AVI_HEADER_BYTES = 65_536
_DIB_CODES = (bytes(4), b"DIB ", b"RGB ", b"RAW ")


@dataclass(frozen=True, slots=True)
class Box:
    """One box; the content is ``data[start:end]``.

    Attributes:
        path: types of the box and of those around it, such as ``moov/trak``.
        kind_at: offset of its type in the file.
        is_cut: the box claims more bytes than the file has.
    """

    path: str
    kind_at: int
    start: int
    end: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """One video track.

    Attributes:
        kind_at: offset in the file of the type of its box.
        samples: number of frames in the table of the track, and in fragments.
        declared: number of frames in the table alone.
        is_edited: an edit list plays only a part of them.
        matrix: (a, b, c, d) of the display matrix, in units of 1.
    """

    track_id: int
    kind_at: int
    samples: int
    declared: int
    is_edited: bool
    matrix: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Mp4:
    """What a file says about its video.

    Attributes:
        has_moov: there is a movie header; without one nothing can be played.
        is_fragmented: frames lie in fragments.
        is_cut: the last box claims more bytes than the file has.
        covers_at: offsets of the types of boxes that hold cover pictures.
    """

    tracks: tuple[VideoTrack, ...]
    has_moov: bool
    is_fragmented: bool
    is_cut: bool
    covers_at: tuple[int, ...]

    @property
    def main(self) -> VideoTrack | None:
        """The track with the most frames, which is never a cover."""
        return max(self.tracks, key=lambda track: track.samples, default=None)

    @property
    def is_trimmed(self) -> bool:
        """Whether an edit list plays only a part of the frames."""
        return self.main is not None and self.main.is_edited

    @property
    def _matrix(self) -> tuple[float, float, float, float]:
        return (1.0, 0.0, 0.0, 1.0) if self.main is None else self.main.matrix

    @property
    def is_mirrored(self) -> bool:
        """Whether the display matrix mirrors; FFmpeg reports its rotation alone."""
        a, b, c, d = self._matrix
        return a * d - b * c < 0

    @property
    def is_transposed(self) -> bool:
        """Whether the display matrix swaps rows and columns."""
        a, b, _, _ = self._matrix
        return abs(b) > abs(a)

    def upright(self, pixels: Pixels) -> Pixels:
        """Apply the display matrix, in steps of 90 degrees: (H, W, ...) -> (H, W, ...)."""
        a, b, c, d = self._matrix
        across, down = (c, b) if self.is_transposed else (a, d)
        if self.is_transposed:
            pixels = pixels.swapaxes(0, 1)
        pixels = pixels[:, ::-1] if across < 0 else pixels
        return np.ascontiguousarray(pixels[::-1] if down < 0 else pixels)


def read_mp4(data: bytes) -> Mp4:
    """Read the structure; a damaged part is left out."""
    boxes = list(_walk(data))
    movie_timescale = 0
    fragments: dict[int, int] = {}
    tracks: list[VideoTrack] = []
    for number, box in enumerate(boxes):
        try:
            if box.path == "moov/mvhd":
                movie_timescale = _timescale(data, box)[0]
            elif box.path == "moov/trak":
                track = _track(data, box, _inside(boxes, number), movie_timescale)
                tracks += [] if track is None else [track]
            elif box.path == "moof/traf":
                _add_fragment(data, _inside(boxes, number), fragments)
        except struct.error:
            continue
    names = {box.path.partition("/")[0] for box in boxes}
    return Mp4(
        tuple(replace(t, samples=t.samples + fragments.get(t.track_id, 0)) for t in tracks),
        has_moov="moov" in names,
        is_fragmented="moof" in names,
        is_cut=any(box.is_cut for box in boxes if "/" not in box.path),
        covers_at=tuple(box.kind_at for box in boxes if box.path.endswith("/covr")),
    )


def _inside(boxes: list[Box], number: int) -> list[Box]:
    """The boxes in a box, which follow it."""
    last = number + 1
    while last < len(boxes) and boxes[last].start < boxes[number].end:
        last += 1
    return boxes[number + 1 : last]


def with_main_track_only(data: bytes, mp4: Mp4) -> bytes:
    """The same file with its other video tracks and its cover renamed, so that none is played."""
    hidden = [*mp4.covers_at, *(track.kind_at for track in mp4.tracks if track is not mp4.main)]
    if not hidden:
        return data
    for at in hidden:
        data = _replaced(data, at, b"free")
    return data


def _replaced(data: bytes, at: int, content: bytes) -> bytes:
    """With one copy of the file, which may be large."""
    view = memoryview(data)
    return b"".join((view[:at], content, view[at + len(content) :]))


def _walk(data: bytes) -> Iterator[Box]:
    """Yield boxes in the order of the file, each before the boxes in it."""
    stack: list[tuple[str, int, int]] = [("", 0, len(data))]
    count = 0
    while stack and count < _MAX_BOXES:
        parent, at, end = stack.pop()
        if at + _HEADER.size > end:
            continue
        size, kind = _HEADER.unpack_from(data, at)
        start = at + _HEADER.size
        if size == 1 and start + 8 <= end:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        elif size == 0:
            size = end - at
        if size < start - at:
            continue
        count += 1
        path = f"{parent}/{kind.decode('latin-1')}" if parent else kind.decode("latin-1")
        box = Box(path, at + 4, start, min(at + size, end), at + size > end)
        yield box
        stack.append((parent, at + size, end))
        if kind in _CONTAINERS or path.endswith(("udta/meta", "meta/ilst")):
            skipped = 4 if kind == b"meta" else 0  # version and flags
            stack.append((path, start + skipped, box.end))


def _timescale(data: bytes, box: Box) -> tuple[int, int]:
    """(timescale, duration) of ``mvhd`` or ``mdhd`` (8.2.2, 8.4.2)."""
    if data[box.start] == 1:
        timescale, duration = struct.unpack_from(">IQ", data, box.start + 20)
    else:
        timescale, duration = struct.unpack_from(">II", data, box.start + 12)
    return int(timescale), int(duration)


def _track(data: bytes, trak: Box, boxes: list[Box], movie_timescale: int) -> VideoTrack | None:
    """From ``trak`` and the boxes in it; None unless it is video."""
    found = {box.path: box for box in reversed(boxes)}
    handler = found.get("moov/trak/mdia/hdlr")
    if handler is None or data[handler.start + 8 : handler.start + 12] not in _VIDEO:
        return None
    header = found.get("moov/trak/tkhd")
    track_id, matrix = _track_header(data, header) if header else (0, (1.0, 0.0, 0.0, 1.0))
    table = "moov/trak/mdia/minf/stbl/"
    sizes = found.get(f"{table}stsz") or found.get(f"{table}stz2")
    samples = struct.unpack_from(">I", data, sizes.start + 8)[0] if sizes else 0
    edits, media = found.get("moov/trak/edts/elst"), found.get("moov/trak/mdia/mdhd")
    is_edited = False
    if edits is not None and media is not None:
        offsets = found.get(f"{table}ctts")
        delay = struct.unpack_from(">i", data, offsets.start + 12)[0] if offsets else 0
        is_edited = _is_edited(_edits(data, edits), movie_timescale, _timescale(data, media), delay)
    return VideoTrack(track_id, trak.kind_at, samples, samples, is_edited, matrix)


def _track_header(data: bytes, box: Box) -> tuple[int, tuple[float, float, float, float]]:
    """Track id and display matrix (8.3.2)."""
    longer = 12 if data[box.start] == 1 else 0
    (track_id,) = struct.unpack_from(">I", data, box.start + (20 if longer else 12))
    matrix = struct.unpack_from(">9i", data, box.start + 40 + longer)
    a, b, c, d = (matrix[place] / _UNITY for place in (0, 1, 3, 4))
    return track_id, (a, b, c, d)


def _edits(data: bytes, box: Box) -> list[tuple[int, int, int]]:
    """(duration in the movie's timescale, media time, rate) of each edit (8.6.6)."""
    (count,) = struct.unpack_from(">I", data, box.start + 4)
    layout = struct.Struct(">Qqi" if data[box.start] == 1 else ">Iii")
    fits = (box.end - box.start - 8) // layout.size
    places = (box.start + 8 + layout.size * i for i in range(min(count, fits)))
    return [layout.unpack_from(data, at) for at in places]


def _is_edited(
    edits: list[tuple[int, int, int]], movie_timescale: int, media: tuple[int, int], delay: int
) -> bool:
    """Whether the edit list leaves frames out, repeats them or changes their pace."""
    played = [edit for edit in edits if edit[1] != _EMPTY_EDIT]
    if not played:
        return bool(edits)
    timescale, media_duration = media
    if len(played) > 1 or not movie_timescale or not timescale:
        return True
    duration, start, rate = played[0]
    # Writers of B-frames start the media at the offset of their first frame.
    if start > max(delay, 0) or rate != _UNITY:
        return True
    played_s = duration / movie_timescale
    return duration > 0 and played_s + 1.5 / movie_timescale < (media_duration - start) / timescale


def _add_fragment(data: bytes, boxes: list[Box], samples: dict[int, int]) -> None:
    """Count the samples of ``traf`` (8.8.7, 8.8.8)."""
    track_id = 0
    for box in boxes:
        if box.path == "moof/traf/tfhd":
            (track_id,) = struct.unpack_from(">I", data, box.start + 4)
        elif box.path == "moof/traf/trun":
            (count,) = struct.unpack_from(">I", data, box.start + 4)
            samples[track_id] = samples.get(track_id, 0) + count


@dataclass(frozen=True, slots=True)
class Avi:
    """What the headers of an AVI file say about its video.

    Attributes:
        declared: number of frames (``dwLength`` of AVISTREAMHEADER).
        layout_at: offset of the BITMAPINFOHEADER in the file; 0 = not found.
        is_bottom_up: uncompressed pictures start with their last row.
    """

    declared: int
    layout_at: int
    is_bottom_up: bool


def read_avi(data: bytes) -> Avi | None:
    """Of the first video stream; None without one."""
    header = data[:_AVI_HEADER_BYTES]
    at = header.find(b"strh")
    while at >= 0 and at + 44 <= len(header):
        if header[at + 8 : at + 12] == b"vids":
            (declared,) = struct.unpack_from("<I", header, at + 40)
            layout_at = header.find(b"strf", at) + 8
            if layout_at < 8 or layout_at + 40 > len(header):
                return Avi(declared, 0, is_bottom_up=False)
            (height,) = struct.unpack_from("<i", header, layout_at + 8)
            is_plain = header[layout_at + 16 : layout_at + 20] in _DIB_CODES
            return Avi(declared, layout_at, is_bottom_up=is_plain and height > 0)
        at = header.find(b"strh", at + 4)
    return None


def with_rows_from_the_top(data: bytes, avi: Avi) -> bytes:
    """The same file, with a header that says that its pictures start with their first row.

    FFmpeg then gives them upside down; OpenCV 5 crashes when FFmpeg turns them itself.
    """
    at = avi.layout_at
    (height,) = struct.unpack_from("<i", data, at + 8)
    changed = struct.pack("<i", -height) + data[at + 12 : at + 16] + bytes(4)
    return _replaced(data, at + 8, changed)
