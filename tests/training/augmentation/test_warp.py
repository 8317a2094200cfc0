"""Changes of place: where things go, and that the beams go with them."""

import torch
from torch import Tensor

from training.augmentation.augmenter import Augmenter
from training.augmentation.config import AugmentationConfig
from training.augmentation.draws import Draws
from training.augmentation.geometry import ScanMaps, estimate_geometry, find_beams, pixel_centres
from training.augmentation.warp import (
    Flip,
    Points,
    Remap,
    crop,
    flip,
    sample,
    straighten,
    tilt,
    zoom,
)


def test_a_flip_mirrors_left_and_right_only(both_frames: Tensor) -> None:
    rows = len(both_frames)
    mirrored, _ = warped(both_frames, flip(full_points(both_frames), torch.ones(rows, 1, 1, 1) > 0))
    torch.testing.assert_close(mirrored, both_frames.flip(3), atol=1e-4, rtol=0)


def test_no_draw_ever_turns_a_frame_upside_down() -> None:
    """The brighter top of a frame stays above under every generic and probe effect."""
    side_px = 64
    ramp = torch.linspace(1, 0.2, side_px)[None, None, :, None].expand(64, 1, -1, side_px)
    config = AugmentationConfig().only("generic", "probe")
    views = Augmenter(config, side_px)(ramp.contiguous(), torch.Generator().manual_seed(5))
    middle = views[:, 0, :, side_px // 2 - 8 : side_px // 2 + 8].mean(2)
    for row in middle:
        inside = row[row > 0.03]
        half = len(inside) // 2
        assert inside[:half].mean() > inside[half:].mean()


def test_flips_fall_on_about_their_share_of_frames(generator: torch.Generator) -> None:
    draws = Draws(generator, torch.device("cpu"), 400)
    like = torch.zeros(400, 1, 1, 2)
    _, column = Flip(chance=0.5)(pixel_centres(like), draws)
    flipped = (column[:, 0, 0, 0] > 0.5).float().mean()
    assert 0.42 < flipped < 0.58


def test_a_crop_shows_its_box(both_frames: Tensor) -> None:
    side_px = both_frames.shape[2]
    quarter, half = value(both_frames, 0.25), value(both_frames, 0.5)
    small = pixel_centres(both_frames[:, :, ::2, ::2])
    row, column = crop(small, quarter, quarter, half, half)
    row, column = row.expand(-1, 1, -1, side_px // 2), column.expand(-1, 1, side_px // 2, -1)
    shown, _ = warped(both_frames, (row, column))
    box = slice(side_px // 4, 3 * side_px // 4)
    torch.testing.assert_close(shown, both_frames[:, :, box, box], atol=1e-4, rtol=0)


def test_zoom_and_tilt_keep_the_contact_point() -> None:
    pivot = (torch.full((1, 1, 1, 1), 0.1), torch.full((1, 1, 1, 1), 0.5))
    angle = torch.full((1, 1, 1, 1), 0.2)
    for row, column in (tilt(pivot, angle, pivot), zoom(pivot, angle + 0.6, pivot)):
        assert row.item() == pivot[0].item()
        assert column.item() == pivot[1].item()


def test_tilt_turns_by_its_angle() -> None:
    pivot = (torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    below = (torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    row, column = tilt(below, torch.full((1, 1, 1, 1), torch.pi / 6), pivot)
    torch.testing.assert_close(row.item(), 3**0.5 / 2)
    torch.testing.assert_close(column.item(), 0.5)


def test_a_straightened_sector_has_rows_of_depth_and_columns_of_beams(
    sector_frames: Tensor,
) -> None:
    _, beams = find_beams(sector_frames)
    points = straighten(full_points(sector_frames), beams)
    flat, scan = warped(sector_frames, points)
    row, column = pixel_centres(sector_frames)
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    expected_depth = row.expand_as(flat)[inner]
    torch.testing.assert_close(scan.depth_B1HW[inner], expected_depth, atol=1e-3, rtol=0)
    expected_beam = (2 * column - 1).expand_as(flat)[inner]
    torch.testing.assert_close(scan.beam_B1HW[inner], expected_beam, atol=1e-3, rtol=0)
    assert scan.mask_B1HW[inner].float().mean() > 0.98


def test_remap_turns_linear_frames_into_sectors_and_sectors_into_rectangles(
    linear_frames: Tensor, sector_frames: Tensor, generator: torch.Generator
) -> None:
    for frames, becomes_sector in ((linear_frames, True), (sector_frames, False)):
        _, beams = find_beams(frames)
        draws = Draws(generator, frames.device, len(frames))
        points = Remap(chance=1.0, half_angle=(0.5, 0.5))(full_points(frames), beams, draws)
        again = estimate_geometry(warped(frames, points)[0])
        assert (again.beams.sector == becomes_sector).all()


def test_depth_and_beam_follow_a_warped_frame(sector_frames: Tensor) -> None:
    """Maps of the warped frame agree with maps that were warped as pictures."""
    geometry = estimate_geometry(sector_frames)
    angle = value(sector_frames, 0.15)
    pivot = (value(sector_frames, 0.0), value(sector_frames, 0.5))
    points = tilt(full_points(sector_frames), angle, pivot)
    _, scan = warped(sector_frames, points)
    beam, _ = sample(
        ((geometry.scan.beam_B1HW + 3) / 6).clamp(0, 1),
        geometry.scan.mask_B1HW,
        geometry.beams,
        points,
    )
    agree = (beam * 6 - 3 - scan.beam_B1HW).abs()[scan.mask_B1HW]
    assert agree.max() < 0.05


def full_points(frames: Tensor) -> Points:
    row, column = pixel_centres(frames)
    return row.expand_as(frames), column.expand_as(frames)


def value(frames: Tensor, number: float) -> Tensor:
    return torch.full((len(frames), 1, 1, 1), number)


def warped(frames: Tensor, points: Points) -> tuple[Tensor, ScanMaps]:
    mask, beams = find_beams(frames)
    return sample(frames, mask, beams, points)
