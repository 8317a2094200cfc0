"""Opens streams with the FFmpeg inside OpenCV: packets and decoded frames.

That build is under the LGPL and lacks the x264 and x265 that other wheels include.
"""

import io
import os
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from service.arrays import Pixels
from service.errors import CorruptImage, UnsupportedFormat

# Without this list FFmpeg would also read playlists, which open other files and addresses.
_DEMUXERS = "mov,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,matroska,asf,flv"
# A packet that is cut off would show as a frame that is partly grey.
_OPTIONS = f"format_whitelist;{_DEMUXERS}|fflags;discardcorrupt"
_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_RAW = (cv2.CAP_PROP_FORMAT, -1)
# picture_coding_extension (ISO/IEC 13818-2, 6.2.3.1): progressive_frame is bit 7 of byte 8.
_PICTURE_EXTENSION = re.compile(rb"\x00\x00\x01\xb5[\x80-\x8f].{4}", re.DOTALL)
_STDERR, _MAX_ERROR_BYTES = 2, 65_536
# What the decoders of MPEG-1, 2 and 4, H.264, Motion JPEG and FFV1 say of a picture whose data does
# not decode. They show it all the same, with what they make up. HEVC, VP8 and VP9 say nothing.
_DAMAGE = re.compile(
    rb"error while decoding MB|Error at MB|damaged at|end mismatch|[Ii]nvalid (mb type|cbp)"
    rb"|skipped MB in I-frame|\] error [yd]|slice CRC mismatch"
)


class Capture:
    """One pass over a stream. Use as a context manager.

    Args:
        data: the whole file.
        is_raw: give packets, which is fast, instead of decoded frames.
        turns: apply the rotation that the container declares.

    Attributes:
        is_damaged: whether the last grab met data that does not decode.

    Raises:
        CorruptImage: the stream does not open.
    """

    def __init__(self, data: bytes, *, is_raw: bool = False, turns: bool = True) -> None:
        os.environ[_VARIABLE] = _OPTIONS
        parameters: list[int] = [cv2.CAP_PROP_N_THREADS, 1, *(_RAW if is_raw else ())]
        self.is_damaged = False
        stream: Any = io.BytesIO(data)  # OpenCV's stubs accept only a class of its own
        self._stream = stream  # OpenCV does not keep it alive
        try:
            self._capture = cv2.VideoCapture(stream, cv2.CAP_FFMPEG, parameters)
        except cv2.error as error:
            raise CorruptImage("the video stream does not open") from error
        if not self._capture.isOpened():
            raise CorruptImage("the video stream does not open")
        if not turns:
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *error: object) -> None:
        self._capture.release()

    def number(self, name: str) -> float:
        """A property, such as ``FRAME_WIDTH``; 0 where it is unknown."""
        value = float(self._capture.get(getattr(cv2, f"CAP_PROP_{name}")))
        return value if np.isfinite(value) and value > 0 else 0.0

    def grab(self) -> bool:
        """Decode the next frame, or read the next packet; False at the end of the stream."""
        with _ErrorOutput() as errors:
            try:
                is_there = bool(self._capture.grab())
            except cv2.error as error:
                raise CorruptImage("a frame of the video stream does not decode") from error
        self.is_damaged = _DAMAGE.search(errors.text) is not None
        return is_there

    def retrieve(self) -> Pixels:
        """The grabbed frame, uint8 (H, W, 3) in the order blue, green, red, or its packet.

        Raises:
            CorruptImage: it does not decode.
            UnsupportedFormat: OpenCV cannot show it, such as interlaced frames.
        """
        with _ErrorOutput() as errors:
            try:
                is_there, shown = self._capture.retrieve()
            except cv2.error as error:
                raise CorruptImage("a frame of the video stream does not decode") from error
        # Where the conversion to RGB fails, OpenCV returns whatever was in that memory.
        if b"swscaler" in errors.text or b"Invalid argument" in errors.text:
            is_interlaced = b"interlaced" in errors.text
            kind = "interlaced" if is_interlaced else "of a pixel format that is not supported"
            raise UnsupportedFormat(
                f"the video is {kind}; convert it to progressive H.264 in MP4, or export stills"
            )
        if not is_there or shown is None:
            raise CorruptImage("a frame of the video stream does not decode")
        return np.asarray(shown, np.uint8)


class _ErrorOutput:
    """Collects what FFmpeg writes to the error output, which is the only place for some errors.

    Attributes:
        text: the first of what was written; complete after the block.
    """

    def __init__(self) -> None:
        self.text = b""

    def __enter__(self) -> "_ErrorOutput":
        # A pipe, because a decoder process may not write files.
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(writing, False)  # what does not fit is lost
        self._kept = os.dup(_STDERR)
        os.dup2(writing, _STDERR)
        os.close(writing)
        return self

    def __exit__(self, *error: object) -> None:
        os.dup2(self._kept, _STDERR)
        os.close(self._kept)
        self.text = os.read(self._reading, _MAX_ERROR_BYTES)
        os.close(self._reading)


def packets(data: bytes) -> Iterator[bytes]:
    """Yield the compressed frames in the order of decoding. Raises CorruptImage."""
    with Capture(data, is_raw=True) as capture:
        while capture.grab():
            yield capture.retrieve().tobytes()


def marked_progressive(stream: bytes) -> bytes:
    """An MPEG-2 elementary stream whose pictures are not marked as interlaced.

    The mark concerns displays and decodes to the same pixels, but OpenCV shows no frame with it.
    """
    changed = bytearray(stream)
    for match in _PICTURE_EXTENSION.finditer(stream):
        changed[match.end() - 1] |= 0x80
    return bytes(changed)
