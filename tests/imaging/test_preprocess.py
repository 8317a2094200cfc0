"""The square that an encoder gets of a frame: resized, with a black border, normalised."""

from dataclasses import replace

import numpy as np
import pytest

from service.errors import InputError
from service.imaging.analysis.preprocess import (
    SQUASH_REDUCED,
    PreprocessSpec,
    fit,
    normalise,
    preprocess,
    resize,
)

PLAIN = PreprocessSpec(160, (0.5,) * 3, (0.25,) * 3)
BORDERED = replace(PLAIN, border=0.1)
REDUCED = replace(PLAIN, resize=SQUASH_REDUCED)


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width)).astype(np.uint8)


def test_without_a_border_the_frame_fills_the_square() -> None:
    np.testing.assert_array_equal(fit(frame(90, 200), PLAIN), resize(frame(90, 200), 160))


def test_a_border_of_a_tenth_is_black_on_each_side_and_the_frame_fills_the_rest() -> None:
    square = fit(frame(90, 200), BORDERED)
    assert square.shape == (160, 160)
    np.testing.assert_array_equal(square[13:147, 13:147], resize(frame(90, 200), 134))
    square[13:147, 13:147] = 0
    assert not square.any()


def test_a_frame_of_the_encoders_size_has_its_border_like_any_other() -> None:
    assert not fit(frame(160, 160), BORDERED)[0].any()


def test_the_border_is_black_and_not_the_mean_after_normalising() -> None:
    square = preprocess(frame(64, 64)[None], BORDERED)[0]
    black = normalise(np.zeros((1, 1, 1), np.uint8), BORDERED)[0, 0, 0, 0]
    np.testing.assert_array_equal(square[:, 0], np.full((3, 160), black))


@pytest.mark.parametrize("border", [-0.1, 0.6, float("nan")])
def test_a_border_outside_its_range_is_refused(border: float) -> None:
    with pytest.raises(InputError, match="border"):
        replace(PLAIN, border=border)


@pytest.mark.parametrize("sides", [(639, 1080), (90, 200), (160, 160)])
def test_a_frame_with_a_side_below_four_times_the_square_is_not_reduced(
    sides: tuple[int, int],
) -> None:
    np.testing.assert_array_equal(fit(frame(*sides), REDUCED), fit(frame(*sides), PLAIN))


@pytest.mark.parametrize("sides", [(640, 640), (731, 1077), (1079, 1919), (1283, 1285)])
def test_a_reduced_frame_is_resized_to_nearly_the_same_square(sides: tuple[int, int]) -> None:
    rows, columns = (np.arange(side) for side in sides)
    waves = 64 * (np.sin(2 * np.pi * rows / 31)[:, None] + np.sin(2 * np.pi * columns / 29))
    large = np.rint(128 + waves).astype(np.uint8)
    apart = fit(large, REDUCED).astype(int) - fit(large, PLAIN)
    # A line left out of an odd side would move the waves by half a pixel: 13 grey levels.
    assert np.abs(apart).max() <= 6
    assert apart.any()


def test_a_bordered_square_is_reduced_for_its_inner_side() -> None:
    large, bordered = frame(600, 600), replace(BORDERED, resize=SQUASH_REDUCED)
    inner = resize(large, 134, is_reduced=True)
    np.testing.assert_array_equal(fit(large, bordered)[13:147, 13:147], inner)
    assert (inner != resize(large, 134)).any()


def test_an_unknown_resize_rule_is_refused() -> None:
    with pytest.raises(InputError, match="resize rule"):
        replace(PLAIN, resize="letterbox")
