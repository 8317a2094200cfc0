"""Live frames are cut as stills are: also right after another picture has come."""

import numpy as np
import pytest
from screens import analyze, fan, say, screen

from service.arrays import Pixels
from service.imaging.analysis.live_scene import LiveScene
from service.imaging.analysis.text import TextFinder

PAUSE_S = 0.05  # between frames


def used(finder: TextFinder, *frames: Pixels) -> list[tuple[Pixels, ...]]:
    scene = LiveScene(finder, "auto")
    return [scene.use(frame, PAUSE_S * number) for number, frame in enumerate(frames)]


def as_still(frame: Pixels, finder: TextFinder) -> Pixels:
    return analyze(frame, finder).views[0].used_hw


def elsewhere() -> Pixels:
    """Another screen of the same size: the scan lies at another place."""
    frame = np.zeros((600, 800), np.uint8)
    frame[20:320, 20:420] = fan(300, 400, 3)
    say(frame, "DOE, JANE", 450, 560)
    return frame


@pytest.mark.parametrize("before", ["black", "another screen"])
def test_a_picture_that_takes_the_place_of_another_is_cut_at_once(
    finder: TextFinder, before: str
) -> None:
    frame, _ = screen()
    first = np.zeros_like(frame) if before == "black" else elsewhere()
    shown = used(finder, first, frame)[-1]
    np.testing.assert_array_equal(shown[0], as_still(frame, finder))


def test_writing_that_comes_with_another_screen_is_masked_at_once(finder: TextFinder) -> None:
    frame, _ = screen()
    say(frame, "DOE, JANE", 300, 300, grey=255, size=0.8)
    (shown,) = used(finder, elsewhere(), frame)[-1]
    assert finder.find(shown) == ()


def test_a_scan_that_moves_keeps_its_region(finder: TextFinder) -> None:
    """Otherwise a box that is found anew in each frame would make the answer jump."""
    frames = [screen(seed)[0] for seed in range(6)]
    shapes = {shown[0].shape for shown in used(finder, *frames)}
    assert len(shapes) == 1
