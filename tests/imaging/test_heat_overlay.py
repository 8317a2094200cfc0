"""A heat map over its frame: colours, opacity, place and size, and what is refused."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from service.errors import InputError
from service.imaging.analysis.heatmap_overlay import (
    AGAINST_RGB,
    FOR_RGB,
    LEVELS,
    MAX_OPACITY,
    MAX_SIDE_PX,
    overlay,
)
from service.imaging.analysis.thumbnails import downscaled


def shown(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    assert picture.mode == "RGBA"
    return np.asarray(picture).astype(int)


def test_evidence_for_is_orange_and_evidence_against_is_blue() -> None:
    picture = shown(overlay(np.array([[1.0, -1.0]]), (0, 0, 80, 40), (80, 40)))
    assert picture.shape == (40, 80, 4)
    left, right = picture[20, 0], picture[20, -1]
    assert tuple(left[:3]) == FOR_RGB
    assert right[2] > right[0]
    assert left[3] == right[3] == round(255 * MAX_OPACITY)


def test_the_picture_has_the_size_of_the_frame_and_is_clear_outside_the_region() -> None:
    picture = shown(overlay(np.ones((5, 5)), (30, 10, 70, 40), (100, 60)))
    assert picture.shape == (60, 100, 4)
    assert (picture[10:40, 30:70, 3] > 0).all()
    picture[10:40, 30:70] = 0
    assert not picture.any()


def test_a_map_of_a_region_with_a_border_is_shown_as_far_as_the_frame_reaches() -> None:
    heat = np.array([[-1.0, -1.0, 1.0, 1.0]])
    picture = shown(overlay(heat, (-40, -10, 120, 50), (80, 40)))
    assert picture.shape == (40, 80, 4)
    assert (picture[..., 3] > 0).all()
    np.testing.assert_array_equal(picture, picture[::-1])
    alone = shown(overlay(heat, (0, 0, 160, 60), (160, 60)))
    np.testing.assert_array_equal(picture, alone[10:50, 40:120])


def test_a_map_of_zeros_is_clear() -> None:
    assert not shown(overlay(np.zeros((2, 2)), (0, 0, 8, 8), (8, 8))).any()


def test_weaker_evidence_is_more_transparent() -> None:
    opacity = shown(overlay(np.array([[0.0, 0.5, 1.0]]), (0, 0, 90, 30), (90, 30)))[15, :, 3]
    assert (np.diff(opacity) >= 0).all()
    assert 0 == opacity[0] < opacity[45] < opacity[-1]


def coloured(level: int) -> tuple[int, int, int, int]:
    """Red, green, blue and opacity of a level; a level of 0 is clear."""
    rgb = FOR_RGB if level > 0 else AGAINST_RGB
    return (*rgb, round(255 * MAX_OPACITY * abs(level) / LEVELS)) if level else (0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(8))
def test_each_pixel_has_the_colour_of_its_level_of_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heat = rng.normal(size=rng.integers(1, 12, 2)).astype(np.float32)
    x0, y0, width, height = rng.integers(1, 90, 4).tolist()
    picture = shown(overlay(heat, (x0, y0, x0 + width, y0 + height), (200, 190)))
    at_pixels = cv2.resize(heat, (width, height))
    levels = np.rint(at_pixels * (LEVELS / np.abs(at_pixels).max())).astype(int)
    expected = np.zeros((190, 200, 4), int)
    for row, column in np.ndindex(height, width):
        expected[y0 + row, x0 + column] = coloured(int(levels[row, column]))
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("box", [(0, 0, 20_000, 30), (19_999, 29, 20_000, 30)])
def test_a_very_long_frame_gets_a_picture_of_its_proportions(box) -> None:
    picture = shown(overlay(np.ones((1, 1)), box, (20_000, 30)))
    assert picture.shape[:2] == (7, MAX_SIDE_PX)
    assert picture[-1, -1, 3] > 0


def test_a_large_frame_is_scaled_down_in_its_proportions() -> None:
    assert downscaled(np.zeros((300, 900), np.uint8), 320).shape == (107, 320)
    small = np.zeros((30, 90), np.uint8)
    assert downscaled(small, 320) is small


@pytest.mark.parametrize("heat", [np.zeros(4), np.empty((0, 3)), np.array([[np.nan]])])
def test_what_is_no_map_is_refused(heat: np.ndarray) -> None:
    with pytest.raises(InputError):
        overlay(heat, (0, 0, 8, 8), (8, 8))
