"""Still images by Pillow: bytes -> uint8 pixels.

Shape suffixes: H height, W width, C channels.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import imagecodecs
import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import Image, ImageFile, UnidentifiedImageError

from service.arrays import Pixels
from service.errors import CorruptImage, ImageTooLarge, ServiceError, UnsupportedFormat
from service.imaging.formats.codestream import jpeg2000_depths, read_header
from service.imaging.formats.file_type import unsupported
from service.imaging.formats.frames import (
    Correction,
    DecodedFrame,
    ImageInfo,
    rounded,
    significant_bits,
    without_colour,
)
from service.imaging.formats.limits import DecodeLimits, check_size
from service.imaging.formats.lost_blocks import refuse_lost_blocks
from service.imaging.formats.plain_still import is_plain_png, plain_pixels
from service.imaging.formats.still_cost import check_scans
from service.imaging.pixel_data.lost_data import lost_data

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF", "JPEG2000")
_STARTS = (b"\x89PNG", b"\xff\xd8", b"BM", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_PNG_COLOURS = {2: 3, 4: 1, 6: 3}  # colour types whose 16 bits Pillow cuts to 8: colour channels
_JPEG2000_COLOURS = {"LA": 1, "RGB": 3, "RGBA": 3}  # modes that Pillow always has in 8 bits
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Tone:
    """What all pictures of one file share, so that it does not depend on which are used.

    Attributes:
        brightest: the largest sample of pictures of more than 8 bits.
        ignores_alpha: every pixel of every picture is transparent, which nobody means.
    """

    brightest: int = 0
    ignores_alpha: bool = False


@dataclass(frozen=True, slots=True)
class _Wide:
    """Samples of more than 8 bits.

    Attributes:
        samples_HWC: as stored; of the channels behind the colours, only alpha is used.
        colours: the number of channels that are colours.
        opaque: the alpha of a pixel that is not transparent at all.
    """

    samples_HWC: npt.NDArray[np.integer]
    colours: int
    opaque: int = 65535

    @property
    def has_alpha(self) -> bool:
        return int(self.samples_HWC.shape[2]) > self.colours


def read_still(data: bytes, limits: DecodeLimits) -> tuple[ImageInfo, DecodedFrame]:
    """Decode one still image completely.

    Transparency is laid over black, unless it covers the whole picture; 16-bit samples are scaled
    by the smallest of 8, 10, 12, 14 or 16 significant bits that holds the brightest one; EXIF
    rotation is applied. Colour profiles and gamma are ignored, as the encoder was trained.

    Raises:
        UnsupportedFormat: another format, several frames, or a pixel type other than 8- or 16-bit
            integers.
        CorruptImage: the file is truncated or damaged, a JPEG has less data than its pixels need,
            a block of the file was lost, or a side is too short.
        ImageTooLarge: the image exceeds the limit; nothing was decoded.
        DecodeLimit: a JPEG of too many scans; nothing was decoded.
    """
    image = open_image(data)
    check_size(*image.size, limits)
    # Phones write MPO: a JPEG followed by smaller or stereo copies, which is one still.
    is_mpo = image.format == "MPO"
    is_jpeg = is_mpo or image.format == "JPEG"
    if is_jpeg:
        check_scans(data, *image.size)
    if not is_mpo and _count(image) > 1:
        raise UnsupportedFormat("expected one still frame, got an image of several frames")
    tone, stored = Tone(), plain_pixels(image, data)
    if stored is None:
        tone = tone_of(image, data)
        pixels = frame_of(image, tone, data)
    else:
        pixels = stored if stored.ndim == 2 else without_colour(stored)
        # A plain PNG has none, and Pillow would decode the picture to look for it.
        pixels = upright(pixels, 1 if is_plain_png(data) else orientation_of(image))
    refuse_lost_blocks(data)
    if is_jpeg:
        _refuse_lost_data(image, data, stored)
    info = ImageInfo(
        format="jpeg" if is_mpo else format_name(image),
        kind="frame",
        width_px=int(pixels.shape[1]),
        height_px=int(pixels.shape[0]),
        corrections=(Correction("alpha"),) if tone.ignores_alpha else (),
    )
    aspect = declared_aspect(image, data) or 1.0
    return replace(info, pixel_aspect=aspect), DecodedFrame(pixels)


def _refuse_lost_data(image: Image.Image, data: bytes, stored: Pixels | None) -> None:
    """Raises CorruptImage: libjpeg made up a part of the picture.

    Args:
        stored: what imagecodecs decoded; None where Pillow did.
    """

    def decode(packed: bytes) -> Pixels:
        if stored is not None:
            return np.asarray(imagecodecs.jpeg8_decode(packed))
        again = open_image(packed)
        with _loaded(again):
            return np.asarray(again)

    samples = np.asarray(image) if stored is None else stored
    if lost_data(data, samples, decode, is_lossless=False):
        raise CorruptImage("the JPEG has less data than its pixels need")


def format_name(image: Image.Image) -> str:
    """Lower-case name for ``ImageInfo``."""
    name = str(image.format).lower()
    return "heic" if name == "heif" else name


def _count(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1) or 1)
    except Exception as error:
        raise CorruptImage(f"the {image.format} image does not decode completely") from error


@cache
def _register_heif() -> None:
    """Let Pillow open HEIC by libheif, which rotates and mirrors as the file declares."""
    pi_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Read the header. Raises UnsupportedFormat, CorruptImage, ImageTooLarge."""
    _register_heif()
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge("the image declares too many pixels") from error
    except UnidentifiedImageError as error:
        if data[:2] == b"\xff\xd8":
            _refuse_jpeg_process(data)
        if data.startswith(_STARTS) or data[4:8] == b"ftyp":
            raise CorruptImage("the image header does not decode") from error
        raise unsupported(data) from error
    except Exception as error:
        raise CorruptImage("the image header does not decode") from error


