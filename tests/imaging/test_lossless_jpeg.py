"""Every legal way to code a lossless JPEG in DICOM gives the samples that were stored."""

import numpy as np
import pytest

from service.errors import CorruptImage
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from tests.imaging import dicom_files as made
from tests.imaging.lossless_jpeg import FIXED, SKEWED, Coding, encoded

_DICE = np.random.default_rng(5)
_JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x02\0\0\x01\0\x01\0\0"
_CODINGS = {
    "plain": Coding(),
    "restarts": Coding(restart_rows=4),
    "a restart for each row": Coding(restart_rows=1, predictor=6),
    "another table than the first": Coding(tables=(SKEWED, FIXED), selectors=(1, 1, 1)),
    "all tables in one segment": Coding(tables=(FIXED, SKEWED), has_one_segment=True),
    "a JFIF marker": Coding(head=_JFIF),
}


def samples(bits: int, *shape: int) -> np.ndarray:
    """Noise of all bits, with the brightest value in it."""
    pixels = _DICE.integers(0, 2**bits, (24, 36, *shape))
    pixels[0, 0] = 2**bits - 1
    return pixels.astype(np.uint16 if bits > 8 else np.uint8)


def shown(pixels: np.ndarray, bits: int, packed: bytes, syntax: str = made.LOSSLESS) -> np.ndarray:
    kind = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    item = made.dataset(pixels[None], photometric=kind, bits=bits)
    data = made.encapsulated(item, syntax, [made.even(packed)])
    (frame,) = read(data, Sampling(), DecodeLimits())
    return frame.rgb if pixels.ndim == 3 else frame.grey


def difference(pixels: np.ndarray, bits: int, packed: bytes, syntax: str = made.LOSSLESS) -> float:
    expected = np.rint(pixels / (2**bits - 1) * 255)
    return float(np.abs(shown(pixels, bits, packed, syntax) - expected).max())


@pytest.mark.parametrize("coding", _CODINGS.values(), ids=_CODINGS)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_grey_of_every_coding_is_shown_as_it_was_stored(bits: int, coding: Coding) -> None:
    pixels = samples(bits)
    assert difference(pixels, bits, encoded(pixels, bits, coding)) <= (bits > 8)


@pytest.mark.parametrize("coding", _CODINGS.values(), ids=_CODINGS)
def test_colour_of_every_coding_is_shown_as_it_was_stored(coding: Coding) -> None:
    pixels = samples(8, 3)
    assert difference(pixels, 8, encoded(pixels, 8, coding)) == 0


def test_colours_may_have_a_scan_or_a_table_each() -> None:
    pixels = samples(8, 3)
    assert difference(pixels, 8, encoded(pixels, 8, Coding(is_interleaved=False))) == 0
    tables = Coding(tables=(FIXED, SKEWED), selectors=(0, 1, 1), has_one_segment=True)
    assert difference(pixels, 8, encoded(pixels, 8, tables)) == 0


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("syntax", [made.LOSSLESS, made.SV1])
def test_every_predictor_is_followed(syntax: str, predictor: int) -> None:
    pixels = samples(10)
    packed = encoded(pixels, 10, Coding(predictor=predictor))
    assert difference(pixels, 10, packed, syntax) <= 1


@pytest.mark.parametrize(("bits", "shift"), [(8, 1), (12, 2), (16, 4)])
def test_a_point_transform_leaves_the_upper_bits_in_their_place(bits: int, shift: int) -> None:
    pixels = samples(bits)
    kept = pixels >> shift << shift
    assert difference(kept, bits, encoded(pixels, bits, Coding(shift=shift))) <= (bits > 8)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_stream_that_is_cut_off_is_refused(share: float) -> None:
    pixels = samples(8)
    packed = encoded(pixels)
    with pytest.raises(CorruptImage, match="cut off"):
        shown(pixels, 8, packed[: int(share * len(packed))])
