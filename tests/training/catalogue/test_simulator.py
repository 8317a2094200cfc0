"""The simulator shows the physics it claims, and the committed samples are its own."""

import subprocess
import sys

import numpy as np
import pytest

from service.cli.demo import SAMPLES
from service.errors import InputError
from service.imaging.formats.decode import decode
from training.catalogue.simulator import SCENES, samples, simulate


def drawn(scene: str, seed: int, geometry: str = "linear"):
    frame = simulate(scene, np.random.default_rng(seed), geometry=geometry)
    return frame.pixels_HW.astype(float), frame.parameters


def patch(grey: np.ndarray, depth: float, across: float, half: float = 0.03) -> float:
    height, width = grey.shape
    rows = slice(int((depth - half) * height), int((depth + half) * height) + 1)
    columns = slice(int((across - half) * width), int((across + half) * width) + 1)
    return float(grey[rows, columns].mean())


@pytest.mark.parametrize("seed", range(4))
def test_a_cyst_is_black_and_brightens_what_lies_behind(seed: int) -> None:
    grey, truth = drawn("cyst", seed)
    behind = truth["depth"] + truth["radius"] + 0.08
    beside = 0.1 if truth["across"] > 0.5 else 0.9
    assert patch(grey, truth["depth"], truth["across"]) < 60
    assert patch(grey, behind, truth["across"]) > patch(grey, behind, beside) + 20


@pytest.mark.parametrize("seed", range(4))
def test_a_stone_is_bright_and_throws_a_shadow(seed: int) -> None:
    grey, truth = drawn("stone", seed)
    column = grey[:, int(truth["across"] * grey.shape[1])]
    top = int(truth["depth"] * len(column))
    assert column[top : top + 6].max() > 240
    beside = 0.1 if truth["across"] > 0.5 else 0.9
    assert patch(grey, 0.8, truth["across"]) < patch(grey, 0.8, beside) - 60


@pytest.mark.parametrize("seed", range(4))
def test_a_lines_repeat_at_multiples_of_the_pleura_and_b_lines_reach_the_bottom(seed: int) -> None:
    grey, truth = drawn("a_lines", seed)
    rows = grey.mean(1)
    for repeat in (2, 3):
        place = int(repeat * truth["pleura_depth"] * len(rows))
        assert rows[place - 9 : place + 10].max() > np.median(rows) + 40
    grey, _ = drawn("b_lines", seed)
    assert np.ptp(grey[-20:].mean(0)) > 100


def test_the_same_seed_gives_the_same_frame_and_another_seed_another() -> None:
    for scene in SCENES:
        one, other = drawn(scene, 1, "sector")[0], drawn(scene, 1, "sector")[0]
        np.testing.assert_array_equal(one, other)
        assert np.abs(one - drawn(scene, 2, "sector")[0]).mean() > 1


def test_a_sector_is_black_outside_its_fan() -> None:
    grey, _ = drawn("tissue", 0, "sector")
    assert grey[:60, :20].max() == 0
    assert grey[:60, -20:].max() == 0


def test_unknown_scenes_and_tiny_frames_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError):
        simulate("heart", rng)
    with pytest.raises(InputError):
        simulate("cyst", rng, height_px=8)


def test_the_committed_samples_are_what_the_simulator_writes() -> None:
    for name, frame in samples(10, 7):
        stored = decode((SAMPLES / name).read_bytes(), max_pixels=10**6).pixels_HW
        # Another build of NumPy or SciPy may round a pixel otherwise.
        difference = np.abs(stored.astype(int) - frame.pixels_HW)
        assert difference.max() <= 2
        assert (difference > 0).mean() < 0.01


def test_the_simulator_needs_no_torch() -> None:
    code = "import sys, training.catalogue.simulator; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