def _refuse_jpeg_process(data: bytes) -> None:
    """Raises UnsupportedFormat: a JPEG that only DICOM files contain; CorruptImage."""
    header = read_header(data)
    if header.is_lossless or header.bits != 8:
        kind = "lossless JPEG" if header.is_lossless else f"JPEG of {header.bits} bits"
        raise UnsupportedFormat(f"{kind} is not supported outside DICOM; export the picture as PNG")


def tone_of(image: Image.Image, data: bytes) -> Tone:
    """Of the current frame. Raises UnsupportedFormat, CorruptImage."""
    with _loaded(image):
        wide = _wide_samples(image, data)
        if wide is not None:
            colours_HWC = wide.samples_HWC[..., : wide.colours]
            hides = wide.has_alpha and hides_picture(
                wide.samples_HWC[..., wide.colours], colours_HWC
            )
            return Tone(_brightest(colours_HWC), hides)
        if not _has_alpha(image):
            return Tone()
        rgba_HWC = np.asarray(_rgba(image, data))
        return Tone(ignores_alpha=hides_picture(rgba_HWC[..., 3], rgba_HWC[..., :3]))


def hides_picture(alpha: npt.NDArray[np.integer], colour: npt.NDArray[np.integer]) -> bool:
    """Whether every pixel is transparent although the colours under it differ."""
    return not alpha.any() and int(colour.max()) > int(colour.min())


def frame_of(image: Image.Image, tone: Tone, data: bytes) -> Pixels:
    """The current frame, upright: uint8 (H, W) or, with colour, (H, W, 3).

    Args:
        tone: of the whole file.
        data: the file.

    Raises:
        UnsupportedFormat: the pixels are floating point or have more than 16 bits.
        CorruptImage: the file is damaged.
    """
    with _loaded(image):
        orientation = orientation_of(image)
        wide = _wide_samples(image, data)
        if wide is None:
            pixels = _eight_bit_pixels(image, tone, data)
        else:
            pixels = _narrow(wide, tone)
            transparent = image.info.get("transparency")
            if pixels.ndim == 2 and isinstance(transparent, int):
                hidden_HW = wide.samples_HWC[..., 0] == transparent
                pixels = np.where(hidden_HW, 0, pixels).astype(np.uint8)
        return upright(pixels, orientation)


