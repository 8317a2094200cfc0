"""The beams that are found are those that the simulator used."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from service.errors import InputError
from training.augmentation.geometry import estimate_geometry, pixel_centres
from training.catalogue.simulator import (
    DEPTH_CM,
    SCENES,
    SECTOR_APEX_CM,
    SECTOR_HALF_ANGLE_RAD,
    simulate,
)

FAR_CM = SECTOR_APEX_CM + DEPTH_CM
TOP_CM = SECTOR_APEX_CM * math.cos(SECTOR_HALF_ANGLE_RAD)
APEX_ROW = -TOP_CM / (FAR_CM - TOP_CM)  # in frame heights


@pytest.mark.parametrize(("height_px", "width_px"), [(192, 208), (224, 224), (96, 120)])
@pytest.mark.parametrize("scene", SCENES)
def test_apex_of_a_simulated_sector_is_found_within_three_pixels(
    scene: str, height_px: int, width_px: int
) -> None:
    rng = np.random.default_rng(3)
    frame = simulate(scene, rng, geometry="sector", height_px=height_px, width_px=width_px)
    beams = estimate_geometry(as_batch(frame.pixels_HW)).beams
    assert beams.sector.item()
    assert abs(beams.apex_row.item() - APEX_ROW) * height_px < 3
    assert abs(beams.apex_column.item() - 0.5) * width_px < 3


@pytest.mark.parametrize("scene", SCENES)
def test_a_simulated_linear_frame_is_recognised(scene: str) -> None:
    frame = simulate(scene, np.random.default_rng(4), geometry="linear")
    geometry = estimate_geometry(as_batch(frame.pixels_HW))
    assert not geometry.beams.sector.item()
    assert geometry.scan.mask_B1HW.float().mean() > 0.98


def test_mask_of_a_sector_is_its_fan_with_the_cyst_inside(
    sector_frames: Tensor, true_fan: Tensor
) -> None:
    scan = estimate_geometry(sector_frames).scan
    agree_B = (scan.mask_B1HW[:, 0] == true_fan).float().mean((1, 2))
    assert agree_B.min() > 0.97


def test_text_and_scale_bar_beside_a_scan_are_not_scan(linear_frames: Tensor) -> None:
    frame = torch.zeros(1, 1, 256, 256)
    frame[:, :, 40:168, 64:192] = linear_frames[:1]
    frame[:, :, 60:160, 10:14] = 0.8
    frame[:, :, 200:206, 60:200:4] = 1.0
    mask = estimate_geometry(frame).scan.mask_B1HW[0, 0]
    assert mask[45:160, 70:186].float().mean() > 0.99
    assert not mask[:, :40].any()
    assert not mask[190:].any()


def test_white_page_around_a_scan_is_not_scan(linear_frames: Tensor) -> None:
    frame = torch.ones(1, 1, 256, 256)
    frame[:, :, 64:192, 64:192] = linear_frames[2:3] * 0.9
    mask = estimate_geometry(frame).scan.mask_B1HW[0, 0]
    assert mask[72:184, 72:184].float().mean() > 0.99
    assert not mask[:48].any()
    assert not mask[:, :48].any()


def test_an_empty_frame_has_no_scan_and_finite_maps() -> None:
    geometry = estimate_geometry(torch.zeros(2, 1, 64, 64))
    assert not geometry.scan.mask_B1HW.any()
    assert geometry.scan.depth_B1HW.isfinite().all()
    assert geometry.scan.beam_B1HW.isfinite().all()


def test_position_undoes_maps(both_frames: Tensor) -> None:
    geometry = estimate_geometry(both_frames)
    row, column = geometry.beams.position(geometry.scan.depth_B1HW, geometry.scan.beam_B1HW)
    true_row, true_column = pixel_centres(both_frames)
    inside = geometry.scan.mask_B1HW & (geometry.scan.depth_B1HW > 0)
    torch.testing.assert_close(row[inside], true_row.expand_as(row)[inside], atol=1e-4, rtol=0)
    expected = true_column.expand_as(column)[inside]
    torch.testing.assert_close(column[inside], expected, atol=1e-4, rtol=0)


def test_a_frame_has_the_same_geometry_alone_and_in_a_batch(both_frames: Tensor) -> None:
    together = estimate_geometry(both_frames)
    for row in range(len(both_frames)):
        alone = estimate_geometry(both_frames[row : row + 1])
        assert torch.equal(alone.scan.mask_B1HW[0], together.scan.mask_B1HW[row])
        torch.testing.assert_close(alone.scan.depth_B1HW[0], together.scan.depth_B1HW[row])


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16),
        torch.zeros(1, 1, 64, 64, dtype=torch.uint8),
        torch.zeros(1, 3, 64, 64),
        torch.zeros(1, 64, 64),
        torch.zeros(1, 1, 15, 64),
        torch.zeros(0, 1, 64, 64),
    ],
)
def test_what_is_not_a_grey_float32_batch_is_refused(frames: Tensor) -> None:
    with pytest.raises(InputError, match="expected"):
        estimate_geometry(frames)


def as_batch(pixels_HW: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels_HW)[None, None].float() / 255
