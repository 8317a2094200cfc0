"""Speckle has the statistics of speckle; haze and blur are where the depth says."""

import math

import pytest
import torch
from torch import Tensor

from training.augmentation.geometry import ScanMaps, estimate_geometry, pixel_centres
from training.augmentation.smoothing import blur, noise_gain
from training.augmentation.texture import haze, lose_resolution, nakagami_field, speckle


def nakagami_contrast(shape_m: float) -> float:
    """Deviation over mean of a Nakagami amplitude (Shankar 2000)."""
    ratio = math.exp(2 * (math.lgamma(shape_m + 0.5) - math.lgamma(shape_m)))
    return math.sqrt(shape_m / ratio - 1)


def test_rayleigh_contrast_is_that_of_fully_developed_speckle() -> None:
    assert nakagami_contrast(1.0) == pytest.approx(math.sqrt(4 / math.pi - 1))


@pytest.mark.parametrize("shape_m", [0.5, 1.0, 1.5, 2.0])
def test_speckle_field_has_mean_one_and_the_contrast_of_its_shape(
    shape_m: float, generator: torch.Generator
) -> None:
    field = drawn_field(shape_m, generator)
    assert field.mean().item() == pytest.approx(1, abs=0.01)
    assert (field.std() / field.mean()).item() == pytest.approx(
        nakagami_contrast(shape_m), rel=0.03
    )


def test_speckle_grain_is_wider_across_than_along(generator: torch.Generator) -> None:
    field = drawn_field(1.0, generator)
    centred = field - field.mean()
    along = (centred[:, :, 2:] * centred[:, :, :-2]).mean()
    across = (centred[..., 2:] * centred[..., :-2]).mean()
    assert across > 1.5 * along > 0


def test_speckle_keeps_the_mean_and_brings_its_strength_of_contrast(
    generator: torch.Generator,
) -> None:
    frames = torch.full((16, 1, 128, 128), 0.3)
    scan = everywhere(frames)
    changed = speckle(frames, scan, torch.full((16, 1, 1, 1), 0.6), drawn_field(1.0, generator))
    assert changed.mean().item() == pytest.approx(0.3, abs=0.003)
    contrast = (changed.std() / changed.mean()).item()
    assert contrast == pytest.approx(0.6 * nakagami_contrast(1.0), rel=0.03)


def test_speckle_of_no_strength_changes_nothing(
    both_frames: Tensor, generator: torch.Generator
) -> None:
    rows = len(both_frames)
    scan = estimate_geometry(both_frames).scan
    field = drawn_field(1.0, generator)[:rows]
    same = speckle(both_frames, scan, torch.zeros(rows, 1, 1, 1), field)
    assert torch.equal(same, both_frames)


def test_haze_lies_around_its_depth(sector_frames: Tensor) -> None:
    scan = estimate_geometry(sector_frames).scan
    rows = len(sector_frames)
    value = torch.ones(rows, 1, 1, 1)
    black = torch.zeros_like(sector_frames)
    noise = torch.ones(rows, 1, 8, 8)
    hazy = haze(black, scan, 0.4 * value, 0.5 * value, 0.05 * value, noise)
    at_depth = (scan.depth_B1HW - 0.5).abs() < 0.01
    far = (scan.depth_B1HW - 0.5).abs() > 0.25
    assert hazy[at_depth & scan.mask_B1HW].min() > 0.38
    assert hazy[far].max() < 1e-3
    assert hazy[~scan.mask_B1HW].max() == 0


def test_resolution_is_kept_at_the_focus_and_lost_away_from_it(linear_frames: Tensor) -> None:
    scan = everywhere(linear_frames)
    value = torch.ones(len(linear_frames), 1, 1, 1)
    blurred = lose_resolution(linear_frames, scan, 1.0 * value, 2.5 * value, 0.0 * value)
    rough = linear_frames[..., 1:].sub(linear_frames[..., :-1]).abs().mean((0, 1, 3))
    smooth = blurred[..., 1:].sub(blurred[..., :-1]).abs().mean((0, 1, 3))
    assert smooth[1] > 0.9 * rough[1]
    assert smooth[80:110].mean() < 0.5 * rough[80:110].mean()


def test_blur_keeps_a_constant_and_each_row_has_its_own_width(generator: torch.Generator) -> None:
    flat = torch.full((2, 1, 32, 32), 0.4)
    sigma = torch.tensor([0.3, 2.0])
    torch.testing.assert_close(blur(flat, sigma, sigma, reach_px=5), flat)
    noise = torch.randn(1, 1, 200, 200, generator=generator).repeat(2, 1, 1, 1)
    left = blur(noise, sigma, sigma, reach_px=5).std((1, 2, 3)) / noise.std((1, 2, 3))
    expected = noise_gain(sigma, sigma, reach_px=5).flatten()
    torch.testing.assert_close(left, expected, rtol=0.05, atol=0)
    assert left[0] > 5 * left[1]


def drawn_field(shape_m: float, generator: torch.Generator) -> Tensor:
    normal = torch.randn(16, 4, 136, 136, generator=generator)
    value = torch.ones(16, 1, 1, 1)
    return nakagami_field(normal, shape_m * value, 0.7 * value, 1.4 * value)


def everywhere(frames: Tensor) -> ScanMaps:
    row, column = pixel_centres(frames)
    mask = torch.ones_like(frames, dtype=torch.bool)
    return ScanMaps(mask, row.expand_as(frames), 2 * column.expand_as(frames) - 1)