@contextmanager
def _loaded(image: Image.Image) -> Iterator[None]:
    try:
        image.load()
        yield
    except (ServiceError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        raise CorruptImage(f"the {image.format} image does not decode completely") from error


def _wide_samples(image: Image.Image, data: bytes) -> _Wide | None:
    """None for images of 8 bits."""
    if image.mode in _WIDE_MODES:
        return _Wide(np.asarray(image)[..., None], 1)
    if image.mode == "F":
        raise UnsupportedFormat("expected 8- or 16-bit integer pixels, got floating point")
    if image.format == "JPEG2000" and image.mode in _JPEG2000_COLOURS:
        return _wide_jpeg2000(data, _JPEG2000_COLOURS[image.mode])
    colours = _PNG_COLOURS.get(_png_colour_type(data))
    if image.format != "PNG" or colours is None:
        return None
    if getattr(image, "is_animated", False):
        raise UnsupportedFormat("animated PNG of 16-bit colour is not supported; use 8 bits")
    return _Wide(np.asarray(imagecodecs.png_decode(data)), colours)


def _wide_jpeg2000(data: bytes, colours: int) -> _Wide | None:
    """Pillow rounds these samples to 8 bits without clipping, so that white becomes black."""
    depths = jpeg2000_depths(data)
    if max(depths) <= 8:
        return None
    if len(set(depths)) > 1:
        raise UnsupportedFormat(
            "JPEG 2000 of more than 8 bits is read with components of one depth, got "
            f"{', '.join(map(str, depths))} bits"
        )
    return _Wide(np.asarray(imagecodecs.jpeg2k_decode(data)), colours, 2 ** depths[0] - 1)


def _png_colour_type(data: bytes) -> int:
    """Of a PNG of 16 bits (PNG 3rd edition, 11.2.1); -1 for others."""
    return data[25] if data[:4] == b"\x89PNG" and data[24] == 16 else -1


def _brightest(samples_HWC: npt.NDArray[np.integer]) -> int:
    brightest = int(samples_HWC.max())
    if int(samples_HWC.min()) < 0 or brightest > 65535:
        raise UnsupportedFormat("expected 8- or 16-bit unsigned pixels, got wider integers")
    return brightest


def _narrow(wide: _Wide, tone: Tone) -> Pixels:
    """Scale to 8 bits by the significant bits, so that 12-bit data is not dark."""
    scale = 255 / (2 ** significant_bits(tone.brightest) - 1)
    values = wide.samples_HWC[..., : wide.colours].astype(np.float32) * scale
    if wide.has_alpha and not tone.ignores_alpha:
        values *= wide.samples_HWC[..., wide.colours, None] / np.float32(wide.opaque)
    pixels = rounded(values)
    return pixels[..., 0] if wide.colours == 1 else without_colour(pixels)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _eight_bit_pixels(image: Image.Image, tone: Tone, data: bytes) -> Pixels:
    if _has_alpha(image):
        rgba = _rgba(image, data)
        image = rgba.convert("RGB") if tone.ignores_alpha else _over_black(rgba)
    if image.mode in ("L", "1"):
        return np.array(image.convert("L"), dtype=np.uint8)
    return without_colour(np.array(image.convert("RGB"), dtype=np.uint8))


def _rgba(image: Image.Image, data: bytes) -> Image.Image:
    """Pillow spreads 2 and 4 bits of grey over 8, and the transparent level of PNG it does not."""
    level = image.info.get("transparency")
    if image.format == "PNG" and isinstance(level, int) and data[24] < 8 and not data[25]:
        highest = 2 ** data[24] - 1
        image = image.copy()
        image.info["transparency"] = (level & highest) * 255 // highest
    return image.convert("RGBA")


def _over_black(rgba: Image.Image) -> Image.Image:
    """Replace transparent pixels, which hold no echo, by black and not by their hidden colour."""
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba)


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as EXIF and TIFF count. Loads some formats. Raises CorruptImage."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except (ServiceError, MemoryError):
        raise
    except Exception as error:
        raise CorruptImage(f"the {image.format} image does not decode completely") from error
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an orientation of 1 to 8 (TIFF 6.0, page 36): (H, W, ...) -> (H, W, ...)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def declared_aspect(image: Image.Image, data: bytes) -> float:
    """Height / width of a pixel, upright, from the density of the file; 0 = not declared.

    PNG ``pHYs``, JFIF and BMP state pixels per length or a plain ratio; GIF states the ratio
    itself. EXIF resolutions are left out: cameras write them without meaning.
    """
    across, down = 0.0, 0.0
    if image.format in ("JPEG", "MPO"):
        across, down = image.info.get("jfif_density", (0, 0))
    elif image.format in ("PNG", "BMP"):
        across, down = image.info.get("aspect") or image.info.get("dpi") or (0, 0)
    elif image.format == "GIF" and data[12]:
        across, down = 64.0, float(data[12] + 15)  # GIF89a, 18: PixelAspectRatio
    if across <= 0 or down <= 0:
        return 0.0
    turned = (1 if is_plain_png(data) else orientation_of(image)) >= 5
    return float(down / across if turned else across / down)
