"""GIF, animated WebP and PNG, HEIC, AVIF and JPEG 2000, by Pillow in a decoder process."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

from PIL import Image, ImageFile

from service.errors import CorruptImage, ServiceError
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_length, check_size, check_time
from service.imaging.formats.lost_blocks import refuse_lost_blocks
from service.imaging.formats.sampling import FrameSelector
from service.imaging.formats.still import (
    Tone,
    declared_aspect,
    format_name,
    frame_of,
    open_image,
    orientation_of,
    tone_of,
)
from service.imaging.stacks.gif_palettes import with_palettes

_MIN_SHOWN_MS = 10  # browsers show faster GIFs at this pace
_PNG_HEADER_BYTES = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"


class StackReader:
    """One opened file of one or more pictures; ``frames`` may be called more than once.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong: see ``service.errors``.
    """

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._limits = limits
        self._data, declared = _with_true_count(data)
        image = self._opened()
        check_size(*image.size, limits)
        refuse_lost_blocks(data)
        # The picture before an animation is for programs that cannot show one (PNG, 4.9).
        self._first = 1 if getattr(image, "default_image", False) else 0
        aspect = declared_aspect(image, self._data)
        width_px, height_px = image.size
        if orientation_of(image) >= 5:
            width_px, height_px = height_px, width_px
        name = format_name(image)
        frames, duration_s = self._count(image)
        self._tone = self._read_tone(frames)
        lies = [Correction("alpha")] if self._tone.ignores_alpha else []
        if declared is not None and declared != frames:
            lies.append(Correction("frame_count", declared, frames))
        info = ImageInfo(
            format=name,
            kind="cine" if frames > 1 else "frame",
            width_px=width_px,
            height_px=height_px,
            frames_in_file=frames,
            frame_rate_hz=frames / duration_s if frames > 1 and duration_s > 0 else None,
            corrections=tuple(lies),
        )
        self.info = replace(info, pixel_aspect=aspect or 1.0)

    def _opened(self) -> ImageFile.ImageFile:
        return with_palettes(open_image(self._data), self._data)

    def _count(self, image: ImageFile.ImageFile) -> tuple[int, float]:
        """(pictures, seconds), counted one by one so that a file that is too long ends early."""
        if image.format == "HEIF":  # one of its pictures is the one to show
            return 1, 0.0
        duration_ms, count = 0.0, 0
        try:
            while True:
                image.seek(self._first + count)
                duration_ms += _shown_ms(image)
                count += 1
                check_length(count, None, self._limits)
                check_time(duration_ms / 1000, self._limits)
        except EOFError:
            pass
        except ServiceError:
            raise
        except Exception as error:  # Pillow's plugins raise many types on damaged files
            raise CorruptImage(f"the {image.format} file does not decode completely") from error
        if count == 0:
            raise CorruptImage("expected at least one picture in the file, got none")
        return count, duration_ms / 1000

    def _read_tone(self, frames: int) -> Tone:
        """From all pictures where the first is wide or transparent, else from none."""
        brightest, is_hidden = 0, True
        for _, image in self._images(frames):
            tone = tone_of(image, self._data)
            brightest = max(brightest, tone.brightest)
            is_hidden = is_hidden and tone.ignores_alpha
            if not brightest and not is_hidden:
                break
        return Tone(brightest, is_hidden)

    def _images(self, frames: int) -> Iterator[tuple[int, ImageFile.ImageFile]]:
        """Yield each picture, ready to be loaded."""
        image = self._opened()
        for index in range(frames):
            try:
                if image.format != "HEIF":
                    image.seek(self._first + index)
            except Exception as error:
                raise CorruptImage(f"the {image.format} file does not decode") from error
            yield index, image

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file. Raises as the class does."""
        elapsed_ms, has_times = 0.0, self.info.frame_rate_hz is not None
        for index, image in self._images(self.info.frames_in_file):
            time_s = elapsed_ms / 1000 if has_times else None
            elapsed_ms += _shown_ms(image)
            if selector.takes(index, time_s):
                pixels = frame_of(image, self._tone, self._data)
                if pixels.shape[:2] != (self.info.height_px, self.info.width_px):
                    raise CorruptImage("expected pictures of one size in one file")
                yield DecodedFrame(pixels, index, time_s)
            if index == selector.last:
                return


def _shown_ms(image: Image.Image) -> float:
    """How long the picture is shown; 0 when unknown, as for WebP before it is decoded."""
    duration_ms = image.info.get("duration", 0)
    if image.format not in ("GIF", "PNG") or not isinstance(duration_ms, int | float):
        return 0.0
    return max(float(duration_ms), _MIN_SHOWN_MS)


def _with_true_count(data: bytes) -> tuple[bytes, int | None]:
    """An animated PNG with the number of frames that it holds, and the declared number.

    A frame whose last chunk is cut off is left out. Other files stay as they are.
    """
    if data[1:4] != b"PNG":
        return data, None
    at, control, whole, count, is_open = _PNG_HEADER_BYTES, 0, 0, 0, False
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        if kind == b"acTL":
            control = control or at
        elif kind in (b"fcTL", b"IEND"):
            count += is_open  # the frame before is complete
            whole, is_open = at, False
        elif kind in (b"IDAT", b"fdAT") and whole:
            is_open = True
        at += 12 + length
    if not control:
        return data, None
    (declared,) = struct.unpack_from(">I", data, control + 8)
    if declared == count and data.endswith(_END):
        return data, declared
    if count == 0:
        raise CorruptImage("expected at least one whole frame in the animated PNG, got none")
    content = b"acTL" + struct.pack(">I", count) + data[control + 12 : control + 16]
    chunk = struct.pack(">I", 8) + content + struct.pack(">I", zlib.crc32(content))
    return data[:control] + chunk + data[control + 20 : whole] + _END, declared
