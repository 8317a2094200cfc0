"""Stills become one grey frame; damaged files raise an error of the service and no other."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.cli.demo import SAMPLES
from service.errors import CorruptImage, ImageTooLarge, InputError, UnsupportedFormat
from service.imaging.formats.decode import decode

SAMPLE = SAMPLES / "cyst" / "cyst_00.png"
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


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda hw: hw),
        (2, np.fliplr),
        (3, lambda hw: np.rot90(hw, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda hw: np.rot90(hw, -1)),
        (7, lambda hw: np.rot90(np.transpose(hw), 2)),
        (8, np.rot90),
    ],
)
def test_every_exif_orientation_comes_out_upright(kind: str, orientation: int, turn) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(GREY).convert("RGB")
    turned = decode(saved(image, kind, exif=exif, **options), max_pixels=10**7).pixels_HW
    plain = decode(saved(image, kind, **options), max_pixels=10**7).pixels_HW
    np.testing.assert_array_equal(turned, turn(plain))


def test_sixteen_bit_grey_is_turned_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(GREY.astype(np.uint16) * 257)
    frame = decode(saved(wide, "TIFF", exif=exif), max_pixels=10**7)
    np.testing.assert_array_equal(frame.pixels_HW, np.rot90(GREY, -1))


def png_of_16_bits(channels: int, colour_type: int) -> bytes:
    """Pillow writes no 16-bit colour: header, one zlib stream, end (PNG 3rd edition, 11.2)."""
    height, width = GREY.shape
    samples = np.repeat(GREY.astype(">u2")[:, :, None] * 257, channels, axis=2).astype(">u2")
    if colour_type in (4, 6):
        samples[:, :, -1] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.parametrize(("channels", "colour_type"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_sixteen_bits_per_channel_give_the_same_frame(channels: int, colour_type: int) -> None:
    frame = decode(png_of_16_bits(channels, colour_type), max_pixels=10**7)
    np.testing.assert_array_equal(frame.pixels_HW, GREY)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_file_of_several_frames_is_no_still(kind: str) -> None:
    image = Image.fromarray(GREY).convert("RGB")
    data = saved(image, kind, save_all=True, append_images=[image.rotate(90)])
    with pytest.raises(UnsupportedFormat, match="several frames"):
        decode(data, max_pixels=10**7)


def test_a_jpeg_with_copies_behind_it_as_phones_write_is_one_still() -> None:
    image = Image.fromarray(GREY).convert("RGB")
    data = saved(image, "MPO", save_all=True, append_images=[image.resize((80, 72))])
    frame = decode(data, max_pixels=10**7)
    assert (frame.format, frame.pixels_HW.shape) == ("jpeg", GREY.shape)


def test_a_transparent_grey_becomes_black() -> None:
    value = int(np.median(GREY))
    frame = decode(saved(Image.fromarray(GREY), "PNG", transparency=value), max_pixels=10**7)
    np.testing.assert_array_equal(frame.pixels_HW, np.where(value == GREY, 0, GREY))


def test_hidden_colour_under_full_transparency_is_black() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    assert decode(saved(clear, "PNG"), max_pixels=10**7).pixels_HW.max() == 0


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", UnsupportedFormat),
        (b"hello", UnsupportedFormat),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, UnsupportedFormat),
        (SAMPLE.read_bytes()[:2000], CorruptImage),
        (saved(Image.fromarray(GREY[:4]), "PNG"), CorruptImage),
    ],
    ids=["empty", "text", "dicom", "truncated", "tiny"],
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
