"""Files of several pictures that Pillow reads: GIF, TIFF, and animated WebP and PNG."""

from collections.abc import Iterator

from PIL import Image, ImageFile

from service.errors import CorruptImage, ServiceError
from service.imaging.formats.frames import DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits, check_length, check_size, check_time
from service.imaging.formats.sampling import FrameSelector
from service.imaging.formats.still import frame_of, open_image

_MIN_SHOWN_MS = 10  # browsers show faster GIFs at this pace


class StackReader:
    """One opened file of one or more pictures; ``frames`` may be called more than once.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong: see ``service.errors``.
    """

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._data = data
        self._limits = limits
        image = open_image(data)
        check_size(*image.size, limits)
        frames, duration_s = self._count(image)
        self.info = ImageInfo(
            format=str(image.format).lower(),
            kind="cine" if frames > 1 else "frame",
            width_px=image.size[0],
            height_px=image.size[1],
            frames_in_file=frames,
            frame_rate_hz=frames / duration_s if frames > 1 and duration_s > 0 else None,
        )

    def _count(self, image: ImageFile.ImageFile) -> tuple[int, float]:
        """(pictures, seconds), counted one by one so that a file that is too long ends early."""
        duration_ms, count = 0.0, 0
        try:
            while True:
                image.seek(count)
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

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file. Raises as the class does."""
        image = open_image(self._data)
        elapsed_ms, has_times = 0.0, self.info.frame_rate_hz is not None
        for index in range(self.info.frames_in_file):
            try:
                image.seek(index)
                time_s = elapsed_ms / 1000 if has_times else None
                elapsed_ms += _shown_ms(image)
            except Exception as error:
                raise CorruptImage(f"the {image.format} file does not decode") from error
            if selector.takes(index, time_s):
                pixels = frame_of(image)
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
