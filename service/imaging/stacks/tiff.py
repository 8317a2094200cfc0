"""TIFF and BigTIFF: bytes -> frames, with one grey scale for all pages of a file.

tifffile reads the structure and the samples. What they mean is decided here: white is zero,
palettes, transparency, orientation, and pages that are copies or masks of others.

Shape suffixes: H height, W width, S samples per pixel, 3 = red, green, blue.
"""

import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from tifffile import TIFF, TiffFile, TiffPage

from service.arrays import Pixels
from service.errors import CorruptImage, ServiceError, UnsupportedFormat
from service.imaging.formats.codestream import is_ended, read_header
from service.imaging.formats.frames import (
    Correction,
    DecodedFrame,
    ImageInfo,
    rounded,
    significant_bits,
    without_colour,
)
from service.imaging.formats.limits import DecodeLimits, check_length, check_size
from service.imaging.formats.lost_blocks import hits, lost_blocks
from service.imaging.formats.sampling import FrameSelector
from service.imaging.formats.still import Tone, frame_of, hides_picture, open_image, upright
from service.imaging.pixel_data.lost_data import lost_data

_REDUCED, _MASK = 1, 4  # NewSubfileType (TIFF 6.0, page 36)
_WHITE_IS_ZERO, _GREY, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _GREY: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_RAW_SENSOR = (32803, 34892)  # CFA and LinearRaw
_JPEG, _CR2 = (6, 7), b"CR"
_WHOLE_JPEG = (7, 33007, 34892)  # compressions whose strips or tiles are a JPEG each
_DNG_VERSION, _ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 50706, 274, 282, 283
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples (TIFF 6.0, page 31)
_MAX_INNER_PAGES = 16
_MAX_COPY_DIFFERENCE = 12.0  # grey levels, in the mean, between a page and a small copy of it
_COPY_SIDE_PX = 32
_WAY = "save the picture as 8- or 16-bit grey or RGB"


@dataclass(frozen=True, slots=True)
class _Picture:
    """A page, or the n-th picture after the one that its directory describes."""

    page: TiffPage
    repeat: int = 0


