"""Where the scan lies in a frame, and the straight lines that bound it left and right.

Shape suffixes: B rows of the batch, H height, W width, N sampled image rows, P pairs of them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

FLOOR = 3.5 / 255  # darker is background; JPEG leaves grey levels of 1 to 3 around the scan
PAPER = 0.985  # a whole cell brighter is the white page of a scanned figure
CELLS = 64  # side of the coarse grid on which text and scale bars are told from the scan
SCAN_SHARE_MIN = 0.04  # a smaller lit area is no scan: points of a phantom, an empty frame
POINTS = 24
APART = 6  # pairs of sampled rows nearer than this give no slope worth having
TOLERANCE = 0.012  # of the width; a mask's edge wanders by speckle
BORDER_PX = 2  # an edge that close to the frame's border is the frame's, not the scan's


@dataclass(frozen=True, slots=True)
class EdgeLine:
    """A line ``column = offset + slope * row`` per batch row, in unit coordinates.

    Attributes:
        offset_B: column at row 0.
        slope_B: columns per row.
        support_B: share of the sampled points that lie on the line, 0 where none could be used.
        points_B: number of points on the line, at most ``POINTS``.
    """

    offset_B: Tensor
    slope_B: Tensor
    support_B: Tensor
    points_B: Tensor


def scan_mask(frames_B1HW: Tensor) -> Tensor:
    """Return bool (B, 1, H, W): the scan with its dark inside, without text and scale bars.

    The thickest lit body is found on a coarse grid; at full resolution every column is filled
    from its first to its last lit pixel, which is exact for a rectangle and for a fan. Where
    hardly anything is lit, only the lit pixels count. A white page around the scan is left out.
    """
    lit_B1HW = (frames_B1HW > FLOOR) & (frames_B1HW < PAPER)
    body_B1hw = _body(frames_B1HW)
    near_B1hw = functional.max_pool2d(body_B1hw, 3, 1, 1)
    near_B1HW = functional.interpolate(near_B1hw, frames_B1HW.shape[2:], mode="nearest") > 0
    filled_B1HW = _fill_columns(lit_B1HW & near_B1HW)
    enough_B = body_B1hw.mean((1, 2, 3), keepdim=True) >= SCAN_SHARE_MIN
    return torch.where(enough_B, filled_B1HW, lit_B1HW)


def _body(frames_B1HW: Tensor) -> Tensor:
    """float32 0/1 on the coarse grid: what is connected to the thick parts, or above or below.

    A dark cyst may part the scan across its whole width; lines of text are too thin to count.
    """
    coarse_B1hw = functional.adaptive_avg_pool2d(frames_B1HW, (CELLS, CELLS))
    lit_B1hw = (coarse_B1hw > FLOOR) & (coarse_B1hw < PAPER)
    opened = _dilate(_erode(lit_B1hw, 1), 1)
    thick = _erode(opened, 4)
    exists_B = thick.any(3, keepdim=True).any(2, keepdim=True)
    grown = torch.where(exists_B, thick, opened)
    for _ in range(12):
        grown = _dilate(grown, 2) & opened
    grown |= _dilate(_erode(lit_B1hw, 2), 2) & grown.any(2, keepdim=True)
    return grown.float()


def _dilate(mask_B1hw: Tensor, reach: int) -> Tensor:
    """Grow by ``reach`` cells to all sides; shifted copies are faster than a pooling layer."""
    wide = mask_B1hw.clone()
    for shift in range(1, reach + 1):
        wide[..., shift:] |= mask_B1hw[..., :-shift]
        wide[..., :-shift] |= mask_B1hw[..., shift:]
    tall = wide.clone()
    for shift in range(1, reach + 1):
        tall[..., shift:, :] |= wide[..., :-shift, :]
        tall[..., :-shift, :] |= wide[..., shift:, :]
    return tall


def _erode(mask_B1hw: Tensor, reach: int) -> Tensor:
    """Shrink; outside the frame counts as scan, so that a scan may touch the border."""
    return ~_dilate(~mask_B1hw, reach)


def _fill_columns(lit_B1HW: Tensor) -> Tensor:
    height = lit_B1HW.shape[2]
    first_B1W, last_B1W = extent(lit_B1HW, 2)
    rows_H = torch.arange(height, device=lit_B1HW.device)[:, None]
    return (rows_H >= first_B1W[:, :, None]) & (rows_H <= last_B1W[:, :, None])


def extent(mask: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """First and last true index along ``axis``, int64 without it; (size, -1) where none is."""
    size = mask.shape[axis]
    numbers = mask.to(torch.uint8)
    present = mask.any(axis)
    first = torch.where(present, numbers.argmax(axis), size)
    last = torch.where(present, size - 1 - numbers.flip(axis).argmax(axis), -1)
    return first, last


def side_lines(mask_B1HW: Tensor) -> tuple[EdgeLine, EdgeLine]:
    """Fit the left and the right border of each mask; a mirrored right border is a left one."""
    left = _left_line(mask_B1HW)
    mirrored = _left_line(mask_B1HW.flip(3))
    right = EdgeLine(
        1 - mirrored.offset_B, -mirrored.slope_B, mirrored.support_B, mirrored.points_B
    )
    return left, right


def _left_line(mask_B1HW: Tensor) -> EdgeLine:
    rows_BN, columns_BN, weights_BN = _left_points(mask_B1HW)
    inlier_BN = _best_pair_inliers(rows_BN, columns_BN, weights_BN)
    offset_B, slope_B = _least_squares(rows_BN, columns_BN, inlier_BN)
    points_B = inlier_BN.sum(1)
    support_B = points_B / weights_BN.sum(1).clamp(min=1)
    return EdgeLine(offset_B, slope_B, support_B, points_B)


def _left_points(mask_B1HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(row, column, weight) of ``POINTS`` places between the top and the outermost point.

    Below its outermost point a sector's mask is bounded by its bottom arc, or by the frame's
    border, and not by a beam.
    """
    height, width = mask_B1HW.shape[2:]
    first_BH = extent(mask_B1HW, 3)[0][:, 0]
    scanned_BH = first_BH < width
    top_B = extent(scanned_BH, 1)[0].clamp(max=height - 1)
    outermost_B = first_BH.amin(1)
    near_BH = first_BH <= (outermost_B + 0.01 * width)[:, None]
    end_B = extent(near_BH & scanned_BH, 1)[1]
    clipped_B = extent(first_BH <= BORDER_PX, 1)[0] - 1
    end_B = torch.minimum(end_B, clipped_B).clamp(min=0).maximum(top_B)
    share_N = torch.linspace(0, 1, POINTS, device=mask_B1HW.device)
    index_BN = (top_B[:, None] + share_N * (end_B - top_B)[:, None]).round().long()
    column_BN = first_BH.gather(1, index_BN)
    usable_BN = (column_BN > BORDER_PX) & (column_BN < width)
    return index_BN / height, column_BN / width, usable_BN.float()


