"""Colour flow is not text, coloured letters are, and a colour scale is masked with its labels."""

import cv2
import numpy as np
import pytest
from screens import analyze, say, speckle

from service.imaging.analysis.colours import find_colour_overlay, without_flow
from service.imaging.analysis.pixels import box_of, brightest, chroma
from service.imaging.analysis.text import TextFinder

YELLOW, GREEN, WHITE = (255, 255, 0), (60, 255, 60), (255, 255, 255)


def tissue(seed: int = 0) -> np.ndarray:
    return np.stack([speckle(300, 480, seed) // 2] * 3, axis=-1)


def flow(frame: np.ndarray, seed: int) -> np.ndarray:
    """Vessels from dark red at their wall to yellow, drawn in place; where they are."""
    rng = np.random.default_rng(seed)
    power = cv2.GaussianBlur(rng.normal(0, 1, frame.shape[:2]).astype(np.float32), (0, 0), 5)
    power = power / power.std() - 1.2
    power[:60], power[200:] = -1, -1
    inside = power > 0
    red, green = np.clip(120 + 200 * power, 0, 255), np.clip(230 * power - 20, 0, 255)
    frame[inside] = np.stack([red, green, 0 * red], axis=-1)[inside].astype(np.uint8)
    return inside


def written(frame: np.ndarray, colour: tuple[int, int, int], x: int, y: int) -> np.ndarray:
    """A name drawn in place; where its ink is."""
    ink = np.zeros(frame.shape[:2], np.uint8)
    say(ink, "DOE, JANE 4711", x, y, size=0.7, grey=255)
    frame[ink > 100] = colour
    return ink > 100


def filled(frame: np.ndarray, finder: TextFinder) -> np.ndarray:
    view = analyze(frame, finder, region_mode=(0, 0, 480, 300)).views[0]
    inside = np.zeros((300, 480), bool)
    for item in view.texts:
        x0, y0, x1, y1 = item.box
        inside[y0:y1, x0:x1] = True
    return inside


@pytest.mark.parametrize("seed", range(4))
def test_colour_flow_is_left_as_it_is(finder: TextFinder, seed: int) -> None:
    frame = tissue(seed)
    vessels = flow(frame, seed)
    assert vessels.mean() > 0.03
    assert filled(frame, finder)[vessels].mean() < 0.05


@pytest.mark.parametrize("colour", [YELLOW, GREEN, WHITE])
def test_letters_of_one_colour_are_found_beside_flow(
    finder: TextFinder, colour: tuple[int, int, int]
) -> None:
    frame = tissue(5)
    flow(frame, 5)
    ink = written(frame, colour, 40, 250)
    assert filled(frame, finder)[ink].mean() > 0.95


def test_white_letters_over_flow_are_found(finder: TextFinder) -> None:
    frame = tissue(6)
    flow(frame, 6)
    ink = written(frame, WHITE, 120, 130)
    assert filled(frame, finder)[ink].mean() > 0.9


def test_letters_on_a_coloured_plate_are_found(finder: TextFinder) -> None:
    frame = tissue(8)
    frame[200:240, 20:300] = (20, 60, 200)
    ink = written(frame, WHITE, 40, 226)
    assert filled(frame, finder)[ink].mean() > 0.95


def test_letters_on_a_narrow_coloured_strip_of_a_large_screen_are_found(
    finder: TextFinder,
) -> None:
    frame = np.stack([speckle(1080, 1920, 9) // 2] * 3, axis=-1)
    frame[694:728] = (200, 30, 30)  # as bright as the letters in its brightest channel
    ink = np.zeros(frame.shape[:2], np.uint8)
    say(ink, "DOE, JANE 4711", 330, 718, size=0.6, grey=255)
    frame[ink > 100] = (190, 190, 190)
    view = analyze(frame, finder, region_mode=(0, 0, 1920, 1080)).views[0]
    assert not np.any(view.shown_hw[ink > 100] == 190)


def test_only_flow_is_replaced_and_by_the_greys_around_it() -> None:
    frame = np.full((300, 480, 3), 30, np.uint8)
    frame[90:] = 70
    mask = np.zeros((300, 480), np.uint8)
    mask[100:120, :60] = 1  # at the edge of the frame
    frame[mask > 0] = (250, 120, 0)
    clean = without_flow(brightest(frame), mask)
    assert np.array_equal(clean[mask == 0], frame[..., 0][mask == 0])
    assert np.all(clean[108:120, :60] == 70)
    assert np.all((clean[100:104, :60] > 30) & (clean[100:104, :60] < 70))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_colour_scale_is_filled_with_the_labels_that_touch_it(
    finder: TextFinder, scale: int
) -> None:
    frame = tissue(7)
    steps = np.abs(np.linspace(-1, 1, 64))
    bar = np.stack([255 * np.sqrt(steps), 255 * steps**2, 0 * steps], axis=-1)
    frame[100:164, 30:54] = bar[:, None].astype(np.uint8)
    ink = np.zeros((300, 480), np.uint8)
    say(ink, "PWR", 24, 99, size=0.4, grey=255)
    say(ink, "PWR", 24, 176, size=0.4, grey=255)
    frame[ink > 100] = WHITE
    big = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    view = analyze(big, finder, region_mode=(0, 0, 480 * scale, 300 * scale)).views[0]
    left = view.shown_hw[::scale, ::scale][ink > 100]
    assert left.max() < 200


def marked(frame: np.ndarray, rng: np.random.Generator) -> None:
    """Up to four flows, scales and plates drawn in place, also at the edges."""
    height, width = frame.shape[:2]
    for _ in range(rng.integers(1, 5)):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        part = frame[top : top + rng.integers(4, height), left : left + rng.integers(4, width // 2)]
        rows, columns = part.shape[:2]
        grounds = (
            rng.integers(0, 256, 3),
            rng.integers(0, 256, (rows, 1, 3)),
            np.stack([rng.integers(90, 256, (rows, columns)) // n for n in (1, 2, 255)], axis=-1),
        )
        part[:] = grounds[rng.integers(0, 3)]


@pytest.mark.parametrize("seed", range(40))
def test_where_the_caller_knows_the_box_of_the_colour_the_same_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = np.repeat(rng.integers(0, 120, (*rng.integers(12, 400, 2), 1), dtype=np.uint8), 3, 2)
    marked(frame, rng)
    chroma_hw = chroma(frame)
    anywhere = find_colour_overlay(frame, chroma_hw)
    known = find_colour_overlay(frame, chroma_hw, box_of(chroma_hw))
    assert (known is None) == (anywhere is None)
    if known is not None and anywhere is not None:
        np.testing.assert_array_equal(known.flow_hw, anywhere.flow_hw)
        assert (known.scales, known.plates) == (anywhere.scales, anywhere.plates)


def test_frames_without_patches_of_colour_are_not_touched() -> None:
    frame = tissue()
    assert find_colour_overlay(frame, chroma(frame)) is None
    tinted = (frame * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    overlay = find_colour_overlay(tinted, chroma(tinted))
    assert overlay is None or not overlay.flow_hw.any()
    assert np.array_equal(
        without_flow(brightest(frame), np.zeros((300, 480), np.uint8)), frame[..., 0]
    )
