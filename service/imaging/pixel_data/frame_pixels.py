"""Frames of DICOM pixel data -> uint8 pixels as a viewer shows them.

The header of a compressed frame counts more than the DICOM tags around it. What holds for the
whole file (grey scale, colour model) is learnt when it is opened, from its first frames on, so
that it does not depend on the frames that are asked for.

Shape suffixes: H height, W width, 3 = the planes as stored.
"""

from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from service.arrays import Pixels
from service.errors import CorruptImage, UnsupportedFormat
from service.imaging.formats.codestream import (
    CodestreamHeader,
    ColourModel,
    is_ended,
    read_header,
)
from service.imaging.formats.frames import Correction, without_colour
from service.imaging.formats.limits import DecodeLimits, check_size
from service.imaging.pixel_data.colour_scale import ColourScale, model_of_tag
from service.imaging.pixel_data.frame_spans import FrameSpans
from service.imaging.pixel_data.grey_scale import GreyScale, GreyTags
from service.imaging.pixel_data.lost_data import lost_data
from service.imaging.pixel_data.pixel_format import (
    NATIVE,
    RLE,
    PixelFormat,
    WordFormat,
    looked_up,
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """One frame before it is shown.

    Attributes:
        words: unsigned, (H, W) or (H, W, 3).
        is_rgb: whether the decoder has turned the planes into RGB.
        stated: the colour model of the codestream, by its own word.
        is_raw: planes of a JPEG that does not say what they are, for learning only.
    """

    words: npt.NDArray[Any]
    word: WordFormat
    is_rgb: bool = False
    stated: ColourModel | None = None
    is_raw: bool = False


class FramePixels:
    """The frames of one file.

    Raises:
        CorruptImage, UnsupportedFormat, ImageTooLarge: in the constructor, or from ``pixels``.
    """

    def __init__(
        self, form: PixelFormat, grey: GreyTags, frames: FrameSpans, limits: DecodeLimits
    ) -> None:
        self._form, self._grey_tags = form, grey
        self._frames, self._limits = frames, limits
        self._greys: dict[WordFormat, GreyScale] = {}
        self._colours: dict[WordFormat, ColourScale] = {}
        self._kept: dict[int, _Stored] = {}  # decoded while learning
        self._room = limits.max_decode_bytes // 8
        self._learn()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """What the tags say wrongly about colours and grey values."""
        of_colours = [scale.correction for scale in self._colours.values()]
        of_greys = [scale.correction for scale in self._greys.values()]
        found = {c.fact: c for c in (*of_colours, *of_greys) if c is not None}
        return tuple(found.values())

    def pixels(self, index: int) -> Pixels:
        """uint8 (H, W) or (H, W, 3)."""
        stored = self._decoded(index)
        if stored.words.ndim == 3:
            return self._colour(stored.word).shown(stored.words, is_rgb=stored.is_rgb)
        if self._form.palette_L3 is not None:
            words = np.minimum(stored.words, len(self._form.palette_L3) - 1)
            return without_colour(looked_up(self._form.palette_L3, words))
        return self._grey(stored.word).shown(stored.words)

    def _learn(self) -> None:
        """Decode frames until the scale of the file is settled, which mostly needs none or one.

        Damaged frames tell nothing; asking for them raises.
        """
        for index in range(len(self._frames)):
            try:
                if self._is_told_by_header(index):
                    return
                stored = self._decoded(index, is_raw=True)
            except CorruptImage:
                continue
            if stored.words.ndim == 2 and self._form.palette_L3 is not None:
                return
            self._keep(index, stored)
            scale: ColourScale | GreyScale
            if stored.words.ndim == 2:
                scale = self._grey(stored.word)
            else:
                scale = self._colour(stored.word)
                scale.state(stored.stated)
            scale.learn(stored.words)
            if scale.is_settled:
                return

    def _keep(self, index: int, stored: _Stored) -> None:
        """So that it is not decoded again, while there is room."""
        is_cheap = self._form.syntax in NATIVE
        if stored.words.nbytes <= self._room and not stored.is_raw and not is_cheap:
            self._kept[index] = stored
            self._room -= stored.words.nbytes

    def _is_told_by_header(self, index: int) -> bool:
        """Whether nothing needs to be learnt from the pixels of a frame."""
        form = self._form
        if form.syntax in NATIVE or form.syntax == RLE:
            is_grey = form.samples == 1
            return is_grey and (form.palette_L3 is not None or self._grey(_word(form)).is_settled)
        header = self._header(self._frames.packed(index))
        word = _word(form, header)
        if header.components == 1:
            return form.palette_L3 is None and self._grey(word).is_settled
        stated = _stated(header, form)
        if header.components != 3 or stated is None:
            return False
        self._colour(word).state(stated)
        return self._colour(word).is_settled

    def _grey(self, word: WordFormat) -> GreyScale:
        if word not in self._greys:
            self._greys[word] = GreyScale(word, self._grey_tags)
        return self._greys[word]

    def _colour(self, word: WordFormat) -> ColourScale:
        if word not in self._colours:
            is_stream = self._form.syntax not in NATIVE | {RLE}
            self._colours[word] = ColourScale(word, self._form.photometric, is_stream=is_stream)
        return self._colours[word]

    def _decoded(self, index: int, *, is_raw: bool = False) -> _Stored:
        """One frame as stored; ``is_raw`` leaves the planes of a JPEG without a marker alone."""
        if index in self._kept:
            return self._kept[index]
        form, data = self._form, self._frames.packed(index)
        if form.syntax in NATIVE:
            return _Stored(_native(data, form), _word(form))
        if form.syntax == RLE:
            return _Stored(_unpack_rle(data, form), _word(form))
        header = self._header(data)
        if not _is_bare_jpeg(header):
            return _decompress(data, header, form)
        word = _word(form, header)
        model = "RGB" if is_raw else self._colour(word).model
        return replace(_decompress(data, header, form, model), is_rgb=not is_raw, is_raw=is_raw)

    def _header(self, data: bytes) -> CodestreamHeader:
        form, header = self._form, read_header(data)
        check_size(header.width_px, header.height_px, self._limits)
        if (header.height_px, header.width_px) != (form.rows, form.columns):
            raise CorruptImage(
                f"expected frames of {form.columns} x {form.rows} px, got a compressed frame of "
                f"{header.width_px} x {header.height_px}"
            )
        # libjpeg would not notice, and CharLS may need half a minute for half a kilobyte.
        if header.family in ("jpeg", "jpegls") and not is_ended(data):
            raise CorruptImage("a compressed frame is cut off")
        return header


def _word(form: PixelFormat, header: CodestreamHeader | None = None) -> WordFormat:
    """Of native and run-length encoded words, or of the samples of a codestream."""
    if header is None:
        return WordFormat(form.allocated, form.stored, form.shift, form.is_signed, form.stored)
    if form.shift and header.bits >= form.stored + form.shift:
        return WordFormat(header.bits, form.stored, form.shift, form.is_signed, form.stored)
    # Two's complement may fill the codestream's sample or only the declared bits.
    claimed = min(form.stored, header.bits)
    stored = claimed if form.is_signed else header.bits
    return WordFormat(header.bits, stored, 0, form.is_signed, claimed)


def _is_bare_jpeg(header: CodestreamHeader) -> bool:
    """Whether a lossy JPEG has three components and does not say what they are."""
    is_lossy = header.family == "jpeg" and not header.is_lossless
    return is_lossy and header.components == 3 and header.colour is None


def _native(data: bytes, form: PixelFormat) -> npt.NDArray[Any]:
    order = "<" if form.is_little_endian else ">"
    values = np.frombuffer(data, f"{order}u{form.allocated // 8}")
    if not form.is_little_endian:
        values = values.astype(values.dtype.newbyteorder("<"))
    if form.is_half_sampled and len(values) == form.rows * form.columns * 2:
        return _spread_chroma(values, form)
    if form.samples == 1:
        return values.reshape(form.rows, form.columns)
    if form.is_planar:
        return values.reshape(3, form.rows, form.columns).transpose(1, 2, 0)
    return values.reshape(form.rows, form.columns, 3)


def _spread_chroma(values: npt.NDArray[Any], form: PixelFormat) -> npt.NDArray[Any]:
    """Y1 Y2 Cb Cr -> one Y, Cb, Cr for each pixel."""
    if form.columns % 2:
        raise UnsupportedFormat("expected an even number of columns for YBR_FULL_422")
    pairs = values.reshape(form.rows, form.columns // 2, 4)
    full = np.empty((form.rows, form.columns, 3), values.dtype)
    full[:, 0::2, 0], full[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for channel in (1, 2):
        full[..., channel] = np.repeat(pairs[..., channel + 1], 2, axis=1)
    return full


def _unpack_rle(data: bytes, form: PixelFormat) -> npt.NDArray[Any]:
    """Planes one after the other, most significant bytes first (PS3.5 annex G)."""
    count, *offsets = np.frombuffer(data[:64].ljust(64, b"\0"), "<u4").tolist()
    ends = [*offsets[:count], len(data)]
    # The decoder would read beyond the end.
    if count != form.samples * form.allocated // 8 or ends != sorted(ends) or ends[0] < 64:
        raise CorruptImage("the header of a run-length encoded frame is wrong")
    dtype = f"<u{form.allocated // 8}"
    shape = (form.samples, form.rows, form.columns)
    try:
        planes = np.frombuffer(imagecodecs.dicomrle_decode(data, dtype), dtype).reshape(shape)
    except Exception as error:
        raise CorruptImage("a run-length encoded frame does not decode") from error
    return planes[0] if form.samples == 1 else planes.transpose(1, 2, 0)


def _decompress(
    data: bytes, header: CodestreamHeader, form: PixelFormat, model: ColourModel = "RGB"
) -> _Stored:
    """``model`` is that of a JPEG which states none. Raises CorruptImage, UnsupportedFormat."""
    try:
        if header.family == "jpegls":
            samples = imagecodecs.jpegls_decode(data)
        elif header.family == "jpeg2000":
            samples = imagecodecs.jpeg2k_decode(data)
        elif header.family == "jpegxl":
            samples = imagecodecs.jpegxl_decode(data, numthreads=1)
        else:
            samples = _whole_jpeg(data, header, header.colour or model)
    except CorruptImage:
        raise
    except Exception as error:  # imagecodecs has an error type for each codec
        raise CorruptImage(f"a {header.family} frame does not decode completely") from error
    values = np.asarray(samples)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.shape not in ((form.rows, form.columns), (form.rows, form.columns, 3)):
        raise UnsupportedFormat(
            f"expected 1 or 3 samples for each of {form.columns} x {form.rows} pixels, got an "
            f"array of {' x '.join(map(str, values.shape))}"
        )
    if values.dtype.kind not in "ui":
        raise UnsupportedFormat("expected whole numbers as samples, got floating point")
    stated = _stated(header, form)
    return _Stored(*_unsigned(values, _word(form, header)), stated is not None, stated)


def _stated(header: CodestreamHeader, form: PixelFormat) -> ColourModel | None:
    """The colour model of the codestream if it says so; its decoder then returns RGB."""
    if header.mixes_colours:
        return "RGB"
    if header.family == "jpegxl" and form.photometric != "YBR_FULL":
        # A recompressed JPEG keeps the tag of its chroma and is returned as RGB all the same.
        return model_of_tag(form.photometric) or "RGB"
    return header.colour


def _unsigned(values: npt.NDArray[Any], word: WordFormat) -> tuple[npt.NDArray[Any], WordFormat]:
    """Signed samples of a codestream as two's complement; signed colours moved above zero."""
    if values.dtype.kind == "i":
        word = replace(word, is_signed=True)
        if values.ndim == 3:
            values = values + np.array(2 ** (word.bits - 1), values.dtype)
        values = values.view(f"u{values.dtype.itemsize}")
    if word.bits < 8 * values.dtype.itemsize:
        values = values & np.array(2**word.bits - 1, values.dtype)
    return values, word


def _whole_jpeg(data: bytes, header: CodestreamHeader, model: ColourModel) -> npt.NDArray[Any]:
    """Raises CorruptImage: libjpeg would make up a part of the picture."""

    def decode(packed: bytes) -> npt.NDArray[Any]:
        return (
            _lossless_jpeg(packed, header) if header.is_lossless else _jpeg(packed, header, model)
        )

    samples = decode(data)
    if lost_data(data, samples, decode, is_lossless=header.is_lossless):
        raise CorruptImage("a compressed frame has less data than its pixels need")
    return samples


def _jpeg(data: bytes, header: CodestreamHeader, model: ColourModel) -> npt.NDArray[Any]:
    """Turned into RGB from this colour model, which libjpeg would only guess."""
    if header.components != 3:
        return np.asarray(imagecodecs.jpeg8_decode(data))
    space = "YCBCR" if model == "YBR" else "RGB"
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB"))


def _lossless_jpeg(data: bytes, header: CodestreamHeader) -> npt.NDArray[Any]:
    """The planes as stored.

    imagecodecs.ljpeg_decode would pass over restarts, point transforms and separate scans, and
    libjpeg would turn colours whose markers say YCbCr into RGB.
    """
    if header.components != 3:
        return np.asarray(imagecodecs.jpeg8_decode(data))
    return np.asarray(imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"))
