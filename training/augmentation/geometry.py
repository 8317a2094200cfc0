"""The beams of a frame: scan mask, kind of probe, apex, and the depth and beam of each pixel.

Unit coordinates: row 0..1 from top to bottom, column 0..1 from left to right, each in units of
its own side, as the encoder sees a frame squashed to a square. Straight beams stay straight
under the squash and their crossing stays the apex; arcs of equal depth become a little elliptic.

Shape suffixes: B rows of the batch, H height, W width.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as functional
from torch import Tensor

from service.errors import InputError
from training.augmentation.edges import EdgeLine, extent, scan_mask, side_lines

OPENING_MIN = 0.25  # sum of both borders' slopes; below it beams are as good as parallel
OPENING_MAX = 8.0
SUPPORT_MIN, POINTS_MIN = 0.4, 7
APEX_ABOVE_MAX = 3.0  # frame heights; farther away is a linear probe
APEX_BELOW_MAX = 0.12  # the crossing may lie this far inside the mask, by the fit's error
SYMMETRY_MIN = 0.3  # of the flatter border's slope to the steeper's; less is a misread border
ARC_CELLS = 32
THIN_ABOVE_PX = 128  # from this side on every second pixel of the mask gives the lines as well


@dataclass(frozen=True, slots=True)
class ScanMaps:
    """Scan mask, depth and beam of each pixel.

    Attributes:
        mask_B1HW: bool, true where the frame shows echoes (dark inside included).
        depth_B1HW: float32, 0 at the transducer's surface, 1 at the deepest scanned point, along
            the beam; clipped to [0, 1.5] outside the scan.
        beam_B1HW: float32, -1 at the leftmost beam, 1 at the rightmost; constant along a beam.
    """

    mask_B1HW: Tensor
    depth_B1HW: Tensor
    beam_B1HW: Tensor

    def rows(self, chosen: Tensor) -> "ScanMaps":
        """Return the maps of the chosen batch rows."""
        return ScanMaps(self.mask_B1HW[chosen], self.depth_B1HW[chosen], self.beam_B1HW[chosen])


@dataclass(frozen=True, slots=True)
class Beams:
    """How each row's beams run, in unit coordinates of its frame; every field (B, 1, 1, 1).

    Attributes:
        sector: bool; false: beams straight down.
        apex_row: where the beams cross; 0 for linear.
        apex_column: where the beams cross; the scan's middle for linear.
        surface: radius of the transducer's surface about the apex; its row for linear.
        far: radius, or row, of the deepest scanned point.
        left: angle from straight down of the leftmost beam, radians; its column for linear.
        right: the same of the rightmost beam; always above ``left``.
    """

    sector: Tensor
    apex_row: Tensor
    apex_column: Tensor
    surface: Tensor
    far: Tensor
    left: Tensor
    right: Tensor

    def rows(self, chosen: Tensor) -> "Beams":
        """Return the beams of the chosen batch rows."""
        return Beams(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def maps(self, row_B1HW: Tensor, column_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """(depth, beam) at points in unit coordinates; beam -1..1 inside the scan."""
        down, across = row_B1HW - self.apex_row, column_B1HW - self.apex_column
        reach = torch.where(self.sector, torch.hypot(down, across), row_B1HW)
        turn = torch.where(self.sector, torch.atan2(across, down), column_B1HW)
        per_reach, per_turn = 1 / (self.far - self.surface), 2 / (self.right - self.left)
        depth = torch.addcmul(-self.surface * per_reach, reach, per_reach)
        beam = torch.addcmul(-1 - self.left * per_turn, turn, per_turn)
        return depth.clamp_(0, 1.5), beam

    def position(self, depth_B1HW: Tensor, beam_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """(row, column) in unit coordinates of points given by depth and beam."""
        reach = self.surface + depth_B1HW * (self.far - self.surface)
        turn = self.left + (beam_B1HW + 1) / 2 * (self.right - self.left)
        row = torch.where(self.sector, self.apex_row + reach * turn.cos(), reach)
        column = torch.where(self.sector, self.apex_column + reach * turn.sin(), turn)
        return row, column


@dataclass(frozen=True, slots=True)
class Geometry:
    """Scan maps of frames and the beams behind them."""

    scan: ScanMaps
    beams: Beams


def estimate_geometry(frames_B1HW: Tensor) -> Geometry:
    """Find mask, kind of probe, apex, depth and beams of each frame.

    A sector is recognised by straight left and right borders that open downwards; the apex is
    their crossing. All else, a frame without background included, counts as linear.

    Raises:
        InputError: not float32 of shape (B, 1, H, W) with sides of at least 16 px.
    """
    check_frames(frames_B1HW)
    with torch.no_grad():
        mask_B1HW, beams = find_beams(frames_B1HW)
        row_B1HW, column_B1HW = pixel_centres(mask_B1HW)
        depth_B1HW, beam_B1HW = beams.maps(row_B1HW, column_B1HW)
    return Geometry(ScanMaps(mask_B1HW, depth_B1HW, beam_B1HW), beams)


def find_beams(frames_B1HW: Tensor) -> tuple[Tensor, Beams]:
    """(mask_B1HW, beams) of checked frames: all of the geometry but the per-pixel maps."""
    mask_B1HW = scan_mask(frames_B1HW)
    thin = 2 if min(mask_B1HW.shape[2:]) >= THIN_ABOVE_PX else 1
    return mask_B1HW, _beams(mask_B1HW[:, :, ::thin, ::thin])


def check_frames(frames_B1HW: Tensor) -> None:
    """Refuse what is not a batch of grey float32 frames.

    Raises:
        InputError: wrong type, shape, or sides under 16 px; expected and actual are named.
    """
    shape = tuple(frames_B1HW.shape)
    if frames_B1HW.dtype != torch.float32 or len(shape) != 4 or shape[1] != 1 or min(shape) < 1:
        raise InputError(f"expected float32 (B, 1, H, W), got {frames_B1HW.dtype} {shape}")
    if min(shape[2:]) < 16:
        raise InputError(f"expected sides of at least 16 px, got {shape[2]} x {shape[3]}")


def pixel_centres(like_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    """(row, column) of every pixel's centre in unit coordinates, (1, 1, H, 1) and (1, 1, 1, W)."""
    height, width = like_B1HW.shape[2:]
    row = (torch.arange(height, device=like_B1HW.device) + 0.5) / height
    column = (torch.arange(width, device=like_B1HW.device) + 0.5) / width
    return row[None, None, :, None], column[None, None, None, :]


