"""Video streams: MP4, AVI, MPEG-2, H.264, HEVC, Matroska, WMV, FLV: bytes -> frames.

Headers are often wrong about the number of frames, so frames are counted: by packets where each
packet is a frame, otherwise by decoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage, UnsupportedFormat
from service.imaging.formats.file_type import container_of
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_length, check_size, check_time
from service.imaging.formats.lost_blocks import without_lost_end
from service.imaging.formats.sampling import FrameSelector
from service.imaging.pixel_data.lost_data import FILLING
from service.imaging.video.capture import Capture, marked_progressive, packets
from service.imaging.video.containers import (
    Mp4,
    read_avi,
    read_mp4,
    with_main_track_only,
    with_rows_from_the_top,
)

_RATES_HZ = (0.1, 1000.0)  # values outside are not frame rates
_SAME_RATE = 0.02
# Codecs (FourCC, lower case) whose packets are one shown frame each. In AVI these are only codecs
# without references: packets of the others there may hold several frames, or none.
_FRAME_PACKETS = {
    "mp4": frozenset(
        ("h264", "avc1", "hevc", "hvc1", "hev1", "mjpg", "jpeg", "fmp4", "mp4v", "rle", "mpng")
    ),
    "avi": frozenset(("", "mjpg", "hfyu", "ffvh", "ffv1")),
}
_INTRA = frozenset(("mjpg", "jpeg", "hfyu", "ffvh", "ffv1"))  # no frame is made from another
_PLAIN = frozenset(("", "rle", "mrle"))  # codecs in which rows of black are zeros
_HEVC = frozenset(("hevc", "hvc1", "hev1"))
_MAX_REORDER = 16  # frames decoded before one that is shown earlier (H.265 A.4.2)
_ZEROS = bytes(64)  # of a block that takes parts of several packets
_MAX_DELAY = 4  # frames that a decoder may show after it has met the damage of a later one
_SUPPORTED = frozenset(
    (*_FRAME_PACKETS["mp4"], *_FRAME_PACKETS["avi"], "mpg1", "mpg2", "vp80", "vp90")
)


@dataclass(frozen=True, slots=True)
class _Header:
    """What FFmpeg finds in the headers.

    Attributes:
        estimated: frames by the duration, where the container declares no number.
        pixel_aspect: height / width of a pixel; 0 = not declared.
    """

    width_px: int
    height_px: int
    rate_hz: float | None
    codec: str
    estimated: int
    pixel_aspect: float


class VideoReader:
    """One opened stream; ``frames`` may be called more than once.

    Args:
        file_format: name of the format in ``info``; empty = by the content.
        has_lost_blocks: whether ``data`` comes from a file that has blocks of zeros.

    Raises:
        CorruptImage: the stream does not open, or no frame decodes.
        UnsupportedFormat: there is no video track, or its codec or kind is not supported.
        ImageTooLarge, ClipTooLong: the stream exceeds the limits.
    """

    def __init__(
        self,
        data: bytes,
        limits: DecodeLimits,
        *,
        file_format: str = "",
        has_lost_blocks: bool = False,
    ) -> None:
        self._limits = limits
        data, blocks = without_lost_end(data)
        has_lost_blocks = has_lost_blocks or bool(blocks)
        self._container = container_of(data)
        self._mp4 = read_mp4(data) if self._container == "mp4" else None
        if self._mp4 is not None:
            _refuse_unplayable(self._mp4)
            data = with_main_track_only(data, self._mp4)
        self._avi = read_avi(data) if self._container == "avi" else None
        if self._container == "avi" and self._avi is None:
            raise UnsupportedFormat("expected an AVI file with a video stream, got one without")
        if self._avi is not None and self._avi.is_bottom_up:
            data = with_rows_from_the_top(data, self._avi)
        self._data = data
        self._header = self._read_header()
        self._has_stamps = self._container != "avi"  # a frame of AVI has a number and no time
        self._mark_progressive()
        if has_lost_blocks:
            self._refuse_lost_blocks()
        declared = self._declared()
        frames, rate_hz = self._count(declared)
        is_wrong = declared is not None and declared != frames
        if self._mp4 is not None and self._mp4.is_trimmed:
            is_wrong = False  # the table counts all frames, and the edit list names those shown
        info = ImageInfo(
            format=file_format or self._container,
            kind="cine" if frames > 1 else "frame",
            width_px=self._header.width_px,
            height_px=self._header.height_px,
            frames_in_file=frames,
            frame_rate_hz=rate_hz if frames > 1 else None,
            encoding=self._header.codec,
            corrections=(Correction("frame_count", declared, frames),) if is_wrong else (),
        )
        self.info = replace(info, pixel_aspect=self._header.pixel_aspect or 1.0)

    def _open(self) -> Capture:
        is_turned_here = self._mp4 is not None and self._mp4.is_mirrored
        return Capture(self._data, turns=not is_turned_here)

    def _read_header(self) -> _Header:
        with self._open() as capture:
            width_px = int(capture.number("FRAME_WIDTH"))
            height_px = int(capture.number("FRAME_HEIGHT"))
            check_size(width_px, height_px, self._limits)
            rate = capture.number("FPS")
            numerator, denominator = capture.number("SAR_NUM"), capture.number("SAR_DEN")
            is_upright = int(capture.number("ORIENTATION_META")) % 180 == 0
            aspect = denominator / numerator if numerator and denominator else 0.0
            codec = _name(int(capture.number("FOURCC")))
            estimated = int(capture.number("FRAME_COUNT"))
        if self._mp4 is not None and self._mp4.is_mirrored:
            is_upright = not self._mp4.is_transposed
            if not is_upright:
                width_px, height_px = height_px, width_px
        return _Header(
            width_px,
            height_px,
            rate if _RATES_HZ[0] <= rate <= _RATES_HZ[1] else None,
            codec,
            estimated,
            aspect if is_upright or not aspect else 1 / aspect,
        )

    def _mark_progressive(self) -> None:
        """OpenCV shows no frame of MPEG-2 that is marked as interlaced, as most recordings are."""
        if self._container != "mpeg" or self._header.codec.lower() != "mpg2":
            return
        stream = b"".join(packets(self._data))
        changed = marked_progressive(stream)
        if changed != stream:
            self._data, self._has_stamps = changed, False

    def _declared(self) -> int | None:
        """The number of frames that the file states; None where the container states none."""
        if self._mp4 is not None and self._mp4.main is not None:
            track = self._mp4.main
            return None if self._mp4.is_fragmented and not track.declared else track.declared
        return None if self._avi is None else self._avi.declared

    def _count(self, declared: int | None) -> tuple[int, float | None]:
        """(frames, frames a second)."""
        rate_hz = self._header.rate_hz
        if self._header.codec.lower() in _FRAME_PACKETS.get(self._container, ()):
            count = self._count_packets()
            check_length(count, rate_hz, self._limits)
            expected = self._mp4.main.samples if self._mp4 and self._mp4.main else declared
            is_whole = self._mp4 is None or not (self._mp4.is_cut or self._mp4.is_trimmed)
            if count and count == expected and is_whole:
                return count, rate_hz
        times_s = self._whole_times_s()
        count = len(times_s)
        self._refuse_empty(count)
        measured = (count - 1) / times_s[-1] if times_s[-1] else None
        if measured and rate_hz and abs(measured / rate_hz - 1) > _SAME_RATE:
            rate_hz = measured
        check_length(count, rate_hz, self._limits)
        return count, rate_hz

    def _whole_times_s(self) -> list[float]:
        """The time of each frame, without a last one that a recording cut off."""
        times_s, first_damaged = [], None
        for index, (time_s, capture) in enumerate(self._pass()):
            times_s.append(time_s)
            if capture.is_damaged and first_damaged is None:
                first_damaged = index
        is_cut = first_damaged is not None and len(times_s) - first_damaged <= _MAX_DELAY
        times_s = times_s[:first_damaged] if is_cut else times_s
        is_stream = self._container == "mpeg" and self._header.codec.lower() in _HEVC
        return times_s[: self._first_made_up(len(times_s))] if is_stream else times_s

    def _first_made_up(self, frames: int) -> int:
        """The first of the last frames of a stream of HEVC whose data the end of the file cut off.

        The decoder says nothing and makes up the rest. But it skips bytes between a whole picture
        and the next start code, so bytes put there change the frame only where data was missing.
        """
        stream = b"".join(packets(self._data))
        with Capture(stream) as plain, Capture(stream + FILLING) as filled:
            for index in range(frames):
                if not plain.grab() or not filled.grab():
                    return frames
                is_last = index >= frames - _MAX_REORDER
                if is_last and not np.array_equal(plain.retrieve(), filled.retrieve()):
                    return index
        return frames

    def _refuse_lost_blocks(self) -> None:
        """Raises CorruptImage: a block of zeros in the file lies in the video.

        HEVC, VP8 and VP9 decode it without a word, and others often do. Frames may be missing
        without a trace, so that those after them are made from wrong ones.
        """
        codec = self._header.codec.lower()
        if codec not in _PLAIN and (self._container != "mp4" or self._lacks_samples()):
            raise CorruptImage(
                "a part of the video is missing: the file has a block of zeros there"
            )

    def _lacks_samples(self) -> bool:
        """Of an MP4 file, whose silent sound may also be blocks of zeros."""
        count = 0
        for packet in packets(self._data):
            check_length(count, None, self._limits)
            if _ZEROS in packet:
                return True
            count += 1
        main = self._mp4.main if self._mp4 is not None else None
        return main is None or count != main.samples

    def _count_packets(self) -> int:
        with Capture(self._data, is_raw=True) as capture:
            count = 0
            while count <= self._limits.max_clip_frames and capture.grab():
                count += 1
        return count

    def _refuse_empty(self, count: int) -> None:
        codec = self._header.codec
        if count == 0 and codec.lower() not in _SUPPORTED:
            raise UnsupportedFormat(
                f"the video codec {codec} is not supported; convert the video to H.264 in MP4"
            )
        is_one_of_many = count == 1 and self._container == "mkv" and self._header.estimated > 1
        if count == 0 or is_one_of_many:
            raise CorruptImage("no frame of the video stream decodes")

    def _pass(self) -> Iterator[tuple[float, Capture]]:
        """Decode all frames, in display order: the time of each, and where to retrieve it."""
        rate_hz = self._header.rate_hz
        first_s = time_s = 0.0
        with self._open() as capture:
            index = 0
            while capture.grab():
                check_length(index + 1, None, self._limits)
                stamp_s = capture.number("POS_MSEC") / 1000
                if index == 0:
                    first_s = stamp_s
                elif self._has_stamps and stamp_s - first_s > time_s:
                    time_s = stamp_s - first_s
                elif rate_hz:
                    by_rate_s = index / rate_hz
                    time_s = by_rate_s if by_rate_s > time_s else time_s + 1 / rate_hz
                check_time(time_s, self._limits)
                yield time_s, capture
                index += 1

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in display order. Raises as the class does."""
        index, is_damaged, is_intra = -1, False, self._header.codec.lower() in _INTRA
        for index, (time_s, capture) in enumerate(self._pass()):
            if index >= self.info.frames_in_file:
                return
            # Later frames are made from a damaged one.
            is_damaged = capture.is_damaged or (is_damaged and not is_intra)
            if selector.takes(index, time_s):
                if is_damaged:
                    raise CorruptImage(f"frame {index} of the video lost data")
                yield DecodedFrame(self._shown(capture.retrieve()), index, time_s)
            if index == selector.last:
                return
        # A damaged frame between others may be left out.
        if index + 1 < 0.9 * self.info.frames_in_file - 1:
            raise CorruptImage(f"expected {self.info.frames_in_file} frames, got {index + 1}")

    def _shown(self, bgr_HW3: Pixels) -> Pixels:
        if self._mp4 is not None and self._mp4.is_mirrored:
            bgr_HW3 = self._mp4.upright(bgr_HW3)
        if self._avi is not None and self._avi.is_bottom_up:
            bgr_HW3 = bgr_HW3[::-1]
        if bgr_HW3.shape[:2] != (self.info.height_px, self.info.width_px):
            raise CorruptImage("a frame of the video stream has another size than the others")
        return _rgb_or_grey(np.ascontiguousarray(bgr_HW3))


def _refuse_unplayable(mp4: Mp4) -> None:
    if not mp4.has_moov:
        raise CorruptImage(
            "the MP4 file has no movie header (moov), as after a recording that was cut off; "
            "repair it with the program that recorded it"
        )
    if mp4.main is None:
        raise UnsupportedFormat("expected an MP4 file with a video track, got one without")


def _rgb_or_grey(bgr_HW3: Pixels) -> Pixels:
    """As ``without_colour``, by OpenCV, which is several times faster than NumPy here."""
    few = bgr_HW3[::16, ::16]
    if np.array_equal(few[..., 0], few[..., 1]) and np.array_equal(few[..., 1], few[..., 2]):
        blue_HW, green_HW, red_HW = cv2.split(bgr_HW3)
        if np.array_equal(red_HW, green_HW) and np.array_equal(red_HW, blue_HW):
            return np.asarray(red_HW, np.uint8)
    return np.asarray(cv2.cvtColor(bgr_HW3, cv2.COLOR_BGR2RGB), np.uint8)


def _name(code: int) -> str:
    letters = (code & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1").strip("\0 ")
    return letters if letters.isalnum() and letters.isascii() else ""