class TiffReader:
    """One opened file of one or more pages; ``frames`` may be called more than once.

    Raises:
        UnsupportedFormat, CorruptImage, ImageTooLarge, ClipTooLong: see ``service.errors``.
    """

    def __init__(self, data: bytes, limits: DecodeLimits) -> None:
        self._data = data
        self._limits = limits
        self._lost_blocks = lost_blocks(data)
        with _translated():
            if data[8:10] == _CR2:
                raise _camera_raw()
            self._file = TiffFile(io.BytesIO(data), is_ome=False, is_lsm=False, is_ndpi=False)
            self._pictures = self._find_pictures()
            self._tone = self._read_tone()
            page = self._pictures[0].page
            height_px, width_px = _upright_size(page)
            declared_aspect = _pixel_aspect(page)
        info = ImageInfo(
            format="tiff",
            kind="cine" if len(self._pictures) > 1 else "frame",
            width_px=width_px,
            height_px=height_px,
            frames_in_file=len(self._pictures),
            corrections=(Correction("alpha"),) if self._tone.ignores_alpha else (),
        )
        self.info = replace(info, pixel_aspect=declared_aspect or 1.0)

    def _find_pictures(self) -> list[_Picture]:
        """The pages that are pictures of their own. Raises UnsupportedFormat: camera RAW."""
        pages = list(islice(_chain(self._file), self._limits.max_clip_frames + 1))
        if not pages:
            raise CorruptImage("expected at least one page in the TIFF file, got none")
        inner = _inner_pages(pages[0])
        if any(_is_sensor_data(page) for page in (*pages, *inner)):
            raise _camera_raw()
        full = [page for page in pages if _is_full(page)]
        # All pages may be previews of a picture that lies one level deeper.
        full = full or [page for page in inner if _is_full(page)] or pages[:1]
        check_length(len(full), None, self._limits)
        for page in full:
            check_size(page.imagewidth, page.imagelength, self._limits)
            _refuse_unreadable(page, len(self._data))
        full = self._without_copies(full)
        repeats = _repeats(self._file, full[0], len(self._data)) if len(pages) == 1 else 1
        check_length(repeats, None, self._limits)
        if repeats > 1:
            return [_Picture(full[0], number) for number in range(repeats)]
        return [_Picture(page) for page in full]

    def _without_copies(self, pages: list[TiffPage]) -> list[TiffPage]:
        """Leave out small copies that no tag marks. Raises CorruptImage: pages differ in size."""
        largest = max(pages, key=lambda page: page.imagewidth * page.imagelength)
        size = _upright_size(largest)
        others = [page for page in pages if _upright_size(page) != size]
        if not all(self._is_copy(page, largest) for page in others):
            raise CorruptImage("expected pictures of one size in one file")
        return [page for page in pages if _upright_size(page) == size]

    def _is_copy(self, small: TiffPage, large: TiffPage) -> bool:
        sides = zip(_upright_size(small), _upright_size(large), strict=True)
        if any(2 * side > large_side for side, large_side in sides):
            return False
        greys = []
        for page in (small, large):
            samples_HWS = self._samples(_Picture(page))
            shown = _shown(samples_HWS, page, Tone(_brightest(samples_HWS, page)))
            side = (_COPY_SIDE_PX, _COPY_SIDE_PX)
            grey = Image.fromarray(shown).convert("L").resize(side, Image.Resampling.BOX)
            greys.append(np.asarray(grey, np.float32))
        return float(np.abs(greys[0] - greys[1]).mean()) < _MAX_COPY_DIFFERENCE

    def _read_tone(self) -> Tone:
        """From all pictures, so that it does not depend on which of them are used."""
        is_wide = any(_bits(picture.page) > 8 for picture in self._pictures)
        is_hidden = all(_alpha_of(picture.page) for picture in self._pictures)
        brightest = 0
        if not is_wide and not is_hidden:
            return Tone()
        for picture in self._pictures:
            samples_HWS = self._samples(picture)
            brightest = max(brightest, _brightest(samples_HWS, picture.page))
            is_hidden = is_hidden and _hides_a_picture(samples_HWS, picture.page)
            if not is_wide and not is_hidden:
                break
        return Tone(brightest, is_hidden)

    def _samples(self, picture: _Picture) -> npt.NDArray[Any]:
        """As stored: (H, W, S), not yet upright."""
        page = picture.page
        parts = zip(page.dataoffsets, page.databytecounts, strict=True)
        is_packed = page.compression != 1
        if is_packed and any(hits(self._lost_blocks, at, at + size) for at, size in parts):
            raise CorruptImage(
                "a part of a TIFF page is missing: the file has a block of zeros there"
            )
        if page.compression in _WHOLE_JPEG:
            _refuse_lost_data(page, self._data)
        if _is_for_pillow(page):
            image = open_image(self._data)
            image.seek(int(page.index))
            pixels = frame_of(image, Tone(), self._data)
            return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
        if picture.repeat:
            at = page.dataoffsets[0] + picture.repeat * page.nbytes
            order = np.dtype(page.dtype).newbyteorder(self._file.byteorder)
            values = np.frombuffer(self._data[at : at + page.nbytes], order).reshape(page.shape)
        else:
            values = np.asarray(page.asarray(maxworkers=1, squeeze=True)).reshape(page.shape)
        if page.axes == "YX":
            return values[..., None]
        return np.moveaxis(values, 0, -1) if page.axes == "SYX" else values

    def frames(self, selector: FrameSelector) -> Iterator[DecodedFrame]:
        """Decode the selected frames, in the order of the file. Raises as the class does."""
        for index, picture in enumerate(self._pictures):
            if selector.takes(index, None):
                with _translated():
                    samples_HWS = self._samples(picture)
                    pixels = _shown(samples_HWS, picture.page, self._tone)
                yield DecodedFrame(pixels, index)
            if index == selector.last:
                return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ServiceError, MemoryError):
        raise
    except Exception as error:  # tifffile and the codecs raise many types on damaged files
        raise CorruptImage("the TIFF file does not decode completely") from error


def _chain(file: TiffFile) -> Iterator[TiffPage]:
    """Yield the pages of the main chain; a chain that runs in a circle ends with its first turn."""
    seen: set[int] = set()
    while True:
        try:
            page = file.pages[len(seen)]
        except IndexError:
            return
        if not isinstance(page, TiffPage):
            raise CorruptImage("a page of the TIFF file does not decode")
        if page.offset in seen:
            return
        yield page
        seen.add(page.offset)


