"""Still images by Pillow: bytes -> uint8 pixels.

Shape suffixes: H height, W width.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from service.arrays import Pixels
from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat
from service.imaging.formats.file_type import unsupported
from service.imaging.formats.frames import (
    DecodedFrame,
    ImageInfo,
    rounded,
    significant_bits,
    without_colour,
)
from service.imaging.formats.limits import DecodeLimits, check_size
from service.imaging.formats.still_cost import check_scans

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_STARTS = (b"\x89PNG", b"\xff\xd8", b"BM", b"RIFF", b"GIF8", b"II*\0", b"MM\0*")
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_still(data: bytes, limits: DecodeLimits) -> tuple[ImageInfo, DecodedFrame]:
    """Decode one still image completely.

    Transparency is laid over black; 16-bit grey is scaled by the smallest of 8, 10, 12, 14 or
    16 significant bits that holds its brightest pixel; EXIF rotation is applied.

    Raises:
        UnsupportedFormat: another format, several frames, or a pixel type other than 8- or 16-bit
            integers.
        CorruptImage: the file is truncated or damaged, or a side is too short.
        ImageTooLarge: the image exceeds the limit; nothing was decoded.
        DecodeLimit: a JPEG of too many scans; nothing was decoded.
    """
    image = open_image(data)
    check_size(*image.size, limits)
    # Phones write MPO: a JPEG followed by smaller or stereo copies, which is one still.
    is_mpo = image.format == "MPO"
    if is_mpo or image.format == "JPEG":
        check_scans(data, *image.size)
    if not is_mpo and _count(image) > 1:
        raise UnsupportedFormat("expected one still frame, got an image of several frames")
    pixels = frame_of(image)
    info = ImageInfo(
        format="jpeg" if is_mpo else str(image.format).lower(),
        kind="frame",
        width_px=int(pixels.shape[1]),
        height_px=int(pixels.shape[0]),
    )
    return info, DecodedFrame(pixels)


def _count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise CorruptImage(f"the {image.format} image does not decode completely") from error


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Read the header. Raises UnsupportedFormat, CorruptImage, ImageTooLarge."""
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image declares too many pixels") from error
    except UnidentifiedImageError as error:
        if data.startswith(_STARTS):
            raise CorruptImage("the image header does not decode") from error
        raise unsupported(data) from error
    except Exception as error:
        raise CorruptImage("the image header does not decode") from error


def frame_of(image: Image.Image) -> Pixels:
    """The current frame, upright: uint8 (H, W) or, with colour, (H, W, 3).

    Raises:
        UnsupportedFormat: the pixels are floating point or have more than 16 bits.
        CorruptImage: the file is damaged.
    """
    try:
        image.load()
        return _to_pixels(ImageOps.exif_transpose(image))
    except (UnsupportedFormat, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise CorruptImage(f"the {image.format} image does not decode completely") from error


def _to_pixels(image: Image.Image) -> Pixels:
    if image.mode in _WIDE_MODES:
        return _narrow(np.asarray(image))
    if image.mode == "F":
        raise UnsupportedFormat("expected 8- or 16-bit integer pixels, got floating point")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = _over_black(image)
    if image.mode in ("L", "1"):
        return np.array(image.convert("L"), dtype=np.uint8)
    return without_colour(np.array(image.convert("RGB"), dtype=np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    """Replace transparent pixels, which hold no echo, by black and not by their hidden colour."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)


def _narrow(wide_HW: npt.NDArray[np.integer]) -> Pixels:
    """Scale 16-bit grey to 8 bits by its significant bits, so that 12-bit data is not dark."""
    brightest = int(wide_HW.max())
    if int(wide_HW.min()) < 0 or brightest > 65535:
        raise UnsupportedFormat("expected 8- or 16-bit unsigned pixels, got wider integers")
    return rounded(wide_HW.astype(np.float32) * (255 / (2 ** significant_bits(brightest) - 1)))
