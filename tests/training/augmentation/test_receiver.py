"""Grey levels change as gain, dynamic range and quantisation change them."""

import pytest
import torch
from torch import Tensor

from training.augmentation.draws import Draws
from training.augmentation.geometry import estimate_geometry
from training.augmentation.photometric import OPERATIONS, Photometric
from training.augmentation.receiver import amplify, change_range, quantise, recompress


def test_gain_adds_to_echoes_and_leaves_black_black(sector_frames: Tensor) -> None:
    scan = estimate_geometry(sector_frames).scan
    louder = amplify(sector_frames, scan, each(sector_frames, 0.1))
    clear = scan.mask_B1HW & (sector_frames > 0.3) & (sector_frames < 0.9)
    torch.testing.assert_close(louder[clear], sector_frames[clear] + 0.1, atol=1e-3, rtol=0)
    assert louder[sector_frames == 0].max() == 0


def test_a_smaller_dynamic_range_buries_weak_echoes_and_keeps_white(sector_frames: Tensor) -> None:
    scan = estimate_geometry(sector_frames).scan
    ratio, gamma = each(sector_frames, 1.25), each(sector_frames, 1)
    steeper = change_range(sector_frames, scan, ratio, gamma)
    weak = scan.mask_B1HW & (sector_frames < 0.2)
    assert steeper[weak].max() < 1e-6
    white = scan.mask_B1HW & (sector_frames > 0.999)
    assert steeper[white].min() > 0.99


def test_the_same_compression_changes_nothing_and_a_stronger_one_lifts(
    sector_frames: Tensor,
) -> None:
    scan = estimate_geometry(sector_frames).scan
    mu = each(sector_frames, 250)
    torch.testing.assert_close(recompress(sector_frames, scan, mu, mu), sector_frames)
    lifted = recompress(sector_frames, scan, mu, each(sector_frames, 1500))
    middle = scan.mask_B1HW & (sector_frames > 0.2) & (sector_frames < 0.8)
    assert (lifted[middle] > sector_frames[middle] + 0.01).all()


def test_quantisation_leaves_as_many_levels_as_bits_allow(linear_frames: Tensor) -> None:
    scan = estimate_geometry(linear_frames).scan
    coarse = quantise(linear_frames, scan, each(linear_frames, 3))
    assert len(coarse[scan.mask_B1HW].unique()) == 8


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_photometric_operation_changes_the_scan_and_nothing_else(
    name: str, sector_frames: Tensor, generator: torch.Generator
) -> None:
    frames = 0.1 + 0.6 * sector_frames
    frames = torch.where(sector_frames == 0, 0.0, frames)
    scan = estimate_geometry(frames).scan
    effect = Photometric(chance=1, strength=(0.9, 0.9), operations=(name,))
    changed = effect(frames, scan, Draws(generator, frames.device, len(frames)))
    assert (changed - frames).abs()[scan.mask_B1HW].mean() > 0.005
    assert torch.equal(changed[~scan.mask_B1HW], frames[~scan.mask_B1HW])
    assert 0 <= changed.min() <= changed.max() <= 1


def each(frames: Tensor, value: float) -> Tensor:
    return torch.full((len(frames), 1, 1, 1), float(value))
