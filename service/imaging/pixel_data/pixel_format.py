"""How a DICOM file stores its pixels: the Image Pixel module and palettes (PS3.3 C.7.6.3).

Shape suffixes: 3 = red, green, blue, L entries of a palette.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    MPEGTransferSyntaxes,
    UncompressedTransferSyntaxes,
)

from service.arrays import Pixels
from service.errors import CorruptImage, UnsupportedFormat
from service.imaging.formats.frames import significant_bits

_PREFIX = "1.2.840.10008.1.2."
RLE = _PREFIX + "5"
NATIVE = frozenset(map(str, UncompressedTransferSyntaxes))
MPEG = frozenset(map(str, MPEGTransferSyntaxes))
# JPEG, JPEG-LS, JPEG 2000 (92 and 93 without extensions), JPEG XL, HTJ2K
_CODECS = (50, 51, 57, 70, 80, 81, 90, 91, 92, 93, 110, 111, 112, 201, 202, 203)
COMPRESSED = frozenset({RLE, *(f"{_PREFIX}4.{n}" for n in _CODECS)})
_NEWER_NAMES = {  # than pydicom 3.0
    _PREFIX + "4.110": "JPEG XL Lossless",
    _PREFIX + "4.111": "JPEG XL JPEG Recompression",
    _PREFIX + "4.112": "JPEG XL",
}
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a file stores its pixels, as its tags say.

    Attributes:
        allocated: bits of a word: 8 or 16.
        stored: bits of a sample within the word.
        shift: unused bits of a word below the sample, from HighBit.
        palette_L3: uint8, the colour of each word; None unless PALETTE COLOR.
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
    shift: int = 0
    is_little_endian: bool = True
    swaps_bytes: bool = False
    palette_L3: Pixels | None = None

    @property
    def is_half_sampled(self) -> bool:
        """Whether native chroma is shared by two pixels (PS3.3 C.7.6.3.1.2)."""
        return self.samples == 3 and self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")


@dataclass(frozen=True, slots=True)
class WordFormat:
    """Where the sample lies in a decoded word.

    Attributes:
        bits: of the word; the sample and what is unused above and below.
        claimed: bits of the sample by BitsStored; a codestream's own number may be larger.
    """

    bits: int
    stored: int
    shift: int
    is_signed: bool
    claimed: int


def syntax_name(syntax: str) -> str:
    """Of a transfer syntax, for people."""
    return _NEWER_NAMES.get(syntax) or UID(syntax).name


def pixel_format(dataset: Dataset, syntax: str) -> PixelFormat:
    """Read the tags. Raises UnsupportedFormat, CorruptImage, and what pydicom raises."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    allocated = int(dataset.BitsAllocated)
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2")).strip().upper()
    if samples not in (1, 3) or allocated not in (8, 16):
        raise UnsupportedFormat(
            f"expected 1 or 3 samples of 8 or 16 bits, got {samples} of {allocated}"
        )
    stored = int(dataset.get("BitsStored") or allocated)
    if not 0 < stored <= allocated:
        raise CorruptImage(f"expected 1 to {allocated} bits stored, got {stored}")
    is_little_endian = syntax != str(ExplicitVRBigEndian)
    is_signed = bool(dataset.get("PixelRepresentation"))
    high = dataset.get("HighBit")
    # A high bit that leaves no room for the sample is not believed.
    is_possible = isinstance(high, int) and stored - 1 <= high < allocated
    shift = int(high or 0) - stored + 1 if is_possible else 0
    words = np.arange(2**allocated)
    return PixelFormat(
        syntax=syntax,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        samples=samples,
        allocated=allocated,
        stored=stored,
        is_signed=is_signed,
        photometric=photometric,
        is_planar=bool(dataset.get("PlanarConfiguration")),
        shift=shift,
        is_little_endian=is_little_endian,
        swaps_bytes=not is_little_endian and allocated == 8 and dataset["PixelData"].VR == "OW",
        palette_L3=_palette(dataset, samples_of(words, stored, shift, is_signed), is_little_endian)
        if photometric == "PALETTE COLOR"
        else None,
    )


def samples_of(
    words: npt.NDArray[np.integer], bits: int, shift: int, is_signed: bool
) -> npt.NDArray[np.int32]:
    """The samples in stored words: ``bits`` above ``shift`` unused ones, in two's complement."""
    values = (words.astype(np.int32) >> shift) & (2**bits - 1)
    if is_signed:
        values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    return np.asarray(values, np.int32)


def looked_up(table_L: Pixels, words_HW: npt.NDArray[Any]) -> Pixels:
    """The entry of each word, (H, W) or (H, W, 3); row by row, for NumPy widens the indexes."""
    shown = np.empty((*words_HW.shape, *table_L.shape[1:]), np.uint8)
    for row, words_W in zip(shown, words_HW, strict=True):
        np.take(table_L, words_W, axis=0, out=row, mode="clip")
    return shown


def lookup_words(raw: Any, count: int, is_little_endian: bool) -> npt.NDArray[np.int64]:
    """The entries of a lookup table, of 8 or 16 bits by its length; at most ``count``.

    Raises CorruptImage: there are none.
    """
    if isinstance(raw, bytes):
        is_narrow = len(raw) <= count + count % 2
        order = "<" if is_little_endian else ">"
        pairs = np.frombuffer(raw[: len(raw) // 2 * 2], f"{order}u2")
        # Entries of 8 bits lie in words too, the first one in the low byte.
        words = pairs.astype("<u2").view("u1") if is_narrow and len(raw) > 1 else pairs
        words = words.astype(np.int64)
    else:
        words = np.atleast_1d(np.asarray([] if raw is None else raw)).astype(np.int64) & 0xFFFF
    if not len(words):
        raise CorruptImage("a lookup table is empty")
    return words[:count]


def _palette(dataset: Dataset, indexes: npt.NDArray[np.int32], is_little_endian: bool) -> Pixels:
    """The colour of every possible word, uint8 (L, 3)."""
    if "RedPaletteColorLookupTableData" not in dataset:
        segmented: Any = apply_color_lut(indexes.astype(np.int32)[None], dataset)[0]
        columns = [segmented[:, colour].astype(np.int64) for colour in range(3)]
    else:
        columns = [_palette_column(dataset, name, indexes, is_little_endian) for name in _COLOURS]
    # Many writers store values of 8 or 12 bits in a 16-bit table.
    table_L3 = np.stack(columns, axis=-1)
    bits = significant_bits(int(table_L3.max()))
    return np.asarray(table_L3 >> ((16 if bits == 14 else bits) - 8), np.uint8)


def _palette_column(
    dataset: Dataset, name: str, indexes: npt.NDArray[np.int32], is_little_endian: bool
) -> npt.NDArray[np.int64]:
    """PS3.3 C.7.6.3.1.5; words outside the table have its first or last colour."""
    count, first, _ = (int(n) for n in dataset[f"{name}PaletteColorLookupTableDescriptor"].value)
    count = count & 0xFFFF or 2**16
    first = first - 2**16 if first >= 2**15 and indexes.min() < 0 else first
    raw = dataset[f"{name}PaletteColorLookupTableData"].value
    table = lookup_words(raw, count, is_little_endian)
    return np.asarray(table[np.clip(indexes - first, 0, len(table) - 1)], np.int64)
