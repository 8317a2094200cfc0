"""Bytes of a still image -> one greyscale frame, or an error that says why not.

Shape suffixes: H height, W width.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MIN_SIDE_PX = 8
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_SIGNIFICANT_BITS = (8, 10, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded greyscale frame.

    Attributes:
        pixels_HW: uint8 intensities, 0 = black, upright (EXIF rotation applied).
        format: lower-case name of the file format, such as ``png``.
    """

    pixels_HW: npt.NDArray[np.uint8]
    format: str

    @property
    def height_px(self) -> int:
        """Rows of the upright frame."""
        return int(self.pixels_HW.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the upright frame."""
        return int(self.pixels_HW.shape[1])


def decode(data: bytes, *, max_pixels: int) -> Frame:
    """Decode one still image completely.

    Colour becomes luma (ITU-R BT.601); transparency is laid over black; 16-bit grey is scaled
    by the smallest of 8, 10, 12, 14 or 16 significant bits that holds its brightest pixel.

    Args:
        data: the whole file.
        max_pixels: most pixels (width x height) the file may declare.

    Raises:
        UnsupportedFormat: none of PNG, JPEG, WebP, BMP, TIFF; several frames; or a
            pixel type other than 8- or 16-bit integers.
        CorruptImage: truncated or damaged, or a side under 8 px.
        ImageTooLarge: more than ``max_pixels``; nothing was decoded.
    """
    image = _open(data)
    _check_size(image, max_pixels)
    try:
        # MPO is a JPEG with smaller or stereo copies behind it, as phones write: one still.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise UnsupportedFormat("expected one still frame, got an image of several frames")
        file_format = "jpeg" if image.format == "MPO" else str(image.format).lower()
        image.load()
        pixels_HW = _to_grey(ImageOps.exif_transpose(image))
    except UnsupportedFormat:
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise CorruptImage(f"the {image.format} image does not decode completely") from error
    return Frame(np.ascontiguousarray(pixels_HW), file_format)


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image declares too many pixels") from error
    except UnidentifiedImageError as error:
        raise UnsupportedFormat(
            f"expected PNG, JPEG, WebP, BMP or TIFF, got {_guess(data)}"
        ) from error
    except Exception as error:
        raise CorruptImage("the image header does not decode") from error


def _guess(data: bytes) -> str:
    """Name what the bytes look like, for the error message only."""
    if not data:
        return "an empty file"
    if data[128:132] == b"DICM":
        return "DICOM, which this version does not read yet"
    if data[:4] == b"GIF8":
        return "GIF, which this version does not read yet"
    if data[4:8] == b"ftyp" or data[:4] == b"RIFF":
        return "a video clip, which this version does not read yet"
    return "bytes of no known image format"


def _check_size(image: ImageFile.ImageFile, max_pixels: int) -> None:
    width_px, height_px = image.size
    if width_px * height_px > max_pixels:
        raise ImageTooLarge(f"expected at most {max_pixels} pixels, got {width_px} x {height_px}")
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise CorruptImage(
            f"expected sides of at least {MIN_SIDE_PX} px, got {width_px} x {height_px}"
        )


def _to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _WIDE_MODES:
        return _narrow(np.asarray(image))
    if image.mode == "F":
        raise UnsupportedFormat("expected 8- or 16-bit integer pixels, got floating point")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = _over_black(image)
    if image.mode != "L":
        image = image.convert("RGB").convert("L")
    return np.asarray(image, dtype=np.uint8)


def _over_black(image: Image.Image) -> Image.Image:
    """Transparent pixels carry no echo: they become black, not their hidden colour."""
    rgba = image.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)


def _narrow(wide_HW: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Scale 16-bit grey to 8 bits by its significant bits, so that 12-bit data is not black."""
    brightest = int(wide_HW.max())
    if int(wide_HW.min()) < 0 or brightest > 65535:
        raise UnsupportedFormat("expected 8- or 16-bit unsigned pixels, got wider integers")
    bits = next(b for b in _SIGNIFICANT_BITS if brightest < 2**b)
    scaled_HW = wide_HW.astype(np.float32) * (255 / (2**bits - 1))
    narrow_HW: npt.NDArray[np.uint8] = np.rint(scaled_HW).astype(np.uint8)
    return narrow_HW
