"""One frame of DICOM pixel data -> uint8 pixels as a viewer shows them.

The header of a compressed frame counts more than the DICOM tags around it.

Shape suffixes: H height, W width, 3 = red, green, blue, L entries of a palette.
"""

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.arrays import Pixels
from service.errors import CorruptImage, UnsupportedFormat
from service.imaging.formats.codestream import CodestreamHeader, read_header
from service.imaging.formats.frames import rounded, significant_bits, without_colour
from service.imaging.formats.limits import DecodeLimits, check_size

RLE = "1.2.840.10008.1.2.5"
_YBR = ("YBR_FULL", "YBR_FULL_422")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a file stores its pixels: the Image Pixel module (DICOM PS3.3 C.7.6.3).

    Attributes:
        window: (centre, width) of the first VOI window, None without one.
        palette_L3: uint8, the colour of each index; None unless PALETTE COLOR.
        swaps_bytes: 8-bit pixels in big-endian words (PS3.5 annex A.3).
    """

    syntax: str
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    is_signed: bool
    photometric: str
    is_planar: bool
    is_little_endian: bool = True
    swaps_bytes: bool = False
    window: tuple[float, float] | None = None
    palette_L3: Pixels | None = None

    @property
    def is_half_sampled(self) -> bool:
        """Whether native chroma is shared by two pixels (PS3.3 C.7.6.3.1.2)."""
        return self.samples == 3 and self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")

    def frame_bytes(self, available: int, frames: int) -> int:
        """Length of one native frame; some writers declare 422 and store every chroma sample."""
        full = self.rows * self.columns * self.samples * self.allocated // 8
        if self.is_half_sampled and available < full * frames:
            return full * 2 // 3
        return full


class FrameDecoder:
    """Turns the bytes of each frame into pixels, with the same grey scale for all frames."""

    def __init__(self, pixel_format: PixelFormat, limits: DecodeLimits) -> None:
        self._format = pixel_format
        self._limits = limits
        self._bits: int | None = None

    def native(self, data: bytes) -> Pixels:
        """An uncompressed frame. Raises CorruptImage, UnsupportedFormat."""
        form = self._format
        if form.swaps_bytes:
            data = np.frombuffer(data, "<u2").byteswap().tobytes()
        order = "<" if form.is_little_endian else ">"
        values = np.frombuffer(data, f"{order}u{form.allocated // 8}")
        if form.is_half_sampled and len(values) == form.rows * form.columns * 2:
            return self._shown(_spread_chroma(values, form), form.stored, form.photometric)
        return self._shown(_in_planes(values, form), form.stored, form.photometric)

    def encapsulated(self, data: bytes) -> Pixels:
        """A compressed frame. Raises CorruptImage, UnsupportedFormat, ImageTooLarge."""
        form = self._format
        if form.syntax == RLE:
            values = _unpack_rle(data, form)
            return self._shown(values, form.stored, form.photometric)
        header = read_header(data)
        check_size(header.width_px, header.height_px, self._limits)
        if (header.height_px, header.width_px) != (form.rows, form.columns):
            raise CorruptImage(
                f"expected frames of {form.columns} x {form.rows} px, got a compressed frame of "
                f"{header.width_px} x {header.height_px}"
            )
        values, photometric = _decompress(data, header, form.photometric)
        return self._shown(values, header.bits, photometric)

    def _shown(self, values: npt.NDArray[Any], bits: int, photometric: str) -> Pixels:
        if values.ndim == 3:
            return _coloured(_eight_bits(values, bits), photometric)
        form = self._format
        if form.palette_L3 is not None:
            indexes = np.minimum(values & (2**form.stored - 1), len(form.palette_L3) - 1)
            return without_colour(form.palette_L3[indexes])
        grey_HW = self._grey(values, bits)
        return np.invert(grey_HW) if photometric == "MONOCHROME1" else grey_HW

    def _grey(self, values: npt.NDArray[Any], bits: int) -> Pixels:
        form = self._format
        lowest = 0
        if values.dtype.kind == "u":
            values = values & np.array(2**bits - 1, values.dtype)
            if form.is_signed:
                values = _signed(values, bits)
        if values.dtype.kind == "i":
            lowest = -(2 ** (bits - 1))
        if form.window is not None:
            return _windowed(values, form.window)
        if bits <= 8 and lowest == 0:
            return _eight_bits(values, bits)
        if self._bits is None:
            # From the first frame, so that brightness does not jump from frame to frame.
            self._bits = min(bits, significant_bits(int(values.max()) - lowest))
        return _eight_bits(values.astype(np.int32) - lowest, self._bits)


def _in_planes(values: npt.NDArray[Any], form: PixelFormat) -> npt.NDArray[Any]:
    if len(values) < form.rows * form.columns * form.samples:
        raise CorruptImage("a frame holds fewer pixels than its rows and columns")
    values = values[: form.rows * form.columns * form.samples]
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
    dtype = f"<u{form.allocated // 8}"
    shape = (form.samples, form.rows, form.columns)
    try:
        planes = np.frombuffer(imagecodecs.dicomrle_decode(data, dtype), dtype).reshape(shape)
    except Exception as error:
        raise CorruptImage("a run-length encoded frame does not decode") from error
    return planes[0] if form.samples == 1 else planes.transpose(1, 2, 0)


def _decompress(
    data: bytes, header: CodestreamHeader, photometric: str
) -> tuple[npt.NDArray[Any], str]:
    """Samples (H, W) or (H, W, 3), and their photometric interpretation after decoding."""
    try:
        if header.family == "jpegls":
            samples = imagecodecs.jpegls_decode(data)
        elif header.family == "jpeg2000":
            samples = imagecodecs.jpeg2k_decode(data)
            photometric = "RGB" if header.mixes_colours else photometric
        elif header.is_lossless:
            samples = imagecodecs.ljpeg_decode(data)
        else:
            samples, photometric = _jpeg(data, header, photometric)
    except Exception as error:  # imagecodecs has an error type for each codec
        raise CorruptImage(f"a {header.family} frame does not decode completely") from error
    values = np.asarray(samples)
    if values.ndim == 3 and values.shape[2] in (1, 3):
        values = values[..., 0] if values.shape[2] == 1 else values
    elif values.ndim != 2:
        raise UnsupportedFormat(f"expected 1 or 3 samples per pixel, got {header.components}")
    return values, photometric


def _jpeg(data: bytes, header: CodestreamHeader, photometric: str) -> tuple[Any, str]:
    """Without a marker of the colour space, libjpeg assumes YCbCr; the DICOM tag may differ."""
    if header.components != 3:
        return imagecodecs.jpeg8_decode(data), photometric
    is_declared = header.is_jfif or header.adobe_transform is not None
    stored = "RGB" if photometric == "RGB" and not is_declared else None
    return imagecodecs.jpeg8_decode(data, colorspace=stored, outcolorspace="RGB"), "RGB"


def _coloured(values_HW3: Pixels, photometric: str) -> Pixels:
    values_HW3 = np.ascontiguousarray(values_HW3)
    if photometric in _YBR:
        image = Image.frombytes("YCbCr", values_HW3.shape[1::-1], values_HW3.tobytes())
        values_HW3 = np.asarray(image.convert("RGB"))
    elif photometric.startswith("YBR_PARTIAL"):
        values_HW3 = _from_studio_range(values_HW3)
    elif photometric not in ("RGB", "YBR_RCT", "YBR_ICT"):
        raise UnsupportedFormat(f"expected RGB or YBR for three samples, got {photometric[:16]}")
    return without_colour(values_HW3)


def _from_studio_range(ybr_HW3: Pixels) -> Pixels:
    """ITU-R BT.601 with black at 16 and white at 235 (PS3.3 C.7.6.3.1.2)."""
    y, blue, red = (ybr_HW3[..., c].astype(np.float32) for c in range(3))
    y, blue, red = 1.164383 * (y - 16), blue - 128, red - 128
    rgb_HW3 = np.stack(
        [y + 1.596027 * red, y - 0.391762 * blue - 0.812968 * red, y + 2.017232 * blue], axis=-1
    )
    return rounded(np.clip(rgb_HW3, 0, 255))


def _signed(values: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    wide = values.astype(np.int32)
    return np.where(wide >= 2 ** (bits - 1), wide - 2**bits, wide)


def _windowed(values: npt.NDArray[Any], window: tuple[float, float]) -> Pixels:
    """The linear VOI function (PS3.3 C.11.2.1.2.1)."""
    centre, width = window
    share = (values.astype(np.float32) - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    return rounded(np.clip(share, 0, 1) * 255)


def _eight_bits(values: npt.NDArray[Any], bits: int) -> Pixels:
    if values.dtype.kind == "i" and values.size and int(values.min()) < 0:
        values = values.astype(np.int32) + 2 ** (bits - 1)
    if bits == 8 and values.dtype == np.uint8:
        return values
    return rounded(np.clip(values.astype(np.float32) / (2**bits - 1), 0, 1) * 255)
