"""Stills in, one grey frame out; damaged files get an error of ours and nothing else."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.app import SHIPPED_BUNDLE
from service.errors import CorruptImage, ImageTooLarge, InputError, UnsupportedFormat
from service.imaging.decode import decode

SAMPLE = SHIPPED_BUNDLE.parent / "samples" / "cyst" / "cyst_00.png"
GREY = np.asarray(Image.open(SAMPLE))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode", "tolerance"),
    [
        *[("PNG", mode, 0) for mode in ("L", "RGB")],
        ("PNG", "RGBA", 0),
        ("PNG", "LA", 0),
        ("PNG", "P", 8),  # web palette
        ("BMP", "RGB", 0),
        ("TIFF", "L", 0),
        ("TIFF", "CMYK", 2),
        ("JPEG", "L", 60),  # lossy on speckle
        ("JPEG", "CMYK", 60),
        ("WEBP", "RGB", 80),
    ],
)
def test_every_still_format_gives_the_same_grey_frame(kind: str, mode: str, tolerance: int) -> None:
    data = saved(Image.fromarray(GREY).convert(mode), kind)
    frame = decode(data, max_pixels=10**7)
    assert frame.format == kind.lower()
    assert frame.pixels_HW.dtype == np.uint8
    assert np.abs(frame.pixels_HW.astype(int) - GREY).max() <= tolerance


def test_sixteen_bit_grey_is_scaled_by_its_significant_bits() -> None:
    twelve_bit = (GREY.astype(np.uint16) << 4) | (GREY >> 4)
    frame = decode(saved(Image.fromarray(twelve_bit), "PNG"), max_pixels=10**7)
    assert np.abs(frame.pixels_HW.astype(int) - GREY).max() <= 1


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    frame = decode(saved(Image.fromarray(GREY), "TIFF", exif=exif), max_pixels=10**7)
    np.testing.assert_array_equal(frame.pixels_HW, np.rot90(GREY, -1))


def test_hidden_colour_under_full_transparency_is_black() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    assert decode(saved(clear, "PNG"), max_pixels=10**7).pixels_HW.max() == 0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", UnsupportedFormat),
        (b"hello", UnsupportedFormat),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, UnsupportedFormat),
        (saved(Image.fromarray(GREY), "GIF"), UnsupportedFormat),
        (SAMPLE.read_bytes()[:2000], CorruptImage),
        (saved(Image.fromarray(GREY[:4]), "PNG"), CorruptImage),
    ],
    ids=["empty", "text", "dicom", "gif", "truncated", "tiny"],
)
def test_what_cannot_be_read_says_why(data: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        decode(data, max_pixels=10**7)


def test_too_many_pixels_are_refused_before_decoding() -> None:
    with pytest.raises(ImageTooLarge, match="160 x 144"):
        decode(SAMPLE.read_bytes(), max_pixels=1000)


ORIGINALS = [
    saved(Image.fromarray(GREY[:48, :48]).convert(mode), kind)
    for kind, mode in (("PNG", "L"), ("JPEG", "RGB"), ("WEBP", "RGB"), ("BMP", "P"), ("TIFF", "L"))
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from(ORIGINALS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 4000),
)
def test_a_mutated_file_decodes_or_is_refused_by_an_input_error(
    original: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(original)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        frame = decode(bytes(data[: max(1, cut)]), max_pixels=10**6)
    except InputError:
        return
    assert frame.pixels_HW.ndim == 2
