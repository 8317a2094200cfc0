"""Video streams: MP4, AVI, MPEG-2, H.264, HEVC, decoded by the FFmpeg inside OpenCV.

That build is under the LGPL and lacks the x264 and x265 that other wheels include.
"""

import io
import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage
from service.imaging.formats.file_type import container_of
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_length, check_size, check_time
from service.imaging.formats.sampling import FrameSelector

# Without this list FFmpeg would also read playlists, which open other files and addresses.
_DEMUXERS = "mov,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v"
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_RATES_HZ = (0.1, 1000.0)  # values outside are not frame rates


class VideoReader:
    """One opened stream; ``frames`` may be called more than once.

    Raises:
        CorruptImage: the stream does not open, or no frame decodes.
        ImageTooLarge, ClipTooLong: the stream exceeds the limits.
    """

    def __init__(self, data: bytes, limits: DecodeLimits, *, file_format: str = "") -> None:
        self._data = data
        self._limits = limits
        capture = self._open()
        try:
            width_px = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
            height_px = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            check_size(width_px, height_px, limits)
            rate = float(capture.get(cv2.CAP_PROP_FPS))
            rate_hz = rate if _RATES_HZ[0] <= rate <= _RATES_HZ[1] else None
            declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            check_length(declared, rate_hz, limits)
            code = int(capture.get(cv2.CAP_PROP_FOURCC))
        finally:
            capture.release()
        frames = self._count(declared, rate_hz)
        self.info = ImageInfo(
            format=file_format or container_of(data),
            kind="cine" if frames > 1 else "frame",
            width_px=width_px,
            height_px=height_px,
            frames_in_file=frames,
            frame_rate_hz=rate_hz if frames > 1 else None,
            encoding=_name(code),
        )

    def _open(self) -> Any:
        os.environ[_OPTIONS] = f"format_whitelist;{_DEMUXERS}"
        one_thread = [cv2.CAP_PROP_N_THREADS, 1]
        stream: Any = io.BytesIO(self._data)  # OpenCV's stubs accept only a class of its own
        self._stream = stream  # OpenCV does not keep it alive
        try:
            capture = cv2.VideoCapture(stream, cv2.CAP_FFMPEG, one_thread)
        except cv2.error as error:
            raise CorruptImage("the video stream does not open") from error
        if not capture.isOpened():
            raise CorruptImage("the video stream does not open")
        return capture

    def _count(self, declared: int, rate_hz: float | None) -> int:
        """MP4 and AVI hold a list of their frames; other streams are counted by decoding."""
        if declared > 0 and container_of(self._data) in ("mp4", "avi"):
            return declared
        capture = self._open()
        count = 0
        try:
            while _grabbed(capture):
                count += 1
                check_length(count, rate_hz, self._limits)
        finally:
            capture.release()
        if count == 0:
            raise CorruptImage("no frame of the video stream decodes")
        return count

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in display order. Raises as the class does."""
        capture = self._open()
        index = -1
        try:
            while index != selector.last and _grabbed(capture):
                index += 1
                check_length(index + 1, None, self._limits)
                time_s = self._time_of(index, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                if selector.takes(index, time_s):
                    yield DecodedFrame(self._retrieved(capture), index, time_s)
        finally:
            capture.release()
        # The list may count a frame that is never shown; a truncated file lacks many.
        if index != selector.last and index + 1 < 0.9 * self.info.frames_in_file - 1:
            raise CorruptImage(f"expected {self.info.frames_in_file} frames, got {index + 1}")

    def _time_of(self, index: int, stamp_s: float) -> float | None:
        rate = self.info.frame_rate_hz
        time_s = stamp_s if index == 0 or stamp_s > 0 else (index / rate if rate else None)
        if time_s is not None:
            check_time(time_s, self._limits)
        return time_s

    def _retrieved(self, capture: Any) -> Pixels:
        try:
            is_there, shown = capture.retrieve()
        except cv2.error as error:
            raise CorruptImage("a frame of the video stream does not decode") from error
        expected = (self.info.height_px, self.info.width_px)
        if not is_there or shown is None or shown.shape[:2] != expected:
            raise CorruptImage("a frame of the video stream does not decode, or has another size")
        return _shown(shown)


def _shown(bgr_HW3: Pixels) -> Pixels:
    """As ``without_colour``, by OpenCV, which is several times faster than NumPy here."""
    blue_HW, green_HW, red_HW = cv2.split(bgr_HW3)
    if np.array_equal(red_HW, green_HW) and np.array_equal(red_HW, blue_HW):
        return np.asarray(red_HW, np.uint8)
    return np.asarray(cv2.cvtColor(bgr_HW3, cv2.COLOR_BGR2RGB), np.uint8)


def _grabbed(capture: Any) -> bool:
    try:
        return bool(capture.grab())
    except cv2.error as error:
        raise CorruptImage("the video stream does not decode") from error


def _name(code: int) -> str:
    letters = (code & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1").strip("\0 ")
    return letters if letters.isalnum() and letters.isascii() else ""
