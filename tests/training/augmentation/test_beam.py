"""Effects of the beam follow the beams, and leave what is outside the scan alone."""

import torch
from torch import Tensor

from training.augmentation.beam import (
    Shadow,
    attenuate,
    compensate,
    enhance,
    reverberate,
    shadow,
)
from training.augmentation.draws import Draws
from training.augmentation.geometry import Geometry, ScanMaps, estimate_geometry, pixel_centres


def test_attenuation_darkens_more_the_deeper(sector_frames: Tensor) -> None:
    scan = estimate_geometry(sector_frames).scan
    flat = torch.where(scan.mask_B1HW, 0.5, 0.0)
    darker = attenuate(flat, scan, each(flat, 1.2), each(flat, 0.1))
    depth, grey = scan.depth_B1HW[scan.mask_B1HW], darker[scan.mask_B1HW]
    ordered = grey[depth.argsort()]
    assert (ordered.diff() <= 1e-6).all()
    assert ordered[-1] < 0.45 * ordered[0]


def test_no_rate_attenuates_nothing(sector_frames: Tensor) -> None:
    scan = estimate_geometry(sector_frames).scan
    same = attenuate(sector_frames, scan, each(sector_frames, 0), each(sector_frames, 0))
    assert torch.equal(same, sector_frames)


def test_gain_curve_meets_its_knots_and_is_smooth_between_them(linear_frames: Tensor) -> None:
    scan = estimate_geometry(linear_frames).scan
    flat = torch.where(scan.mask_B1HW, 0.5, 0.0)
    gains_BK = torch.tensor([[0.5, 1.0, 1.6]]).repeat(len(flat), 1)
    changed = compensate(flat, scan, gains_BK)
    side_px = flat.shape[2]
    quarter = side_px // 4  # half-way between two knots a smooth step is at its middle
    for row, gain in ((1, 0.5), (quarter, 0.75), (side_px // 2, 1.0), (side_px - 2, 1.6)):
        expected = torch.full((side_px - 8,), 0.5 * gain)
        torch.testing.assert_close(changed[0, 0, row, 4:-4], expected, atol=0.01, rtol=0)


def test_a_shadow_in_a_sector_runs_along_the_beam_and_not_down_the_column(
    sector_frames: Tensor,
) -> None:
    geometry = estimate_geometry(sector_frames)
    flat = torch.where(geometry.scan.mask_B1HW, 0.8, 0.0)
    beam, depth = 0.6, 0.3
    darker = shadow(
        flat, geometry.scan, each(flat, 0.8), each(flat, beam), each(flat, 0.08), each(flat, depth)
    )
    start, deep = at(geometry, 0.45, beam), at(geometry, 0.9, beam)
    assert deep[1] - start[1] > 15  # the beam itself moves sideways, in pixels
    assert darker[0, 0, start[0], start[1]] < 0.25
    assert darker[0, 0, deep[0], deep[1]] < 0.25
    assert darker[0, 0, deep[0], start[1]] > 0.75  # straight below, off the beam
    above = at(geometry, 0.15, beam)
    assert darker[0, 0, above[0], above[1]] > 0.79


def test_enhancement_brightens_what_a_shadow_would_darken(sector_frames: Tensor) -> None:
    geometry = estimate_geometry(sector_frames)
    flat = torch.where(geometry.scan.mask_B1HW, 0.4, 0.0)
    parameters = (each(flat, 0.5), each(flat, 0.2), each(flat, 0.1), each(flat, 0.4))
    row, column = at(geometry, 0.8, 0.2)
    assert enhance(flat, geometry.scan, *parameters)[0, 0, row, column] > 0.59
    assert shadow(flat, geometry.scan, *parameters)[0, 0, row, column] < 0.21


def test_drawn_shadows_begin_at_bright_places(linear_frames: Tensor) -> None:
    """The stone is the only bright place of a dark frame, so most shadows start there."""
    frame = torch.full((64, 1, 128, 128), 0.2)
    frame[:, :, 40:60] = 0.9
    scan = estimate_geometry(frame).scan
    draws = Draws(torch.Generator().manual_seed(0), frame.device, len(frame))
    darker = Shadow(strength=(0.8, 0.8))(frame, scan, draws)
    above_B = (darker[:, 0, :38] < 0.15).flatten(1).any(1)
    below_B = (darker[:, 0, 64:] < 0.15).flatten(1).any(1)
    assert below_B.float().mean() > 0.9
    assert above_B.float().mean() < 0.3


def test_reverberation_copies_a_reflector_to_twice_its_depth_on_the_same_beam(
    sector_frames: Tensor,
) -> None:
    geometry = estimate_geometry(sector_frames)
    depth, beam = geometry.scan.depth_B1HW, geometry.scan.beam_B1HW
    spot = ((depth - 0.35).abs() < 0.03) & ((beam - 0.5).abs() < 0.15) & geometry.scan.mask_B1HW
    frame = torch.where(geometry.scan.mask_B1HW, 0.1, 0.0)
    frame[spot] = 1.0
    heard = reverberate(frame, geometry, each(frame, 0.5))
    echo = at(geometry, 0.7, 0.5)
    assert heard[0, 0, echo[0], echo[1]] > 0.5
    for place in ((0.55, 0.5), (0.9, 0.5), (0.7, 0.0)):
        row, column = at(geometry, *place)
        assert heard[0, 0, row, column] < 0.12


def each(frames: Tensor, value: float) -> Tensor:
    return torch.full((len(frames), 1, 1, 1), value)


def at(geometry: Geometry, depth: float, beam: float) -> tuple[int, int]:
    """Pixel of the first frame at a depth and beam."""
    like = geometry.scan.depth_B1HW
    row, column = geometry.beams.position(torch.full_like(like, depth), torch.full_like(like, beam))
    side_px = like.shape[2]
    return int(row[0, 0, 0, 0] * side_px), int(column[0, 0, 0, 0] * side_px)


def test_nothing_outside_the_mask_changes(sector_frames: Tensor) -> None:
    row, column = pixel_centres(sector_frames)
    mask = (torch.hypot(row - 0.5, column - 0.5) < 0.3).expand_as(sector_frames)
    scan = ScanMaps(mask, row.expand_as(sector_frames), column.expand_as(sector_frames))
    changed = attenuate(sector_frames, scan, each(sector_frames, 2), each(sector_frames, 0))
    assert torch.equal(changed[~mask], sector_frames[~mask])
    assert not torch.equal(changed[mask], sector_frames[mask])
