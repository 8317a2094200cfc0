"""Stills and animations keep the brightness, the colours and the shape that the file means."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.cli.demo import SAMPLES
from service.errors import CorruptImage, UnsupportedFormat
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling
from tests.fixtures.make_clips import drawn

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
LIMITS = DecodeLimits(max_pixels=10**6, max_clip_frames=50)
ALPHA = Correction("alpha")


def decoded(data: bytes, sampling: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(sampling), LIMITS)
    return image.info, list(image)


def saved(kind: str, picture: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, before: bytes, kind: bytes, data: bytes) -> bytes:
    at = png.index(before) - 4
    return png[:at] + chunk(kind, data) + png[at:]


def animated(count: int = 6, **options: object) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.fromarray(drawn(index)) for index in range(count)]
    pictures[0].save(
        buffer, "PNG", save_all=True, append_images=pictures[1:], duration=40, **options
    )
    return buffer.getvalue()


def told(png: bytes, frames: int) -> bytes:
    """The animation with another number of frames in its control chunk."""
    at = png.index(b"acTL")
    content = b"acTL" + struct.pack(">I", frames) + png[at + 8 : at + 12]
    return png[:at] + content + struct.pack(">I", zlib.crc32(content)) + png[at + 16 :]


def bmp_with_alpha(alpha: int) -> bytes:
    """A bitmap whose header (BITMAPV4) names an alpha channel."""
    height, width = GREY.shape
    pixels = np.dstack([COLOUR[::-1, :, ::-1], np.full_like(GREY, alpha)]).tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    size = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header = size + masks + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 122 + len(pixels), 0, 0, 122) + header + pixels


def rgba(alpha: int) -> np.ndarray:
    return np.dstack([COLOUR, np.full_like(GREY, alpha)])


@pytest.mark.parametrize(
    "data",
    [
        bmp_with_alpha(0),
        saved("PNG", rgba(0)),
        saved("WEBP", rgba(0), lossless=True, exact=True),
        saved("PNG", np.dstack([COLOUR[..., 0], np.zeros_like(GREY)])),
        imagecodecs.png_encode(rgba(0).astype(np.uint16) * 257),
    ],
    ids=["bmp", "png", "webp", "grey", "png 16 bit"],
)
def test_a_picture_that_is_transparent_everywhere_is_shown(data: bytes) -> None:
    info, (frame,) = decoded(data)
    assert info.corrections == (ALPHA,)
    expected = COLOUR if frame.pixels.ndim == 3 else GREY
    np.testing.assert_array_equal(frame.pixels, expected)


def test_a_palette_that_is_transparent_everywhere_is_shown() -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert("P").save(buffer, "PNG", transparency=bytes(256))
    info, (frame,) = decoded(buffer.getvalue())
    assert info.corrections == (ALPHA,)
    assert np.abs(frame.grey.astype(int) - GREY).max() <= 8


def test_an_animation_that_is_transparent_everywhere_is_shown_whichever_frames_are_used() -> None:
    hidden = np.zeros((64, 96), np.uint8)
    pictures = [Image.fromarray(np.dstack([drawn(n), hidden])) for n in (0, 3)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "PNG", save_all=True, append_images=pictures[1:], duration=40)
    for sampling in ("all", "uniform:1"):
        info, frames = decoded(buffer.getvalue(), sampling)
        assert info.corrections == (ALPHA,)
        for frame in frames:
            np.testing.assert_array_equal(frame.rgb, drawn(3 * frame.index))


def test_a_little_that_can_be_seen_keeps_the_rest_transparent() -> None:
    samples = rgba(0)
    samples[5, 5, 3] = 255
    info, (frame,) = decoded(saved("PNG", samples))
    assert info.corrections == ()
    assert np.count_nonzero(frame.rgb.any(-1)) == 1
    assert decoded(bmp_with_alpha(255))[0].corrections == ()


def test_colour_of_twelve_bits_in_sixteen_is_not_dark() -> None:
    wide = (COLOUR.astype(np.uint16) << 4) | (COLOUR >> 4)
    for samples in (wide, np.dstack([wide, np.full_like(wide[..., 0], 65535)])):
        _, (frame,) = decoded(imagecodecs.png_encode(samples))
        assert np.abs(frame.pixels.astype(int) - COLOUR).max() <= 1


def in_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(levels * ((2**bits - 1) / 255)).astype(np.uint16)


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colours_of_a_deep_jpeg_2000_are_as_bright_as_they_were_stored(bits, codec) -> None:
    picture = COLOUR.copy()
    picture[20:40, 20:60] = 255
    opaque = np.full_like(GREY, 255)
    for levels in (picture, np.dstack([picture, opaque]), np.dstack([picture[..., 0], opaque])):
        data = imagecodecs.jpeg2k_encode(
            in_bits(levels, bits), level=0, bitspersample=bits, codecformat=codec
        )
        _, (frame,) = decoded(bytes(data))
        shown = picture if levels.shape[2] > 2 else np.repeat(picture[..., :1], 3, axis=2)
        assert np.abs(frame.rgb.astype(int) - shown).max() <= 1


def test_twelve_bits_in_a_jpeg_2000_of_sixteen_are_not_dark() -> None:
    data = imagecodecs.jpeg2k_encode(in_bits(COLOUR, 12), level=0, bitspersample=16)
    _, (frame,) = decoded(bytes(data))
    assert np.abs(frame.rgb.astype(int) - COLOUR).max() <= 1


def test_alpha_of_a_deep_jpeg_2000_lays_its_picture_over_black() -> None:
    alpha = np.full_like(GREY, 255)
    alpha[:20], alpha[20:40] = 0, 51
    samples = in_bits(np.dstack([COLOUR, alpha]), 12)
    _, (frame,) = decoded(bytes(imagecodecs.jpeg2k_encode(samples, level=0, bitspersample=12)))
    shown = COLOUR * (alpha / 255)[..., None]
    assert np.abs(frame.rgb - shown).max() <= 2


def test_a_deep_jpeg_2000_whose_components_differ_in_depth_is_named() -> None:
    samples = in_bits(np.dstack([COLOUR, np.full_like(GREY, 255)]), 16)
    data = bytearray(imagecodecs.jpeg2k_encode(samples, level=0, codecformat="j2k"))
    data[42 + 3 * 3] = 7  # the depth of the fourth component, less one (ISO 15444-1 A.5.1)
    with pytest.raises(UnsupportedFormat, match="16, 16, 16, 8 bits"):
        decoded(bytes(data))


def test_sixteen_bit_colour_has_all_its_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = imagecodecs.png_encode(COLOUR.astype(np.uint16) * 257)
    turned = with_chunk(data, b"IDAT", b"eXIf", exif.tobytes()[6:])
    np.testing.assert_array_equal(decoded(data)[1][0].pixels, COLOUR)
    np.testing.assert_array_equal(decoded(turned)[1][0].pixels, np.rot90(COLOUR, -1))


def test_a_transparent_level_of_sixteen_bit_grey_becomes_black() -> None:
    data = with_chunk(
        saved("PNG", GREY.astype(np.uint16) * 257), b"IDAT", b"tRNS", struct.pack(">H", 200 * 257)
    )
    np.testing.assert_array_equal(decoded(data)[1][0].pixels, np.where(GREY == 200, 0, GREY))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_each_level_of_shallow_grey_can_be_the_transparent_one(depth: int) -> None:
    levels = np.add.outer(np.arange(40), np.arange(48)) % 2**depth
    bits = (levels[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(40, -1).astype(np.uint8), axis=1)
    header = struct.pack(">IIBBBBB", 48, 40, depth, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    for level in {0, 1, 2**depth // 2, 2**depth - 1}:
        parts = (b"IHDR", header), (b"tRNS", struct.pack(">H", level)), (b"IDAT", pixels)
        data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))
        shown = np.where(levels == level, 0, levels * 255 // (2**depth - 1))
        np.testing.assert_array_equal(decoded(data)[1][0].grey, shown)


def test_chunks_before_the_animation_control_do_not_hide_it() -> None:
    data = with_chunk(animated(), b"acTL", b"tEXt", b"Comment\0" + b"x" * 5000)
    info, frames = decoded(data)
    assert (info.kind, info.frames_in_file, len(frames)) == ("cine", 6, 6)
    assert info.frame_rate_hz == pytest.approx(25)


@pytest.mark.parametrize("declared", [0, 1, 4, 9, 2**31 - 1])
def test_frames_of_an_animated_png_are_counted(declared: int) -> None:
    for sampling, count in (("all", 6), ("uniform:3", 3)):
        info, frames = decoded(told(animated(), declared), sampling)
        assert (info.frames_in_file, len(frames)) == (6, count)
        assert info.corrections == (Correction("frame_count", declared, 6),)
        for frame in frames:
            np.testing.assert_array_equal(frame.rgb, drawn(frame.index))


def test_an_animated_png_that_was_cut_off_gives_its_whole_frames() -> None:
    data = animated()
    info, frames = decoded(data[: len(data) * 2 // 3])
    assert 2 <= info.frames_in_file == len(frames) < 6
    assert info.corrections == (Correction("frame_count", 6, len(frames)),)
    np.testing.assert_array_equal(frames[-1].rgb, drawn(len(frames) - 1))
    with pytest.raises(CorruptImage):
        decoded(data[:120])


def test_the_picture_for_programs_without_animation_is_no_frame() -> None:
    info, frames = decoded(animated(default_image=True))
    assert (info.frames_in_file, info.corrections) == (5, ())
    np.testing.assert_array_equal(frames[0].rgb, drawn(1))


def test_an_animation_of_wide_samples_has_one_scale_or_is_named() -> None:
    stack = np.stack([GREY.astype(np.uint16) * 4, GREY.astype(np.uint16) * 16])
    everything = decoded(imagecodecs.apng_encode(stack))[1]
    for frame in everything:
        expected = stack[frame.index] * (255 / 4095)
        assert np.abs(frame.pixels.astype(float) - expected).max() <= 1
    (alone,) = decoded(imagecodecs.apng_encode(stack), "uniform:1")[1]
    np.testing.assert_array_equal(alone.pixels, everything[alone.index].pixels)
    with pytest.raises(UnsupportedFormat, match="16-bit colour"):
        decoded(imagecodecs.apng_encode(np.stack([COLOUR.astype(np.uint16) * 257] * 2)))


def test_an_animation_turned_by_exif_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    info, frames = decoded(animated(exif=exif))
    assert (info.height_px, info.width_px) == (96, 64)
    np.testing.assert_array_equal(frames[2].rgb, np.rot90(drawn(2), -1))


def jfif(across: int, down: int, unit: int = 1) -> bytes:
    data = saved("JPEG", GREY)
    at = data.index(b"JFIF\0") + 7
    return data[:at] + struct.pack(">BHH", unit, across, down) + data[at + 5 :]


def gif(code: int) -> bytes:
    data = saved("GIF", GREY)
    return data[:12] + bytes([code]) + data[13:]


@pytest.mark.parametrize(
    ("data", "aspect"),
    [
        (jfif(144, 72), 2),
        (jfif(1, 2, unit=0), 0.5),
        (jfif(0, 0), 1),
        (jfif(72, 72), 1),
        (jfif(100, 101), 1),
        (with_chunk(saved("PNG", GREY), b"IDAT", b"pHYs", struct.pack(">IIB", 3000, 2000, 1)), 1.5),
        (with_chunk(saved("PNG", GREY), b"IDAT", b"pHYs", struct.pack(">IIB", 2, 3, 0)), 2 / 3),
        (gif(17), 2),
        (gif(0), 1),
        (saved("BMP", GREY, dpi=(200, 100)), 2),
    ],
)
def test_the_shape_of_pixels_comes_from_the_densities(data: bytes, aspect: float) -> None:
    info, (frame,) = decoded(data)
    height, width = GREY.shape
    squared = (round(height * max(1, aspect)), round(width * max(1, 1 / aspect)))
    assert frame.pixels.shape == (info.height_px, info.width_px) == squared
    assert info.corrections == ()


def test_an_impossible_shape_of_pixels_is_not_believed() -> None:
    info, _ = decoded(jfif(1200, 72))
    assert (info.height_px, info.width_px) == GREY.shape
    assert info.corrections == (Correction("pixel_shape", pytest.approx(16.67, abs=0.01), 1),)


def test_the_shape_turns_with_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved("PNG", GREY, exif=exif)
    data = with_chunk(turned, b"IDAT", b"pHYs", struct.pack(">IIB", 2000, 1000, 1))
    height, width = GREY.shape
    assert decoded(data)[1][0].pixels.shape == (width, 2 * height)
