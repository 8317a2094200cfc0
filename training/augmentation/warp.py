"""Where each output pixel comes from: crop, flip, tilt of the probe, depth, sector <-> linear.

All changes of place are composed as coordinates and sampled once, so nothing is blurred twice,
and the maps of depth and beam are evaluated at the same points: a shadow still runs along the
beams of a cropped, tilted or remapped frame. Frames are never turned upside down.

Points are (row, column) in unit coordinates of ``training.augmentation.geometry``. Each function
takes points of the changed frame and returns where they lie in the frame before the change.

Shape suffixes: B rows of the batch, H height, W width, S output side. Parameters (B, 1, 1, 1).
"""

import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as functional
from torch import Tensor

from training.augmentation.draws import Chance, Draws, RandomEffect, Range, Within
from training.augmentation.geometry import Beams, ScanMaps

Points: TypeAlias = tuple[Tensor, Tensor]
OUTSIDE = -9.0  # a coordinate that no frame has


def crop(points: Points, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Points:
    """Show only the box at (top, left) of the given size, each a share of the frame."""
    row, column = points
    return top + row * height, left + column * width


def flip(points: Points, flipped: Tensor) -> Points:
    """Mirror left-right where ``flipped``."""
    row, column = points
    return row, torch.where(flipped, 1 - column, column)


def tilt(points: Points, angle: Tensor, pivot: Points) -> Points:
    """Turn about the place where the probe rests, by radians; positive turns the view left."""
    down, across = points[0] - pivot[0], points[1] - pivot[1]
    cosine, sine = angle.cos(), angle.sin()
    return pivot[0] + cosine * down - sine * across, pivot[1] + sine * down + cosine * across


def zoom(points: Points, ratio: Tensor, pivot: Points) -> Points:
    """Image ``ratio`` times as deep with the probe's surface in place; below 1 magnifies."""
    return (
        pivot[0] + (points[0] - pivot[0]) * ratio,
        pivot[1] + (points[1] - pivot[1]) * ratio,
    )


def straighten(points: Points, beams: Beams) -> Points:
    """Show the fan as a rectangle: row is depth, column is angle (a scan before conversion)."""
    return beams.position(points[0], 2 * points[1] - 1)


def fan_out(points: Points, beams: Beams, half_angle: Tensor, surface: Tensor) -> Points:
    """Show a rectangle as a fan that fills the height; what is beside the fan is outside.

    Args:
        half_angle: of the fan, radians.
        surface: radius of its transducer as a share of the imaged depth.
    """
    depth_unit = 1 / (1 + surface * (1 - half_angle.cos()))
    radius = surface * depth_unit
    apex_row = -radius * half_angle.cos()
    down, across = points[0] - apex_row, points[1] - 0.5
    depth = (torch.hypot(down, across) - radius) / depth_unit
    beam = torch.atan2(across, down) / half_angle
    row, column = beams.position(depth, beam)
    inside = (beam.abs() <= 1) & (depth >= 0) & (depth <= 1)
    return torch.where(inside, row, OUTSIDE), torch.where(inside, column, OUTSIDE)


def sample(
    frames_B1HW: Tensor, mask_B1HW: Tensor, beams: Beams, points: Points
) -> tuple[Tensor, ScanMaps]:
    """Sample frame and mask bilinearly at the points, black outside; the maps follow exactly."""
    row_B1SS, column_B1SS = points
    grid_BSS2 = torch.stack((2 * column_B1SS - 1, 2 * row_B1SS - 1), -1)[:, 0]
    both_B2HW = torch.cat((frames_B1HW, mask_B1HW.to(frames_B1HW.dtype)), 1)
    both_B2SS = functional.grid_sample(both_B2HW, grid_BSS2, align_corners=False)
    depth_B1SS, beam_B1SS = beams.maps(row_B1SS, column_B1SS)
    return both_B2SS[:, :1].clamp(0, 1), ScanMaps(both_B2SS[:, 1:] > 0.5, depth_B1SS, beam_B1SS)


@dataclass(frozen=True, slots=True)
class Crop(RandomEffect):
    """Crop of an area share and an aspect ratio, resized to the side (as random-resized-crop).

    Cropping helps local findings and costs global ones (arXiv 2504.07904): area stays large.
    """

    chance: Chance = 0.9
    area: Annotated[Range, Within(0.05, 1)] = (0.45, 1.0)
    aspect: Annotated[Range, Within(0.25, 4)] = (0.75, 4 / 3)

    def __call__(self, points: Points, draws: Draws) -> Points:
        """Apply with drawn parameters to the rows that are drawn."""
        chosen = draws.random(1, 1, 1) < self.chance
        area, aspect = draws.uniform(self.area), draws.log_uniform(self.aspect)
        height = torch.where(chosen, (area / aspect).sqrt().clamp(max=1), 1.0)
        width = torch.where(chosen, (area * aspect).sqrt().clamp(max=1), 1.0)
        top = draws.random(1, 1, 1) * (1 - height)
        left = draws.random(1, 1, 1) * (1 - width)
        return crop(points, top, left, height, width)


@dataclass(frozen=True, slots=True)
class Flip(RandomEffect):
    """Mirror left-right: the probe turned by 180 degrees. Never upside down."""

    chance: Chance = 0.5

    def __call__(self, points: Points, draws: Draws) -> Points:
        """Apply to the rows that are drawn."""
        return flip(points, draws.random(1, 1, 1) < self.chance)


@dataclass(frozen=True, slots=True)
class Tilt(RandomEffect):
    """The probe rocked about its contact with the skin."""

    chance: Chance = 0.2
    degrees: Annotated[Range, Within(-45, 45)] = (-12.0, 12.0)

    def __call__(self, points: Points, beams: Beams, draws: Draws) -> Points:
        """Apply with drawn parameters to the rows that are drawn."""
        chosen = draws.random(1, 1, 1) < self.chance
        angle = draws.uniform(self.degrees) * (math.pi / 180) * chosen
        return tilt(points, angle, _contact(beams))


@dataclass(frozen=True, slots=True)
class Zoom(RandomEffect):
    """Another imaging depth: below 1 shallower and magnified, above 1 deeper."""

    chance: Chance = 0.2
    ratio: Annotated[Range, Within(0.25, 4)] = (0.75, 1.2)

    def __call__(self, points: Points, beams: Beams, draws: Draws) -> Points:
        """Apply with drawn parameters to the rows that are drawn."""
        chosen = draws.random(1, 1, 1) < self.chance
        ratio = torch.where(chosen, draws.log_uniform(self.ratio), 1.0)
        return zoom(points, ratio, _contact(beams))


@dataclass(frozen=True, slots=True)
class Remap(RandomEffect):
    """Sectors become rectangles, rectangles become fans; anatomy is warped, texture is kept."""

    chance: Chance = 0.1
    half_angle: Annotated[Range, Within(0.05, 1.4)] = (0.3, 0.65)
    surface: Annotated[Range, Within(0, 4)] = (0.1, 0.6)

    def __call__(self, points: Points, beams: Beams, draws: Draws) -> Points:
        """Apply with drawn parameters to the rows that are drawn."""
        chosen = draws.chosen(self.chance)
        half_angle, surface = draws.uniform(self.half_angle), draws.uniform(self.surface)
        row, column = points
        if chosen.numel() == 0:
            return points
        some = (row[chosen], column[chosen])
        beams = beams.rows(chosen)
        flat = straighten(some, beams)
        fan = fan_out(some, beams, half_angle[chosen], surface[chosen])
        row, column = row.clone(), column.clone()
        row[chosen] = torch.where(beams.sector, flat[0], fan[0])
        column[chosen] = torch.where(beams.sector, flat[1], fan[1])
        return row, column


def _contact(beams: Beams) -> Points:
    """Middle of the transducer's surface."""
    return beams.apex_row * beams.sector + beams.surface, beams.apex_column
