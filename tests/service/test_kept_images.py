"""Kept pixels give the embedding of the file, and nothing else of it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from service.encoding.runtime import load_encoder
from service.imaging.decode import decode
from service.imaging.preprocess import preprocess
from service.kept_images import kept_png

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"
SECRET = "NAME-7f3a"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    rng = np.random.default_rng(3)
    grey = Image.fromarray(rng.integers(0, 256, (40, 60), np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    wide = Image.fromarray(rng.integers(0, 4096, (40, 60)).astype(np.uint16))
    said = PngImagePlugin.PngInfo()
    said.add_text("PatientName", SECRET)
    turned = Image.Exif()
    turned[0x0112] = 6
    turned[0x010E] = SECRET
    return {
        "named": saved(grey, "PNG", pnginfo=said),
        "colour": saved(colour, "PNG"),
        "wide": saved(wide, "PNG"),
        "turned": saved(grey, "JPEG", exif=turned),
        "tiff": saved(grey, "TIFF", description=SECRET),
    }


@pytest.mark.parametrize("name", sorted(files()))
def test_the_kept_picture_embeds_as_the_file_and_tells_nothing_else(name: str) -> None:
    data, encoder = files()[name], load_encoder(BUNDLE)
    png = kept_png(data, max_pixels=10_000)
    assert png is not None
    assert SECRET.encode() not in png
    assert not Image.open(io.BytesIO(png)).info
    rows = [
        encoder.encode(preprocess(decode(each, max_pixels=10_000).pixels_HW[None], encoder.spec))
        for each in (data, png)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])


def test_what_is_no_still_is_not_kept() -> None:
    frames = [Image.fromarray(np.full((20, 20), n, np.uint8)) for n in (0, 90, 200)]
    clip = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert kept_png(clip, max_pixels=10_000) is None
