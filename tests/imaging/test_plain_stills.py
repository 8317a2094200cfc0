"""Plain PNG and JPEG files give the pixels that Pillow gives, and damaged ones its errors."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from service.cli.demo import SAMPLES
from service.errors import CorruptImage
from service.imaging.formats.frames import grey_and_coloured_box, grey_of
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.plain_still import plain_pixels
from service.imaging.formats.still import open_image, read_still

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # turn by 90 degrees clockwise to see it upright


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def text_chunk(name: str, value: str) -> PngImagePlugin.PngInfo:
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text(name, value)
    return chunk


@pytest.mark.parametrize(
    ("pixels", "kind", "options"),
    [
        (GREY, "PNG", {"dpi": (96, 96)}),
        (COLOUR, "PNG", {"pnginfo": text_chunk("Software", "a machine")}),
        (GREY, "JPEG", {"quality": 85}),
        (COLOUR, "JPEG", {"quality": 85, "subsampling": "4:2:0"}),
        (COLOUR, "JPEG", {"quality": 85, "subsampling": "4:4:4"}),
        (COLOUR, "JPEG", {"quality": 85, "keep_rgb": True}),
    ],
)
def test_a_plain_file_has_the_same_pixels_without_pillow(
    pixels: np.ndarray, kind: str, options: dict[str, object]
) -> None:
    data = saved(pixels, kind, **options)
    decoded = plain_pixels(open_image(data), data)
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "data",
    [
        saved(GREY, "PNG", transparency=0),
        saved(GREY.astype(np.uint16) * 257, "PNG"),
        saved(GREY, "PNG", exif=TURNED),
        saved(GREY, "PNG", pnginfo=text_chunk("Raw profile type exif", "0")),
        saved(COLOUR, "JPEG", progressive=True),
        saved(GREY, "BMP"),
    ],
    ids=["transparent", "16 bits", "exif", "profile as text", "progressive", "another format"],
)
def test_a_file_whose_picture_needs_more_than_its_samples_is_left_to_pillow(data: bytes) -> None:
    assert plain_pixels(open_image(data), data) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    data = saved(COLOUR, kind)
    with pytest.raises(CorruptImage):
        read_still(data[: int(share * len(data))], DecodeLimits())


def test_the_rotation_of_a_plain_jpeg_is_applied() -> None:
    data = saved(COLOUR, "JPEG", exif=TURNED)
    _, frame = read_still(data, DecodeLimits())
    np.testing.assert_array_equal(
        frame.pixels, np.rot90(np.asarray(Image.open(io.BytesIO(data))), -1)
    )


def test_the_shape_of_pixels_in_a_plain_png_is_read() -> None:
    info, _ = read_still(saved(GREY, "PNG", dpi=(200, 100)), DecodeLimits())
    assert info.pixel_aspect == pytest.approx(2, rel=0.01)


def test_colour_in_a_corner_does_not_change_the_grey_of_the_rest() -> None:
    marked = np.stack([GREY] * 3, axis=-1)
    marked[4:9, 6:12] = (250, 120, 30)
    np.testing.assert_array_equal(grey_of(marked), np.asarray(Image.fromarray(marked).convert("L")))


@pytest.mark.parametrize("tinted_share", [0.0, 0.4, 0.6, 1.0])
def test_the_grey_of_a_tinted_frame_is_that_of_pillow(tinted_share: float) -> None:
    rng = np.random.default_rng(7)
    frame = np.repeat(rng.integers(0, 250, (301, 403, 1), dtype=np.uint8), 3, axis=2)
    tint = rng.integers(0, 6, frame.shape, dtype=np.uint8)
    frame += tint * (rng.random((301, 403, 1)) < tinted_share)
    for pixels in (frame, frame[7:290, 11:400]):
        expected = np.asarray(Image.fromarray(pixels).convert("L"))
        np.testing.assert_array_equal(grey_of(pixels), expected)


def test_the_box_of_the_colour_of_a_frame_has_every_pixel_with_a_colour() -> None:
    grey = np.tile(np.arange(256, dtype=np.uint8), (300, 2))
    frame = np.stack([grey] * 3, axis=-1)
    luma, box = grey_and_coloured_box(frame)
    np.testing.assert_array_equal(luma, grey)
    assert box == (0, 0, 0, 0)
    frame[299, 511, 2] ^= 1  # the faintest colour there is
    assert grey_and_coloured_box(frame)[1] == (511, 299, 512, 300)
    frame[63, 200, 0] ^= 1
    frame[70, 90, 1] ^= 1
    assert grey_and_coloured_box(frame)[1] == (90, 63, 512, 300)
    part = frame[1:299, 3:500]  # of a frame, as a region is
    luma, box = grey_and_coloured_box(part)
    assert box == (87, 62, 198, 70)
    luma[62, 197], luma[69, 87] = part[62, 197, 1], part[69, 87, 0]
    np.testing.assert_array_equal(luma, grey[1:299, 3:500])
