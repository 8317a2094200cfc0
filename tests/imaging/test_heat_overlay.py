"""A heat map over its frame: colours, size, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from service.errors import InputError
from service.imaging.analysis.heatmap_overlay import overlay
from service.imaging.analysis.thumbnails import downscaled


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_what_speaks_for_is_orange_and_what_speaks_against_is_blue() -> None:
    frame = np.full((40, 80), 100, np.uint8)
    picture = shown(overlay(frame, np.array([[1.0, -1.0]]))).astype(int)
    assert picture.shape == (40, 80, 3)
    left, right = picture[20, 0], picture[20, -1]
    assert left[0] > 100 > left[2]
    assert right[2] > 100 > right[0]


def test_a_map_of_zeros_leaves_the_frame_as_it_is() -> None:
    frame = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picture = shown(overlay(frame, np.zeros((2, 2))))
    np.testing.assert_array_equal(picture, np.repeat(frame[..., None], 3, axis=2))


def test_a_large_frame_is_scaled_down_in_its_proportions() -> None:
    assert downscaled(np.zeros((300, 900), np.uint8), 320).shape == (107, 320)
    small = np.zeros((30, 90), np.uint8)
    assert downscaled(small, 320) is small


@pytest.mark.parametrize("heat", [np.zeros(4), np.empty((0, 3)), np.array([[np.nan]])])
def test_what_is_no_map_is_refused(heat: np.ndarray) -> None:
    with pytest.raises(InputError):
        overlay(np.zeros((8, 8), np.uint8), heat)