def _beams(mask_B1HW: Tensor) -> Beams:
    height, width = mask_B1HW.shape[2:]
    first_row, last_row = extent(mask_B1HW.any(3), 2)
    first_column, last_column = extent(mask_B1HW.any(2), 2)
    empty = last_row < 0
    top = torch.where(empty, 0, first_row / height)[:, 0]
    bottom = torch.where(empty, 1, (last_row + 1) / height)[:, 0]
    left = torch.where(empty, 0, first_column / width)[:, 0]
    right = torch.where(empty, 1, (last_column + 1) / width)[:, 0]
    left_line, right_line = side_lines(mask_B1HW)
    sector, apex_row, apex_column = _crossing(left_line, right_line, top)
    surface, far = _radii(mask_B1HW, apex_row, apex_column)
    sector = sector & (far - surface > 0.1)
    chosen = (
        sector,
        torch.where(sector, apex_row, 0.0),
        torch.where(sector, apex_column, (left + right) / 2),
        torch.where(sector, surface, top),
        torch.where(sector, far, torch.maximum(bottom, top + 1e-3)),
        torch.where(sector, left_line.slope_B.atan(), left),
        torch.where(sector, right_line.slope_B.atan(), torch.maximum(right, left + 1e-3)),
    )
    return Beams(*(value_B[:, None, None, None] for value_B in chosen))


def _crossing(left: EdgeLine, right: EdgeLine, top_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(is a sector, apex row, apex column) per batch row; finite in any case."""
    opening_B = right.slope_B - left.slope_B
    safe_B = torch.where(opening_B.abs() < 1e-3, 1e-3, opening_B)
    apex_row_B = (left.offset_B - right.offset_B) / safe_B
    apex_column_B = left.offset_B + left.slope_B * apex_row_B
    sector_B = (opening_B >= OPENING_MIN) & (opening_B <= OPENING_MAX)
    flatter_B = torch.minimum(-left.slope_B, right.slope_B)
    sector_B &= flatter_B >= SYMMETRY_MIN * torch.maximum(-left.slope_B, right.slope_B)
    for line in (left, right):
        sector_B &= (line.support_B >= SUPPORT_MIN) & (line.points_B >= POINTS_MIN)
    sector_B &= (apex_row_B <= top_B + APEX_BELOW_MAX) & (apex_row_B >= top_B - APEX_ABOVE_MAX)
    return sector_B, apex_row_B, apex_column_B


def _radii(mask_B1HW: Tensor, apex_row_B: Tensor, apex_column_B: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest distance of scanned cells from the apex, to half a cell."""
    share_B1hw = functional.adaptive_avg_pool2d(mask_B1HW.float(), (ARC_CELLS, ARC_CELLS))
    row, column = pixel_centres(share_B1hw)
    reach_B1hw = torch.hypot(
        row - apex_row_B[:, None, None, None], column - apex_column_B[:, None, None, None]
    )
    inside_B1hw = share_B1hw >= 0.5
    nearest_B = torch.where(inside_B1hw, reach_B1hw, torch.inf).amin((1, 2, 3))
    farthest_B = torch.where(inside_B1hw, reach_B1hw, -torch.inf).amax((1, 2, 3))
    half_cell = 0.5 / ARC_CELLS
    found_B = farthest_B > nearest_B
    surface_B = torch.where(found_B, nearest_B - half_cell, 0.0).clamp(min=0)
    return surface_B, torch.where(found_B, farthest_B + half_cell, 1.0)
