"""TIFF of every kind gives its pictures: all pages on one scale, and none that is a copy."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from service.cli.demo import SAMPLES
from service.errors import CorruptImage, ImageTooLarge, UnsupportedFormat
from service.imaging.formats.decode import decode
from service.imaging.formats.frames import Correction, DecodedFrame, ImageInfo
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import parse_sampling

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
LIMITS = DecodeLimits(max_pixels=10**6, max_clip_frames=50)


def written(data: np.ndarray, *, big: bool = False, order: str = "<", **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, data, bigtiff=big, byteorder=order, **options)
    return buffer.getvalue()


def pages(*pictures: tuple[np.ndarray, dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for picture, options in pictures:
            writer.write(picture, contiguous=False, metadata=None, **options)
    return buffer.getvalue()


def decoded(data: bytes, sampling: str = "all") -> tuple[ImageInfo, list[DecodedFrame]]:
    image = read(data, parse_sampling(sampling), LIMITS)
    return image.info, list(image)


def pixels(data: bytes) -> np.ndarray:
    return decoded(data)[1][0].pixels


@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_bigtiff_give_the_same_picture(big: bool, order: str) -> None:
    np.testing.assert_array_equal(pixels(written(GREY, big=big, order=order)), GREY)
    wide = GREY.astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels(written(wide, big=big, order=order)), GREY)
    np.testing.assert_array_equal(decode(written(GREY, big=big), max_pixels=10**6).pixels_HW, GREY)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits", "lzma", "lerc"])
@pytest.mark.parametrize("options", [{"rowsperstrip": 16}, {"tile": (64, 64)}])
def test_compressed_strips_and_tiles_are_read(compression: str, options: dict) -> None:
    predictor = compression in ("lzw", "deflate", "zstd")
    data = written(COLOUR, compression=compression, predictor=predictor, **options)
    np.testing.assert_array_equal(pixels(data), COLOUR)


def test_planes_are_read() -> None:
    planes = np.moveaxis(COLOUR, -1, 0).copy()
    data = written(planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(pixels(data), COLOUR)


@pytest.mark.parametrize("mode", ["RGB", "YCbCr"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_luminance_and_chrominance_become_rgb(mode: str, compression: str | None) -> None:
    smooth = Image.fromarray(COLOUR).resize((40, 36)).resize((160, 144))
    buffer = io.BytesIO()
    smooth.convert(mode).save(buffer, "TIFF", compression=compression)
    assert np.abs(pixels(buffer.getvalue()).astype(int) - np.asarray(smooth)).mean() < 3


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_every_depth_is_positive_whichever_end_is_white(bits: int, photometric: str) -> None:
    stored = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(
        np.uint8 if bits <= 8 else np.uint16
    )
    if photometric == "miniswhite":
        stored = (2**bits - 1 - stored).astype(stored.dtype)
    data = written(stored, photometric=photometric, bitspersample=bits)
    if bits == 1:
        data = written(stored.astype(bool), photometric=photometric)
    expected = (GREY.astype(np.uint32) * (2**bits - 1) // 255) * 255 / (2**bits - 1)
    assert np.abs(pixels(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_samples_without_negative_ones_are_as_bright_as_unsigned_ones(kind: type) -> None:
    top = int(np.iinfo(kind).max)
    stored = np.rint(GREY.astype(float) * (top / 255)).astype(kind)
    assert np.abs(pixels(written(stored)).astype(int) - GREY).max() <= 1


def test_white_is_zero_holds_in_a_stack_too() -> None:
    stack = np.stack([65535 - GREY.astype(np.uint16) * 257] * 3)
    info, frames = decoded(written(stack, photometric="miniswhite"))
    assert info.frames_in_file == 3
    for frame in frames:
        np.testing.assert_array_equal(frame.pixels, GREY)


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_wide_stack_has_one_scale_whichever_pages_are_used(colour: bool) -> None:
    """Page by page, a blank page would set a scale of its own, and dark pages would brighten."""
    base = (COLOUR if colour else GREY).astype(np.uint16) * 16
    stack = np.stack([base // 64, base // 4, base, base // 2])
    data = written(stack, photometric="rgb" if colour else "minisblack")
    everything = decoded(data)[1]
    for frame in everything:
        expected = stack[frame.index] * (255 / 4095)
        assert np.abs(frame.pixels.astype(float) - expected).max() <= 1
    for sampling in ("uniform:1", "uniform:2", "uniform:3"):
        for frame in decoded(data, sampling)[1]:
            np.testing.assert_array_equal(frame.pixels, everything[frame.index].pixels)


def test_colour_of_twelve_bits_in_sixteen_is_not_dark() -> None:
    wide = (COLOUR.astype(np.uint16) << 4) | (COLOUR >> 4)
    assert np.abs(pixels(written(wide, photometric="rgb")).astype(int) - COLOUR).max() <= 1


def test_reduced_pages_masks_and_small_copies_are_no_frames() -> None:
    small = np.asarray(Image.fromarray(GREY).resize((40, 36)))
    mask = np.ones_like(GREY, bool)
    for data in (
        pages((GREY, {}), (small, {"subfiletype": 1})),
        pages((small, {"subfiletype": 1}), (GREY, {})),
        pages((GREY, {}), (mask, {"subfiletype": 4, "photometric": "mask"})),
        pages((GREY, {}), (GREY, {"subfiletype": 1})),
        pages((GREY, {}), (small, {})),
        pages((small, {}), (GREY, {})),
    ):
        info, frames = decoded(data)
        assert (info.kind, info.frames_in_file, info.width_px) == ("frame", 1, GREY.shape[1])
        np.testing.assert_array_equal(frames[0].pixels, GREY)


def test_a_picture_below_its_preview_is_the_one_to_read() -> None:
    small = np.asarray(Image.fromarray(GREY).resize((40, 36)))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(small, subifds=1, subfiletype=1, metadata=None)
        writer.write(GREY, metadata=None)
    np.testing.assert_array_equal(pixels(buffer.getvalue()), GREY)


def test_the_levels_of_a_pyramid_are_one_picture() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, subifds=1, metadata=None)
        writer.write(GREY[::2, ::2], subfiletype=1, metadata=None)
    info, frames = decoded(buffer.getvalue())
    assert info.frames_in_file == 1
    np.testing.assert_array_equal(frames[0].pixels, GREY)


def test_other_pictures_of_other_sizes_are_refused() -> None:
    other = np.asarray(Image.fromarray(np.rot90(GREY)).resize((40, 36)))
    for data in (pages((GREY, {}), (GREY[:90], {})), pages((GREY, {}), (255 - other, {}))):
        with pytest.raises(CorruptImage, match="one size"):
            decoded(data)


@pytest.mark.parametrize(
    "options", [{"imagej": True}, {"photometric": "minisblack", "truncate": True}]
)
def test_stacks_behind_one_directory_are_counted(options: dict) -> None:
    stack = np.stack([GREY.astype(np.uint16) * (n + 1) for n in range(4)])
    data = written(stack, **options)
    info, frames = decoded(data)
    assert (info.frames_in_file, len(frames)) == (4, 4)
    expected = stack[3] * (255 / 1023)
    assert np.abs(frames[3].pixels.astype(float) - expected).max() <= 1


@pytest.mark.parametrize("wide", [False, True], ids=["8 bit", "16 bit"])
def test_transparency_is_black_unless_it_covers_everything(wide: bool) -> None:
    factor, kind = (257, np.uint16) if wide else (1, np.uint8)
    samples = np.dstack([COLOUR, np.full_like(GREY, 255)]).astype(kind) * kind(factor)
    samples[:20, :, 3] = 0
    data = written(samples, photometric="rgb", extrasamples=["unassalpha"])
    info, frames = decoded(data)
    assert info.corrections == ()
    assert frames[0].pixels[:20].max() == 0
    np.testing.assert_array_equal(frames[0].pixels[20:], COLOUR[20:])
    samples[..., 3] = 0
    info, frames = decoded(written(samples, photometric="rgb", extrasamples=["unassalpha"]))
    assert info.corrections == (Correction("alpha"),)
    np.testing.assert_array_equal(frames[0].pixels, COLOUR)


def test_palettes_are_applied() -> None:
    ramp = np.arange(256, dtype=np.uint16) * 257
    table = np.stack([ramp, ramp // 2, ramp[::-1]])
    data = written(GREY, photometric="palette", colormap=table)
    assert np.abs(pixels(data).astype(int) - COLOUR).max() <= 1


def test_cmyk_is_converted() -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).convert("CMYK").save(buffer, "TIFF")
    assert np.abs(pixels(buffer.getvalue()).astype(int) - COLOUR).max() <= 2


def test_pages_turned_by_their_tag_are_upright_and_of_one_size() -> None:
    turned = {"extratags": [(274, "H", 1, 6, True)]}
    info, frames = decoded(pages((GREY, turned), (GREY, turned)))
    assert (info.height_px, info.width_px) == GREY.shape[::-1]
    np.testing.assert_array_equal(frames[1].pixels, np.rot90(GREY, -1))


def shape_of(data: bytes) -> tuple[int, int]:
    """Height and width after its pixels are squared."""
    return decoded(data)[1][0].pixels.shape[:2]


def test_the_shape_of_pixels_comes_from_the_resolutions() -> None:
    height, width = GREY.shape
    assert shape_of(written(GREY, resolution=(200, 100))) == (2 * height, width)
    assert shape_of(written(GREY, resolution=(72, 72))) == (height, width)
    tag = [(274, "H", 1, 6, True)]
    turned = written(GREY, resolution=(200, 100), extratags=tag)
    assert shape_of(turned) == (width, 2 * height)
    info = decoded(written(GREY, resolution=(1000, 100)))[0]
    assert (info.height_px, info.width_px) == (height, width)
    assert info.corrections == (Correction("pixel_shape", 10, 1),)


TWO_CHANNELS = np.dstack([GREY, GREY])
SENSOR = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes(4), True)]
DNG = [(50706, "B", 4, b"\1\4\0\0", True)]


def with_compression(code: int) -> bytes:
    field = struct.Struct("<HHIHxx")
    return written(GREY).replace(field.pack(259, 3, 1, 1), field.pack(259, 3, 1, code))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (written(GREY.astype(np.float32)), "floating point"),
        (written(GREY.astype(np.int16) - 100), "negative"),
        (written(GREY.astype(np.uint32) * 70_000), "wider integers"),
        (written(COLOUR, photometric=8), "colour space"),
        (written(TWO_CHANNELS, photometric="minisblack", planarconfig="contig"), "channels"),
        (written(GREY, photometric=32803, extratags=SENSOR), "RAW"),
        (written(GREY, subfiletype=1, extratags=DNG), "RAW"),
        (b"II*\0" + struct.pack("<I", 16) + b"CR\2\0" + bytes(100), "RAW"),
        (with_compression(34964), "compression"),
    ],
    ids=["float", "signed", "32 bit", "lab", "channels", "cfa", "dng", "cr2", "compression"],
)
def test_what_is_not_read_is_named_with_a_way_out(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedFormat, match=f"(?s){words}.*(export|save)"):
        decoded(data)


@pytest.mark.parametrize("compression", [None, "lzw", "jpeg"])
def test_a_file_that_was_cut_off_is_refused(compression: str | None) -> None:
    data = written(GREY, compression=compression, rowsperstrip=16)
    for length in (4, 9, 200, len(data) // 2, len(data) - 40):
        with pytest.raises(CorruptImage):
            decoded(data[:length])


def test_sizes_are_checked_before_anything_is_decoded() -> None:
    data = written(np.zeros((2000, 2000), np.uint8), compression="zstd")
    with pytest.raises(ImageTooLarge, match="2000 x 2000"):
        decoded(data)


def test_a_chain_of_pages_in_a_circle_ends() -> None:
    data = bytearray(pages((GREY, {}), (GREY, {})))
    first = struct.unpack_from("<I", data, 4)[0]
    (count,) = struct.unpack_from("<H", data, first)
    second = struct.unpack_from("<I", data, first + 2 + 12 * count)[0]
    (count,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    assert decoded(bytes(data))[0].frames_in_file == 2


def test_lossy_pixels_are_those_of_the_codec() -> None:
    stream = imagecodecs.jpeg8_encode(GREY, level=90)
    page = written(
        GREY, compression="jpeg", compressionargs={"level": 90}, rowsperstrip=GREY.shape[0]
    )
    np.testing.assert_array_equal(pixels(page), imagecodecs.jpeg8_decode(stream))
