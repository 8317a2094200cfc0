"""A JPEG still or a JPEG in TIFF that lost data is refused, and a whole one never is."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from service.cli.demo import SAMPLES
from service.errors import CorruptImage
from service.imaging.formats.limits import DecodeLimits
from service.imaging.formats.reader import read
from service.imaging.formats.sampling import Sampling

GREY = np.asarray(Image.open(SAMPLES / "cyst" / "cyst_00.png"))
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
SCREEN = np.pad(COLOUR, ((0, 40), (0, 56), (0, 0)))  # ends in black, as most screens do
END = b"\xff\xd9"


def saved(pixels: np.ndarray, file_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def with_preview(pixels: np.ndarray) -> bytes:
    """As a camera writes it: a whole small JPEG in a segment before the picture."""
    preview = saved(pixels[::4, ::4])
    segment = b"Exif\0\0" + preview
    return b"\xff\xd8\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + saved(pixels)[2:]


def cmyk(pixels: np.ndarray) -> bytes:
    inks = np.dstack([255 - pixels, np.zeros(pixels.shape[:2], np.uint8)])
    return bytes(imagecodecs.jpeg8_encode(inks, colorspace="CMYK", outcolorspace="YCCK"))


STILLS = {
    "grey": saved(GREY),
    "colour": saved(COLOUR, subsampling=2),
    "black at the end": saved(SCREEN, subsampling=2),
    "grey at the end": saved(np.pad(GREY, ((0, 40), (0, 56)), constant_values=128)),
    "own tables": saved(COLOUR, optimize=True),
    "restarts for each row": saved(GREY, restart_marker_rows=1),
    "restarts within rows": saved(SCREEN, restart_marker_blocks=5),
    "progressive": saved(SCREEN, progressive=True),
    "preview": with_preview(COLOUR),
    "inks": cmyk(COLOUR),
    "red, green and blue": bytes(
        imagecodecs.jpeg8_encode(COLOUR, colorspace="RGB", outcolorspace="RGB")
    ),
    "several pictures": saved(
        SCREEN, "MPO", save_all=True, append_images=[Image.fromarray(SCREEN)]
    ),
}


def frame(data: bytes) -> np.ndarray:
    (shown,) = read(data, Sampling(), DecodeLimits())
    return shown.pixels


def cut(data: bytes, share: float) -> bytes:
    """The share of the scans that is left of the picture, with the end marker behind it."""
    start = data.index(END) if b"Exif" in data else 0  # behind the preview
    stop = data.rindex(b"\xff\xd8\xff") if b"MPF" in data else len(data)  # before the next one
    first = data.index(b"\xff\xda", start)
    return data[: first + int(share * (stop - first))].rstrip(b"\xff") + END


@pytest.mark.parametrize("name", STILLS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_lost_data_before_its_end_is_refused(name: str, share: float) -> None:
    with pytest.raises(CorruptImage, match=r"less data|does not decode completely"):
        frame(cut(STILLS[name], share))


@pytest.mark.parametrize("name", STILLS)
def test_a_whole_jpeg_is_shown_as_its_decoder_gives_it(name: str) -> None:
    expected = np.asarray(Image.open(io.BytesIO(STILLS[name])).convert("RGB"))
    shown = frame(STILLS[name])
    np.testing.assert_array_equal(shown if shown.ndim == 3 else np.dstack([shown] * 3), expected)


def test_bits_of_the_last_block_may_be_missing_and_bytes_may_be_too_many() -> None:
    whole = saved(GREY)
    assert frame(whole[:-3] + END).shape == GREY.shape
    np.testing.assert_array_equal(frame(whole[:-2] + bytes(20) + END), frame(whole))


def tiff(pixels: np.ndarray, **options: object) -> tuple[bytes, tuple[int, int]]:
    """The file, and where its last strip or tile lies."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, compression="jpeg", **options)
    with tifffile.TiffFile(io.BytesIO(buffer.getvalue())) as file:
        page = file.pages.first
        return buffer.getvalue(), (page.dataoffsets[-1], page.databytecounts[-1])


@pytest.mark.parametrize(
    "options",
    [{"rowsperstrip": 4096}, {"rowsperstrip": 32}, {"tile": (64, 64)}],
    ids=["one strip", "strips", "tiles"],
)
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_jpeg_in_tiff_that_lost_data_is_refused(pixels: np.ndarray, options: dict) -> None:
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    data, (start, size) = tiff(pixels, photometric=kind, **options)
    assert frame(data).shape == pixels.shape
    first = data.index(b"\xff\xda", start)
    for kept in (0.3, 0.7):
        stop = first + int(kept * (start + size - first))
        lost = data[:stop].rstrip(b"\xff") + END
        with pytest.raises(CorruptImage):
            frame(lost.ljust(start + size, b"\0") + data[start + size :])
