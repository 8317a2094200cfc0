"""Kept pixels give the embedding of the file, and nothing else of it."""

import asyncio
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from service.embedding.encoder import load_encoder
from service.embedding.pipeline import EmbeddedImage, EmbedOptions, Pipeline
from service.opening.encoder_opening import pipeline_limits
from service.settings import Settings
from tests.service.expected import BUNDLE

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
    screen = np.zeros((120, 160), np.uint8)
    screen[30:110, 30:130] = rng.integers(0, 256, (80, 100), np.uint8)
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
        "with margins": saved(Image.fromarray(screen), "PNG"),
    }


@pytest.fixture
def embed() -> Callable[..., EmbeddedImage]:
    """Embed one file as the service does; ``region_mode`` as in its requests."""
    encoder = load_encoder(BUNDLE)

    def run(data: bytes, region_mode: str = "auto") -> EmbeddedImage:
        async def once() -> EmbeddedImage:
            async with Pipeline(encoder, pipeline_limits(Settings())) as pipeline:
                (found,) = await pipeline.embed_all(
                    [data], EmbedOptions(region_mode=region_mode, with_png=True)
                )
            assert isinstance(found, EmbeddedImage)
            return found

        return asyncio.run(once())

    return run


@pytest.mark.parametrize("name", sorted(files()))
def test_the_kept_picture_embeds_as_the_file_and_tells_nothing_else(name: str, embed) -> None:
    first = embed(files()[name])
    assert first.used_png is not None
    assert SECRET.encode() not in first.used_png
    assert not Image.open(io.BytesIO(first.used_png)).info
    again = embed(first.used_png, region_mode="none")
    # A TIFF has the unit-length mean of its pictures, even of one.
    np.testing.assert_allclose(first.embedding_D, again.embedding_D, rtol=0, atol=2e-7)
    assert again.used_png == first.used_png


def test_what_is_outside_the_scan_is_not_kept(embed) -> None:
    kept = Image.open(io.BytesIO(embed(files()["with margins"]).used_png))
    assert kept.size < (160, 120)


def test_what_is_no_still_is_not_kept(embed) -> None:
    frames = [Image.fromarray(np.full((20, 20), n, np.uint8)) for n in (0, 90, 200)]
    clip = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert embed(clip).used_png is None
