"""Simulated frames, half of them linear and half sectors; their geometry is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.catalogue.simulator import (
    DEPTH_CM,
    SECTOR_APEX_CM,
    SECTOR_HALF_ANGLE_RAD,
    ProbeShape,
    simulate,
)

SIDE_PX = 128


def simulated(geometry: ProbeShape, scenes: tuple[str, ...]) -> Tensor:
    frames = [
        simulate(
            scene,
            np.random.default_rng(number),
            geometry=geometry,
            height_px=SIDE_PX,
            width_px=SIDE_PX,
        ).pixels_HW
        for number, scene in enumerate(scenes)
    ]
    return torch.from_numpy(np.stack(frames))[:, None].float() / 255


@pytest.fixture(scope="session")
def linear_frames() -> Tensor:
    return simulated("linear", ("tissue", "cyst", "a_lines", "stone"))


@pytest.fixture(scope="session")
def sector_frames() -> Tensor:
    return simulated("sector", ("tissue", "cyst", "a_lines", "stone"))


@pytest.fixture(scope="session")
def both_frames(linear_frames: Tensor, sector_frames: Tensor) -> Tensor:
    return torch.cat((linear_frames, sector_frames))


@pytest.fixture(scope="session")
def true_fan() -> Tensor:
    """Bool (H, W): where the sector frames show echoes, by the simulator's own constants."""
    far_cm = SECTOR_APEX_CM + DEPTH_CM
    half_width_cm = far_cm * math.sin(SECTOR_HALF_ANGLE_RAD)
    top_cm = SECTOR_APEX_CM * math.cos(SECTOR_HALF_ANGLE_RAD)
    down_cm = torch.linspace(top_cm, far_cm, SIDE_PX)[:, None]
    across_cm = torch.linspace(-half_width_cm, half_width_cm, SIDE_PX)[None]
    reach_cm = torch.hypot(down_cm, across_cm)
    angle = torch.atan2(across_cm, down_cm)
    inside = (reach_cm >= SECTOR_APEX_CM) & (reach_cm <= far_cm)
    return inside & (angle.abs() <= SECTOR_HALF_ANGLE_RAD)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)
