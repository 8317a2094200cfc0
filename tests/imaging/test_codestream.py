"""The header of a compressed frame tells its size before anything is decoded."""

import imagecodecs
import numpy as np
import pytest

from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat
from service.imaging.formats.codestream import read_header
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling
from tests.imaging import dicom_files as made

SIZES = [(8, 8), (24, 32), (270, 194), (600, 800), (1080, 1920), (9, 1000), (256, 256), (300, 100)]
NEWER = (
    made.HTJ2K_LOSSLESS,
    made.HTJ2K_RPCL,
    made.HTJ2K,
    made.JXL_LOSSLESS,
    made.JXL_RECOMPRESSED,
    made.JXL,
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("container", [False, True])
def test_size_and_depth_of_jpeg_xl_are_read(size, bits, container) -> None:
    pixels = np.zeros(size, np.uint8 if bits == 8 else np.uint16)
    data = bytes(
        imagecodecs.jpegxl_encode(
            pixels, lossless=True, bitspersample=bits, usecontainer=container, effort=1
        )
    )
    header = read_header(data)
    assert (header.family, header.height_px, header.width_px) == ("jpegxl", *size)
    assert header.bits == bits


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("components", [1, 3])
def test_size_and_depth_of_htj2k_are_read(size, components) -> None:
    shape = size if components == 1 else (*size, 3)
    header = read_header(bytes(imagecodecs.htj2k_encode(np.zeros(shape, np.uint8))))
    assert (header.family, header.height_px, header.width_px) == ("jpeg2000", *size)
    assert (header.components, header.bits) == (components, 8)
    assert header.mixes_colours == (components == 3)


def test_a_recompressed_jpeg_has_the_size_of_its_jpeg() -> None:
    header = read_header(made.compressed(np.zeros((40, 56, 3), np.uint8), made.JXL_RECOMPRESSED))
    assert (header.height_px, header.width_px) == (40, 56)


@pytest.mark.parametrize("syntax", NEWER)
def test_a_small_file_with_a_large_frame_is_refused_before_it_is_decoded(syntax: str) -> None:
    large = made.compressed(np.zeros((1200, 1600), np.uint8), syntax)
    assert len(large) < 40_000
    item = made.dataset(np.zeros((1, 64, 96), np.uint8), photometric="MONOCHROME2", bits=8)
    data = made.encapsulated(item, syntax, [made.even(large)])
    with pytest.raises(ImageTooLarge, match="1600 x 1200"):
        list(read(data, Sampling(), DecodeLimits(max_pixels=1_000_000)))


@pytest.mark.parametrize("syntax", NEWER)
def test_a_frame_of_another_size_than_the_tags_is_refused(syntax: str) -> None:
    packed = made.compressed(np.zeros((64, 96), np.uint8), syntax)
    item = made.dataset(np.zeros((1, 64, 80), np.uint8), photometric="MONOCHROME2", bits=8)
    with pytest.raises(CorruptImage, match="96 x 64"):
        list(read(made.encapsulated(item, syntax, [made.even(packed)]), Sampling(), DecodeLimits()))


def test_jpeg_2000_of_part_2_is_read_unless_it_needs_an_extension() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
    packed = made.compressed(pixels, made.J2K_LOSSLESS)
    part_2 = "1.2.840.10008.1.2.4.92"
    item = made.dataset(pixels[None], photometric="MONOCHROME2", bits=8)
    (frame,) = read(
        made.encapsulated(item, part_2, [made.even(packed)]), Sampling(), DecodeLimits()
    )
    assert np.array_equal(frame.grey, pixels)
    extended = packed[:6] + b"\x80\x00" + packed[8:]
    with pytest.raises(UnsupportedFormat, match="part 2"):
        list(
            read(made.encapsulated(item, part_2, [made.even(extended)]), Sampling(), DecodeLimits())
        )


def jpegxl_bits(*fields: tuple[int, int]) -> bytes:
    number, at = 0, 0
    for value, count in fields:
        number |= value << at
        at += count
    return b"\xff\x0a" + number.to_bytes(16, "little")


SMALL = ((1, 1), (3, 5), (1, 3))  # 32 x 32


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ((*SMALL, (0, 1), (1, 1)), "orientation or animation"),
        ((*SMALL, (0, 1), (0, 1), (1, 1)), "floating-point"),
    ],
)
def test_jpeg_xl_of_another_kind_is_refused_by_name(fields, what) -> None:
    with pytest.raises(UnsupportedFormat, match=what):
        read_header(jpegxl_bits(*fields))


def test_the_largest_size_of_jpeg_xl_is_read() -> None:
    fields = ((0, 1), (3, 2), (2**30 - 1, 30), (7, 3), (1, 1))  # twice as wide as high
    header = read_header(jpegxl_bits(*fields))
    assert (header.height_px, header.width_px, header.bits) == (2**30, 2**31, 8)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a",
        b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a" + b"\0\0\0\0jxlz" * 3,
        b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a" + b"\0\0\0\x10jxlc" + bytes(8),
        b"\xff\x4f\xff\x51\0",
        b"",
    ],
)
def test_a_header_that_is_cut_off_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptImage):
        read_header(data)
