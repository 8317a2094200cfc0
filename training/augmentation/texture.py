"""Speckle, haze and loss of resolution.

Speckle is the envelope of many unresolved echoes: Rayleigh when fully developed (Wagner et al.
1983, "Statistics of speckle in ultrasound B-scans"), Nakagami with shape m below or above 1 when
scatterers are few or ordered (Shankar 2000, "A general statistical model for ultrasonic
backscattering from tissues"). Its grain is the resolution cell, wider across the beam than along.

Shape suffixes: B rows of the batch, S side, s coarse side, N normal fields. Parameters are
(B, 1, 1, 1).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as functional
from torch import Tensor

from training.augmentation.beam import within
from training.augmentation.draws import Chance, Draws, RandomEffect, Range, SomeOf, Within
from training.augmentation.geometry import ScanMaps
from training.augmentation.smoothing import blur, blur_inside, noise_gain

SHAPES = (0.5, 1.0, 1.5, 2.0)  # m: half the number of squared normal fields that are summed
GRAIN_REACH = 4
BLUR_REACH = 6
HAZE_GRAIN = 4  # coarse pixels per cell of the haze's noise, as a share of the side


def nakagami_field(
    normal_BNss: Tensor, shape_m: Tensor, down_px: Tensor, across_px: Tensor
) -> Tensor:
    """Correlated multiplicative speckle of mean 1, (B, 1, s, s).

    The root of the sum of 2 m squared normal fields is Nakagami of shape m; m = 1 is Rayleigh,
    of contrast sqrt(4 / pi - 1) = 0.523.

    Args:
        normal_BNss: independent standard normal noise, N = 4, ``GRAIN_REACH`` wider on every side
            than the field.
        shape_m: one of ``SHAPES`` per row.
        down_px: deviation of the grain along the beam, in coarse pixels, 0.1 to 2.
    """
    smooth = blur_inside(normal_BNss, down_px, across_px, reach_px=GRAIN_REACH)
    smooth = smooth / noise_gain(down_px, across_px, reach_px=GRAIN_REACH)
    order_N = torch.arange(1, normal_BNss.shape[1] + 1, device=normal_BNss.device)
    used_BN11 = order_N[None, :, None, None] <= 2 * shape_m
    power = (smooth.square() * used_BN11).sum(1, keepdim=True)
    mean = 2**0.5 * torch.exp(torch.lgamma(shape_m + 0.5) - torch.lgamma(shape_m))
    return power.sqrt() / mean


def speckle(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor, field_B1ss: Tensor) -> Tensor:
    """Multiply by speckle: x (1 - s + s n), n of mean 1 brought to the frame's size.

    The mean stays (up to clipping at white); the contrast is s times the field's.
    """
    side = frames_B1SS.shape[2:]
    field = functional.interpolate(field_B1ss, side, mode="bilinear", align_corners=False)
    return within(scan, frames_B1SS * (1 + strength * (field - 1)), frames_B1SS)


def haze(
    frames_B1SS: Tensor,
    scan: ScanMaps,
    strength: Tensor,
    depth: Tensor,
    width: Tensor,
    noise_B1ss: Tensor,
) -> Tensor:
    """Clutter around one depth: x + s u exp(-(d - d0)^2 / 2 w^2) (1 - x), u smooth in [0, 1].

    The last factor keeps bright structures from saturating; published: s = 0.5, d0 in
    U(.05, .95), w in U(0, .1).
    """
    side = frames_B1SS.shape[2:]
    noise = functional.interpolate(noise_B1ss, side, mode="bilinear", align_corners=False)
    band = torch.exp((scan.depth_B1HW - depth).square() / (-2 * width.square()))
    added = strength * noise * band * (1 - frames_B1SS)
    return within(scan, frames_B1SS + added, frames_B1SS)


def lose_resolution(
    frames_B1SS: Tensor, scan: ScanMaps, down_px: Tensor, across_px: Tensor, focus: Tensor
) -> Tensor:
    """Blur as a wider beam does: nothing at the focal depth, fully half a depth away from it."""
    blurred = blur(frames_B1SS, down_px, across_px, reach_px=BLUR_REACH)
    share = ((scan.depth_B1HW - focus).abs() * 2).clamp(0, 1)
    return within(scan, torch.lerp(frames_B1SS, blurred, share), frames_B1SS)


@dataclass(frozen=True, slots=True)
class Speckle(RandomEffect):
    """Multiplicative Nakagami speckle (published: Rayleigh, strength 0.2).

    ``grain_px`` is the deviation along the beam at a side of 224 px; ``elongation`` how many
    times wider it is across.
    """

    chance: Chance = 0.2
    strength: Annotated[Range, Within(0, 1)] = (0.1, 0.4)
    shapes: Annotated[tuple[float, ...], SomeOf(SHAPES)] = (0.5, 1.0, 1.0, 2.0)
    grain_px: Annotated[Range, Within(0.2, 2)] = (0.6, 1.2)
    elongation: Annotated[Range, Within(0.5, 2)] = (1.0, 2.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters; the field is made at half the side."""
        coarse_px = max(8, frames_B1SS.shape[2] // 2)
        shapes = torch.tensor(self.shapes, device=frames_B1SS.device)
        shape_m = shapes[draws.integers(0, len(self.shapes), 1, 1, 1)]
        down_px = draws.uniform(self.grain_px) * (coarse_px / 112)
        down_px = down_px.clamp(0.1, 2)
        across_px = (down_px * draws.uniform(self.elongation)).clamp(0.1, 2)
        side_px = coarse_px + 2 * GRAIN_REACH
        normal = draws.normal(round(2 * max(self.shapes)), side_px, side_px)
        field = nakagami_field(normal, shape_m, down_px, across_px)
        return speckle(frames_B1SS, scan, draws.uniform(self.strength), field)


@dataclass(frozen=True, slots=True)
class Haze(RandomEffect):
    """Haze, as reverberation in the body wall and off-axis echoes lay it over a depth."""

    chance: Chance = 0.15
    strength: Annotated[Range, Within(0, 1)] = (0.08, 0.3)
    depth: Annotated[Range, Within(0, 1.5)] = (0.05, 0.95)
    width: Annotated[Range, Within(1e-3, 2)] = (0.03, 0.15)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        coarse_px = max(8, frames_B1SS.shape[2] // HAZE_GRAIN)
        strength, depth = draws.uniform(self.strength), draws.uniform(self.depth)
        width, noise = draws.uniform(self.width), draws.random(1, coarse_px, coarse_px)
        return haze(frames_B1SS, scan, strength, depth, width, noise)


@dataclass(frozen=True, slots=True)
class ResolutionLoss(RandomEffect):
    """A wider point spread function; deviations in px at a side of 224, across over along."""

    chance: Chance = 0.15
    across_px: Annotated[Range, Within(0.2, 3)] = (0.6, 2.5)
    along_share: Annotated[Range, Within(0.1, 1)] = (0.3, 0.7)
    focus: Annotated[Range, Within(-1, 2)] = (0.0, 1.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        across_px = draws.uniform(self.across_px) * (frames_B1SS.shape[3] / 224)
        across_px = across_px.clamp(0.1, 3)
        down_px = across_px * draws.uniform(self.along_share)
        return lose_resolution(frames_B1SS, scan, down_px, across_px, draws.uniform(self.focus))