def _camera_raw() -> UnsupportedFormat:
    return UnsupportedFormat(
        "camera RAW (DNG, CR2, NEF, ARW) is not supported; export the picture as PNG or JPEG"
    )


def _inner_pages(page: TiffPage) -> list[TiffPage]:
    inner = [] if page.pages is None else islice(page.pages, _MAX_INNER_PAGES)
    return [page for page in inner if isinstance(page, TiffPage)]


def _is_full(page: TiffPage) -> bool:
    """Whether the page is neither a reduced copy nor a transparency mask of another."""
    old = page.tags.valueof(255)  # SubfileType: 2 = reduced
    return not int(page.subfiletype) & (_REDUCED | _MASK) and old != 2


def _is_sensor_data(page: TiffPage) -> bool:
    return page.photometric in _RAW_SENSOR or _DNG_VERSION in page.tags


def _refuse_unreadable(page: TiffPage, length: int) -> None:
    """Raises UnsupportedFormat by the tags, and CorruptImage: the file was cut off."""
    sample_format = int(page.sampleformat or 1)
    if sample_format not in (1, 2) or page.dtype is None:
        kind = "floating point" if sample_format == 3 else "complex or undefined"
        raise UnsupportedFormat(f"expected 8- or 16-bit integer pixels, got {kind}; {_WAY}")
    colours = _COLOURS.get(int(page.photometric))
    if colours is None:
        raise UnsupportedFormat(
            f"the colour space {page.photometric} of TIFF is not supported; {_WAY}"
        )
    if page.compression not in TIFF.DECOMPRESSORS:
        raise UnsupportedFormat(
            f"the compression {page.compression} of TIFF is not supported; {_WAY}"
        )
    extra = page.samplesperpixel - colours
    if page.axes not in ("YX", "YXS", "SYX") or (
        extra > 0 and colours == 1 and not _alpha_of(page)
    ):
        raise UnsupportedFormat(f"expected one picture per page of TIFF, got channels; {_WAY}")
    if extra < 0:
        raise CorruptImage(f"expected {colours} samples per pixel, got {page.samplesperpixel}")
    ends = [at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > length or min(page.databytecounts) == 0:
        raise CorruptImage("the TIFF file is cut off, or a part of a page is missing")


def _refuse_lost_data(page: TiffPage, data: bytes) -> None:
    """Raises CorruptImage: a strip or tile has less data than its pixels need."""

    def decode(packed: bytes) -> npt.NDArray[Any]:
        return np.asarray(imagecodecs.jpeg8_decode(packed, tables=page.jpegtables))

    for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        packed = data[at : at + size]
        is_lossless = read_header(packed).is_lossless
        if not is_ended(packed) or lost_data(
            packed, decode(packed), decode, is_lossless=is_lossless
        ):
            raise CorruptImage("a JPEG in the TIFF file has less data than its pixels need")


def _is_for_pillow(page: TiffPage) -> bool:
    """Colour spaces that Pillow converts to RGB; its result is upright."""
    is_ycbcr = page.photometric == _YCBCR and page.compression not in _JPEG
    return page.photometric == _CMYK or is_ycbcr


def _bits(page: TiffPage) -> int:
    bits = page.bitspersample
    return max(bits) if isinstance(bits, tuple) else int(bits)


def _alpha_of(page: TiffPage) -> int:
    """The kind of transparency, 0 = none."""
    extra = page.extrasamples
    kind = int(extra[0]) if extra else 0
    is_alpha = kind in (_ASSOCIATED, _UNASSOCIATED) and not _is_for_pillow(page)
    return kind if is_alpha and page.samplesperpixel > _COLOURS[int(page.photometric)] else 0


def _repeats(file: TiffFile, page: TiffPage, length: int) -> int:
    """Pictures after one directory, as ImageJ and tifffile write stacks; 1 = an ordinary page."""
    text = page.description
    count = 1
    if text.startswith("ImageJ="):
        lines = (line.partition("=") for line in text.splitlines())
        count = next((int(v) for k, _, v in lines if k == "images" and v.isdigit()), 1)
    elif text.startswith('{"shape"'):
        shape = json.loads(text)["shape"]
        count = math.prod(map(int, shape)) // max(1, math.prod(page.shape))
    is_plain = page.is_contiguous and page.compression == 1 and not page.is_tiled
    if count > 1 and (not is_plain or page.dataoffsets[0] + count * page.nbytes > length):
        raise CorruptImage(f"expected {count} pictures in the TIFF file, and it ends before them")
    return max(1, count)


def _upright_size(page: TiffPage) -> tuple[int, int]:
    """(height, width) after the orientation is applied."""
    size = int(page.imagelength), int(page.imagewidth)
    return size[::-1] if _orientation(page) >= 5 else size


def _orientation(page: TiffPage) -> int:
    """1 to 8 (TIFF 6.0, page 36)."""
    value = page.tags.valueof(_ORIENTATION)
    return int(value) if value in range(1, 9) else 1


def _pixel_aspect(page: TiffPage) -> float:
    """Height / width of a pixel, upright; 0 = not declared."""
    values = [page.tags.valueof(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    if not all(isinstance(v, tuple) and len(v) == 2 and v[0] > 0 and v[1] > 0 for v in values):
        return 0.0
    across, down = (value[0] / value[1] for value in values)
    return float(down / across if _orientation(page) >= 5 else across / down)


def _colour_part(samples_HWS: npt.NDArray[Any], page: TiffPage) -> npt.NDArray[Any]:
    colours = 3 if _is_for_pillow(page) else _COLOURS[int(page.photometric)]
    return samples_HWS[..., :colours]


def _brightest(samples_HWS: npt.NDArray[Any], page: TiffPage) -> int:
    """The largest sample. Raises UnsupportedFormat: samples that 16 bits do not hold."""
    values = _colour_part(samples_HWS, page)
    if int(values.min()) < 0 or int(values.max()) > 65535:
        raise UnsupportedFormat(
            f"expected 8- or 16-bit unsigned pixels, got wider integers or negative ones; {_WAY}"
        )
    return int(values.max()) if _bits(page) > 8 else 0


def _hides_a_picture(samples_HWS: npt.NDArray[Any], page: TiffPage) -> bool:
    colour = _colour_part(samples_HWS, page)
    return hides_picture(samples_HWS[..., colour.shape[-1]], colour)


def _shown(samples_HWS: npt.NDArray[Any], page: TiffPage, tone: Tone) -> Pixels:
    """uint8 (H, W) or (H, W, 3), upright."""
    if _is_for_pillow(page):
        return without_colour(samples_HWS)
    colour = _colour_part(samples_HWS, page)
    if colour.dtype.kind == "i":
        _brightest(samples_HWS, page)  # refuses negative samples
    if page.photometric == _PALETTE:
        pixels = _from_palette(colour[..., 0], page)
    else:
        pixels = _eight_bits(colour, page, tone)
    if page.photometric == _WHITE_IS_ZERO:
        pixels = np.invert(pixels)
    if _alpha_of(page) == _UNASSOCIATED and not tone.ignores_alpha:
        alpha = samples_HWS[..., colour.shape[-1], None].astype(np.float32)
        pixels = rounded(pixels * (alpha / (2 ** _bits(page) - 1)))
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    pixels = upright(pixels, _orientation(page))
    return pixels if pixels.ndim == 2 else without_colour(pixels)


def _eight_bits(values: npt.NDArray[Any], page: TiffPage, tone: Tone) -> Pixels:
    is_signed = values.dtype.kind == "i"  # without negative samples: half of the range is in use
    bits = _bits(page) - is_signed
    if bits == 8:
        return np.asarray(values, np.uint8)
    if bits > 8:
        bits = min(bits, significant_bits(tone.brightest))
    return rounded(values.astype(np.float32) * (255 / (2**bits - 1)))


def _from_palette(indexes_HW: npt.NDArray[Any], page: TiffPage) -> Pixels:
    """RGB by the 16-bit ColorMap (TIFF 6.0, page 23); many writers store 8 bits in it."""
    table = np.asarray(page.colormap).T
    table = table if int(table.max()) < 256 else table >> 8
    return np.asarray(table[np.minimum(indexes_HW, len(table) - 1)], np.uint8)