def _best_pair_inliers(rows_BN: Tensor, columns_BN: Tensor, weights_BN: Tensor) -> Tensor:
    """0/1 (B, N): points on the line through two of them that explains most.

    All pairs are tried (RANSAC without the chance). A point outside the line costs twice what
    one on it gains: dark tissue pulls a mask's border inwards, nothing pushes it outwards.
    """
    one_P, two_P = torch.triu_indices(POINTS, POINTS, APART, device=rows_BN.device)
    rise_BP = rows_BN[:, two_P] - rows_BN[:, one_P]
    run_BP = columns_BN[:, two_P] - columns_BN[:, one_P]
    slope_BP = run_BP / rise_BP.clamp(min=1e-3)
    offset_BP = columns_BN[:, one_P] - slope_BP * rows_BN[:, one_P]
    line_BPN = torch.addcmul(offset_BP[..., None], slope_BP[..., None], rows_BN[:, None])
    inwards_BPN = columns_BN[:, None] - line_BPN
    on_BPN = (inwards_BPN.abs() <= TOLERANCE).float()
    score_BPN = on_BPN.sub_(2 * (inwards_BPN < -TOLERANCE).float())
    score_BP = torch.einsum("bpn,bn->bp", score_BPN, weights_BN)
    score_BP = score_BP * weights_BN[:, one_P] * weights_BN[:, two_P]
    best_B = score_BP.argmax(1)[:, None, None].expand(-1, 1, POINTS)
    inwards_BN = inwards_BPN.gather(1, best_B)[:, 0]
    return (inwards_BN.abs() <= TOLERANCE) * weights_BN


def _least_squares(
    rows_BN: Tensor, columns_BN: Tensor, weights_BN: Tensor
) -> tuple[Tensor, Tensor]:
    total_B = weights_BN.sum(1).clamp(min=1)
    row_B = (weights_BN * rows_BN).sum(1) / total_B
    column_B = (weights_BN * columns_BN).sum(1) / total_B
    centred_BN = (rows_BN - row_B[:, None]) * weights_BN
    slope_B = (centred_BN * columns_BN).sum(1) / (centred_BN * rows_BN).sum(1).clamp(min=1e-6)
    return column_B - slope_B * row_B, slope_B
