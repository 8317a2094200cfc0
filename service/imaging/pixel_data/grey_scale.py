"""Grey DICOM samples -> uint8 as a viewer shows them, by one table for the whole file.

Modality LUT or rescale, then VOI LUT or window, then inversion (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).
Without a VOI transformation the brightest value of the whole file decides, because the declared
number of bits is often larger than the one in use.

Shape suffix: L one entry for each possible word.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from service.arrays import Pixels
from service.errors import CorruptImage
from service.imaging.formats.dicom_tags import number
from service.imaging.formats.frames import Correction, rounded, significant_bits
from service.imaging.pixel_data.pixel_format import (
    PixelFormat,
    WordFormat,
    looked_up,
    lookup_words,
    samples_of,
)

_Floats: TypeAlias = npt.NDArray[np.float32]
_Counts: TypeAlias = npt.NDArray[np.int64]
# Of the pixels that are not background, this many must lie inside a window that is believed.
_MIN_INSIDE = 0.01
_MIN_PADDING_GAP = 0.01  # of the range of the other values
_MIN_OVERFLOW = 0.005  # of the pixels
_BLOCK_PX = 2**20
_MAX_NEGATIVE = 1 / 16  # of the largest value: less is noise around zero


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A Modality or VOI LUT (PS3.3 C.11.1.1.1); inputs outside have its first or last entry."""

    first: int
    entries: _Counts

    @property
    def bits(self) -> int:
        """Of an entry, by the largest: descriptors often say 16 for entries of 8 or 12 bits."""
        return significant_bits(int(self.entries.max()))

    def share(self, values: npt.NDArray[Any]) -> _Floats:
        """Of the largest possible entry, 0 to 1."""
        return np.asarray(self.outputs(values) / (2**self.bits - 1), np.float32)

    def outputs(self, values: npt.NDArray[Any]) -> _Counts:
        """The entry for each value."""
        at = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[at.astype(np.int64)])


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window and its function (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

    centre: float
    width: float
    function: str = "LINEAR"

    @property
    def is_possible(self) -> bool:
        """Whether the standard allows this width."""
        return self.width >= 1 or (self.width > 0 and self.function != "LINEAR")

    def share(self, values: _Floats) -> _Floats:
        """From black to white, 0 to 1 after clipping."""
        if self.function == "SIGMOID":
            steep = np.clip(-4 * (values - self.centre) / self.width, -80, 80)
            return np.asarray(1 / (1 + np.exp(steep)), np.float32)
        if self.function == "LINEAR_EXACT":
            return np.asarray((values - self.centre) / self.width + 0.5, np.float32)
        middle, span = self.centre - 0.5, self.width - 1
        share = (values - middle) / max(span, 1e-6) + 0.5
        return np.where(values <= middle - span / 2, np.float32(0), np.asarray(share, np.float32))


@dataclass(frozen=True, slots=True)
class GreyTags:
    """What a file says about showing its grey values.

    Attributes:
        voi: VOI LUTs, then windows, in the order of the file.
        has_broken_voi: whether one more is declared that cannot be applied.
        centre: of the first window, possible or not; None without one.
        padding: (lowest, highest) sample that is no picture, as stored words.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality: LookupTable | None = None
    voi: tuple[LookupTable | Window, ...] = ()
    has_broken_voi: bool = False
    centre: float | None = None
    padding: tuple[int, int] | None = None
    is_inverted: bool = False


def grey_tags(dataset: Dataset, form: PixelFormat) -> GreyTags:
    """Read the tags; a table or window that is no such thing is left out."""
    modality = _tables(dataset, "ModalityLUTSequence", form)
    tables = _tables(dataset, "VOILUTSequence", form)
    windows = list(_windows(dataset))
    possible = [window for window in windows if window.is_possible]
    is_broken = None in tables or len(possible) < len(windows)
    first, last = (number(dataset, f"PixelPadding{n}") for n in ("Value", "RangeLimit"))
    padding = None if first is None else (int(first), int(first if last is None else last))
    # INVERSE belongs to MONOCHROME1 (PS3.3 C.11.6), so both together invert once.
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    return GreyTags(
        slope=number(dataset, "RescaleSlope") or 1.0,
        intercept=number(dataset, "RescaleIntercept") or 0.0,
        modality=modality[0] if modality else None,
        voi=(*(table for table in tables if table is not None), *possible),
        has_broken_voi=is_broken,
        centre=windows[0].centre if windows else None,
        padding=None if padding is None else (min(padding), max(padding)),
        is_inverted=form.photometric == "MONOCHROME1" or shape == "INVERSE",
    )


def _tables(dataset: Dataset, name: str, form: PixelFormat) -> list[LookupTable | None]:
    """Each item of a sequence of lookup tables; None for one that is damaged."""
    return [_table(item, form) for item in dataset.get(name) or []]


def _table(item: Dataset, form: PixelFormat) -> LookupTable | None:
    try:
        count, first, _ = (int(n) for n in item.LUTDescriptor)
        entries = lookup_words(item.LUTData, count & 0xFFFF or 2**16, form.is_little_endian)
    except (AttributeError, TypeError, ValueError, CorruptImage):
        return None
    return LookupTable(first - 2**16 if form.is_signed and first >= 2**15 else first, entries)


def _windows(dataset: Dataset) -> Iterator[Window]:
    centres, widths = (_numbers(dataset, f"Window{name}") for name in ("Center", "Width"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    for centre, width in zip(centres, widths, strict=False):
        if np.isfinite(centre) and np.isfinite(width):
            yield Window(centre, width, function)


def _numbers(dataset: Dataset, name: str) -> list[float]:
    value = dataset.get(name)
    if value is None or value == "":
        return []
    many = [value] if isinstance(value, str) or not hasattr(value, "__len__") else list(value)
    try:
        return [float(one) for one in many]
    except (TypeError, ValueError):
        return []


class GreyScale:
    """The table of one file, learnt from its frames in the order of the file."""

    def __init__(self, word: WordFormat, tags: GreyTags) -> None:
        if word.bits <= 8 and tags.padding == (0, 0) and not tags.is_inverted:
            tags = replace(tags, padding=None)  # black already, and bytes are not stretched
        self._word, self._tags = word, tags
        self._counts_L = np.zeros(2**word.bits, np.int64)
        self._rank: int | None = None  # of the VOI transformation that is believed
        self._has_evidence = False
        self._table_L: Pixels | None = None

    @property
    def is_settled(self) -> bool:
        """Whether further frames cannot change the table."""
        if self._tags.voi:
            return self._rank == 0
        has_padding = self._tags.padding is not None
        if self._tags.modality is not None:
            return not has_padding
        if self._word.is_signed:
            return False
        is_byte = self._word.bits <= 8
        if is_byte and self._word.stored == self._word.bits and not has_padding:
            return True
        # The scale is coarse, so the first bright frame mostly decides.
        highest, claimed = self._highest(), self._word.claimed
        is_bright = highest >= 2 ** (claimed - 2) and significant_bits(highest) >= claimed
        return self._has_evidence and is_bright and not has_padding

    def learn(self, words_HW: npt.NDArray[Any]) -> None:
        """Take account of one frame."""
        counts_L = np.zeros_like(self._counts_L)
        for block in _blocks(words_HW):
            counts_L += np.bincount(block.ravel(), minlength=len(counts_L))
        self._counts_L += counts_L
        if np.count_nonzero(counts_L) < 2:
            return  # a blank frame tells nothing about a window
        self._has_evidence = True
        for rank, share_L in enumerate(self._voi_shares()):
            if self._rank is not None and rank >= self._rank:
                return
            if _has_contrast(counts_L, share_L, self._padding()):
                self._rank = rank

    def shown(self, words_HW: npt.NDArray[Any]) -> Pixels:
        """uint8 (H, W); the table stays as it is from the first call on."""
        if self._table_L is None:
            self._table_L = self._table()
        if self._word.bits == 8 and np.array_equal(self._table_L, np.arange(256)):
            return np.asarray(words_HW, np.uint8)
        return looked_up(self._table_L, words_HW)

    @property
    def correction(self) -> Correction | None:
        """Of a window or VOI LUT that was not believed."""
        voi, rank = self._tags.voi, self._rank
        is_disbelieved = bool(voi) and self._has_evidence and rank != 0
        if not is_disbelieved and not self._tags.has_broken_voi:
            return None
        used = voi[rank or 0] if voi and (rank is not None or not self._has_evidence) else None
        used_centre = used.centre if isinstance(used, Window) else None
        return Correction("window", self._tags.centre, used_centre)

    def _samples(self) -> npt.NDArray[np.int32]:
        """The sample in each possible word."""
        word = self._word
        bits = word.bits - word.shift if self._overflows() else word.stored
        return samples_of(np.arange(2**word.bits), bits, word.shift, word.is_signed)

    def _overflows(self) -> bool:
        """Whether samples are larger than BitsStored allows.

        Unused bits may hold overlays, of which each sets one bit; numbers set them all.
        """
        word = self._word
        if word.is_signed or word.stored + word.shift >= word.bits:
            return False
        above_L = np.arange(2**word.bits) >> (word.stored + word.shift)
        total = self._counts_L.sum()
        if word.bits <= 8:  # no room for overlays
            return bool(self._counts_L[above_L > 0].sum() > _MIN_OVERFLOW * total)
        each = [self._counts_L[above_L == part].sum() for part in (1, 2, 3)]
        return bool(min(each) > _MIN_OVERFLOW * total)

    def _padding(self) -> npt.NDArray[np.bool_]:
        """The words that are no picture: far below or above all others (PS3.3 C.7.5.1.1.2)."""
        samples_L = self._samples()
        if self._tags.padding is None:
            return np.zeros(len(samples_L), bool)
        word = self._word
        ends = np.array(self._tags.padding) & (2**16 - 1)
        low, high = samples_of(ends, word.stored, 0, word.is_signed)
        padding_L = (samples_L >= low) & (samples_L <= high)
        others = samples_L[(self._counts_L > 0) & ~padding_L]
        if not len(others):
            return np.zeros(len(samples_L), bool)
        gap = max(1.0, _MIN_PADDING_GAP * float(others.max() - others.min()))
        is_apart = low > others.max() + gap or high < others.min() - gap
        return padding_L if is_apart else np.zeros(len(samples_L), bool)

    def _highest(self) -> int:
        seen = self._samples()[self._counts_L > 0]
        return int(seen.max()) if len(seen) else 0

    def _modality(self) -> npt.NDArray[np.float32]:
        """The value of each word that VOI transformations apply to."""
        samples_L = self._samples()
        if self._tags.modality is not None:
            return self._tags.modality.outputs(samples_L).astype(np.float32)
        values_L = samples_L * self._tags.slope + self._tags.intercept
        return np.asarray(values_L, np.float32)

    def _voi_shares(self) -> Iterator[_Floats]:
        values_L = self._modality()
        return (transformation.share(values_L) for transformation in self._tags.voi)

    def _table(self) -> Pixels:
        voi = self._tags.voi
        if voi and (self._rank is not None or not self._has_evidence):
            share_L = voi[self._rank or 0].share(self._modality())
        elif self._tags.modality is not None:
            share_L = self._tags.modality.share(self._samples())
        else:
            share_L = self._default_share()
        table_L = rounded(np.clip(share_L, 0, 1) * 255)
        table_L = np.invert(table_L) if self._tags.is_inverted else table_L
        table_L[self._padding()] = 0
        return table_L

    def _default_share(self) -> _Floats:
        """Of the range that the samples of the file use; a negative slope turns it round."""
        samples_L, word = self._samples(), self._word
        seen = samples_L[(self._counts_L > 0) & ~self._padding()]
        if not len(seen):  # no frame decoded: what the header says
            seen = np.array([0, 2**word.stored - 1])
        low, high = int(seen.min()), int(seen.max())
        is_signed = low < -_MAX_NEGATIVE * max(high, 1)
        if is_signed:
            bits = min(word.stored, significant_bits(2 * max(high, -low - 1) + 1))
            samples_L = samples_L + 2 ** (bits - 1)
        else:
            allowed = word.stored - 1 if word.is_signed else word.stored
            bits = significant_bits(max(high, 0))
            bits = bits if self._overflows() else min(bits, allowed)
        share_L = np.asarray(samples_L.astype(np.float32) / (2**bits - 1), np.float32)
        return np.asarray(1 - share_L if self._tags.slope < 0 else share_L)


def _has_contrast(counts_L: _Counts, share_L: _Floats, padding_L: npt.NDArray[np.bool_]) -> bool:
    """Whether a transformation leaves grey levels of the pixels that are not background."""
    seen_L = np.where(padding_L, 0, counts_L)
    levels = np.flatnonzero(seen_L)
    outputs = len(np.unique(np.rint(np.clip(share_L[levels], 0, 1) * 255)))
    if len(levels) <= 2 or outputs <= 2:  # a mask
        return len(levels) == outputs == 2
    seen_L[seen_L.argmax()] = 0
    is_inside = (share_L > 1e-4) & (share_L < 1 - 1e-4)
    return bool(seen_L[is_inside].sum() >= _MIN_INSIDE * seen_L.sum())


def _blocks(words_HW: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Parts of a frame, because counting needs eight times the memory of a part."""
    rows = max(1, _BLOCK_PX // words_HW.shape[1])
    for top in range(0, len(words_HW), rows):
        yield words_HW[top : top + rows]
