"""A training frame and a served frame are decoded, analysed and preprocessed alike."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.embedding.encoder import load_encoder
from service.embedding.pipeline import Pipeline
from service.errors import InputError
from service.opening.encoder_opening import pipeline_limits
from service.settings import Settings
from training.bundle.export import encoder_inputs
from training.catalogue.manifest import ManifestRow, load_frames
from training.catalogue.simulator import simulate
from training.evaluation.served import file_rows, read_ways, used_pixels

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"


class RecordingEncoder:
    """The tiny bundle's encoder, which keeps the tensors that it is given."""

    lanes = ()

    def __init__(self) -> None:
        self._encoder = load_encoder(BUNDLE)
        self.inputs: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, frames_B3SS: np.ndarray) -> np.ndarray:
        self.inputs.append(frames_B3SS.copy())
        return self._encoder.encode(frames_B3SS)


def served_tensor(data: bytes, region: str) -> np.ndarray:
    """What reaches the encoder of the service, (1, 3, S, S)."""
    encoder = RecordingEncoder()

    async def embed() -> None:
        limits = pipeline_limits(Settings(region=region))
        async with Pipeline(encoder, limits) as pipeline:
            (image,) = await pipeline.embed_all([data])
        assert not isinstance(image, Exception), image

    asyncio.run(embed())
    (inputs,) = encoder.inputs
    return inputs


def trained_tensor(path: Path) -> np.ndarray:
    """What a network of training is given for the file, (1, 3, S, S)."""
    row = ManifestRow(path, "corpus", "own", "", "own/a", "", "CC0", False)
    return encoder_inputs(load_frames([row]), load_encoder(BUNDLE).spec)


def grey_png() -> bytes:
    return saved(Image.fromarray(linear_frame()), "PNG")


def colour_png() -> bytes:
    rng = np.random.default_rng(0)
    return saved(Image.fromarray(rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)), "PNG")


def rotated_jpeg() -> bytes:
    picture = Image.fromarray(linear_frame())
    exif = picture.getexif()
    exif[0x0112] = 6
    return saved(picture, "JPEG", exif=exif)


def linear_frame() -> np.ndarray:
    """A frame that the scan fills to its borders: without margins, text or scales."""
    return simulate("tissue", np.random.default_rng(3)).pixels_HW


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("make", [grey_png, colour_png, rotated_jpeg])
def test_a_whole_frame_gives_the_same_tensor_in_training_and_service(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "frame"
    path.write_bytes(make())
    served = served_tensor(path.read_bytes(), region="none")
    np.testing.assert_array_equal(trained_tensor(path), served)


def test_a_frame_without_furniture_gives_the_same_tensor_when_the_service_looks_for_the_scan(
    tmp_path: Path,
) -> None:
    path = tmp_path / "frame.png"
    path.write_bytes(grey_png())
    served = served_tensor(path.read_bytes(), region="auto")
    np.testing.assert_array_equal(trained_tensor(path), served)


def screen_png() -> bytes:
    """A scan between black margins, with a bright header."""
    screen = np.zeros((360, 480), np.uint8)
    screen[80:340, 90:400] = np.asarray(Image.fromarray(linear_frame()).resize((310, 260)))
    return saved(Image.fromarray(screen), "PNG")


def test_an_evaluated_upload_is_cut_and_masked_as_the_service_does_it(tmp_path: Path) -> None:
    path = tmp_path / "screen.png"
    path.write_bytes(screen_png())
    spec = load_encoder(BUNDLE).spec
    served = served_tensor(path.read_bytes(), region="auto")
    np.testing.assert_array_equal(encoder_inputs(used_pixels(path, "served"), spec), served)
    whole = served_tensor(path.read_bytes(), region="none")
    np.testing.assert_array_equal(encoder_inputs(used_pixels(path, "whole"), spec), whole)
    assert np.abs(served - whole).max() > 0.1
    (cropped,) = used_pixels(path, "cropped")
    (masked,) = used_pixels(path, "masked")
    assert masked.shape == (360, 480)
    assert cropped.shape[0] < 300


def test_regions_of_one_file_are_pooled_into_one_row() -> None:
    rows = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(file_rows(rows, [1, 2]), [[1, 0, 0], [0, 0.5, 0.5]])


@pytest.mark.parametrize("names", [["served"], ["whole", "upside_down"]])
def test_unknown_ways_and_none_to_compare_with_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match="ways"):
        read_ways(names)
