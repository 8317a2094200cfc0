"""What happens along a beam: attenuation, gain over depth, shadow, enhancement, reverberation.

d is the depth along the beam (0 at the transducer, 1 at the deepest scanned point) and b the
beam (-1 leftmost, 1 rightmost), both of ``training.augmentation.geometry``. The formulas act on
displayed grey, as in published ultrasound augmentation (Tupper and Gagne 2025, arXiv 2501.13193);
nothing outside the scan changes.

Shape suffixes: B rows of the batch, S side, K knots. Parameters are (B, 1, 1, 1).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as functional
from torch import Tensor

from training.augmentation.draws import Chance, Draws, RandomEffect, Range, Within
from training.augmentation.geometry import Geometry, ScanMaps

KNOTS = 6
CANDIDATES = 8  # places tried as the origin of a shadow or an enhancement
CELLS = 32  # side of the grid whose cells are compared
EDGE_DEPTH = 0.02  # depth over which a shadow sets in


def within(scan: ScanMaps, changed_B1SS: Tensor, frames_B1SS: Tensor) -> Tensor:
    """Clip the changed grey to [0, 1] and keep the old outside the scan."""
    return torch.where(scan.mask_B1HW, changed_B1SS.clamp(0, 1), frames_B1SS)


def attenuate(frames_B1SS: Tensor, scan: ScanMaps, rate: Tensor, floor: Tensor) -> Tensor:
    """Darken with depth: x ((1 - m) exp(-r d) + m), rate r >= 0, floor m in [0, 1)."""
    factor = (1 - floor) * torch.exp(-rate * scan.depth_B1HW) + floor
    return within(scan, frames_B1SS * factor, frames_B1SS)


def compensate(frames_B1SS: Tensor, scan: ScanMaps, gains_BK: Tensor) -> Tensor:
    """Multiply by a time-gain curve: K gains at equal steps of depth, smoothstep between them."""
    knots = gains_BK.shape[1]
    place = scan.depth_B1HW.clamp(0, 1) * (knots - 1)
    lower = place.floor().clamp(max=knots - 2)
    share = place - lower
    share = share * share * (3 - 2 * share)
    index = lower.long().flatten(1)
    below = gains_BK.gather(1, index).view_as(place)
    above = gains_BK.gather(1, index + 1).view_as(place)
    return within(scan, frames_B1SS * torch.lerp(below, above, share), frames_B1SS)


def shadow(
    frames_B1SS: Tensor,
    scan: ScanMaps,
    strength: Tensor,
    beam: Tensor,
    width: Tensor,
    depth: Tensor,
) -> Tensor:
    """Acoustic shadow along the beams below one depth.

    x (1 - s exp(-(b - b0)^2 / 2 w^2) h(d - d0)), with h a smooth step; a negative ``strength``
    brightens instead (``enhance``).
    """
    profile = torch.exp((scan.beam_B1HW - beam).square() / (-2 * width.square()))
    below = torch.sigmoid((scan.depth_B1HW - depth) / EDGE_DEPTH)
    return within(scan, frames_B1SS * (1 - strength * profile * below), frames_B1SS)


def enhance(
    frames_B1SS: Tensor,
    scan: ScanMaps,
    strength: Tensor,
    beam: Tensor,
    width: Tensor,
    depth: Tensor,
) -> Tensor:
    """Posterior enhancement: x (1 + s exp(-(b - b0)^2 / 2 w^2) h(d - d0))."""
    return shadow(frames_B1SS, scan, -strength, beam, width, depth)


def reverberate(frames_B1SS: Tensor, geometry: Geometry, strength: Tensor) -> Tensor:
    """Add an echo of bright structures at twice their depth: x + s c^2 (1 - x), c = x(d / 2, b).

    The square keeps copies of speckle down: only what reflects strongly is heard twice. (1 - x)
    keeps bright tissue from saturating. Published: s = 0.65 (usaugment 1.0.1, MIT).
    """
    scan, beams = geometry.scan, geometry.beams
    row, column = beams.position(scan.depth_B1HW / 2, scan.beam_B1HW)
    grid_BSS2 = torch.stack((2 * column - 1, 2 * row - 1), -1)[:, 0]
    copy_B1SS = functional.grid_sample(frames_B1SS, grid_BSS2, align_corners=False)
    added_B1SS = strength * copy_B1SS.square() * (1 - frames_B1SS)
    return within(scan, frames_B1SS + added_B1SS, frames_B1SS)


@dataclass(frozen=True, slots=True)
class Attenuation(RandomEffect):
    """Depth attenuation; r and m as in ``attenuate`` (published: r in U(0, 3), m = 0)."""

    chance: Chance = 0.2
    rate: Annotated[Range, Within(0, 10)] = (0.2, 1.2)
    floor: Annotated[Range, Within(0, 1)] = (0.0, 0.3)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        return attenuate(frames_B1SS, scan, draws.uniform(self.rate), draws.uniform(self.floor))


@dataclass(frozen=True, slots=True)
class GainCurve(RandomEffect):
    """Time-gain compensation as a user sets it by sliders; gains around 1."""

    chance: Chance = 0.2
    gain: Annotated[Range, Within(0, 4)] = (0.7, 1.3)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        low, high = self.gain
        return compensate(frames_B1SS, scan, low + (high - low) * draws.random(KNOTS))


@dataclass(frozen=True, slots=True)
class Shadow(RandomEffect):
    """Acoustic shadow below a bright reflector (published: s in U(.25, .8)).

    ``width`` is in beams, of which a frame has 2; the origin is the brightest of some places.
    """

    chance: Chance = 0.15
    strength: Annotated[Range, Within(0, 1)] = (0.25, 0.8)
    width: Annotated[Range, Within(1e-3, 2)] = (0.04, 0.2)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        beam, depth = _origin(frames_B1SS, scan, draws, sign=1)
        strength, width = draws.uniform(self.strength), draws.uniform(self.width)
        return shadow(frames_B1SS, scan, strength, beam, width, depth)


@dataclass(frozen=True, slots=True)
class Enhancement(RandomEffect):
    """Posterior enhancement below a dark, fluid-like place: fluid attenuates less than tissue."""

    chance: Chance = 0.1
    strength: Annotated[Range, Within(0, 4)] = (0.2, 0.7)
    width: Annotated[Range, Within(1e-3, 2)] = (0.05, 0.2)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        beam, depth = _origin(frames_B1SS, scan, draws, sign=-1)
        strength, width = draws.uniform(self.strength), draws.uniform(self.width)
        return enhance(frames_B1SS, scan, strength, beam, width, depth)


@dataclass(frozen=True, slots=True)
class Reverberation(RandomEffect):
    """Reverberation at twice the depth; applied before any warp, while the beams are known."""

    chance: Chance = 0.1
    strength: Annotated[Range, Within(0, 1)] = (0.2, 0.65)

    def __call__(self, frames_B1SS: Tensor, geometry: Geometry, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        return reverberate(frames_B1SS, geometry, draws.uniform(self.strength))


def _origin(
    frames_B1SS: Tensor, scan: ScanMaps, draws: Draws, *, sign: int
) -> tuple[Tensor, Tensor]:
    """(beam, depth) of the brightest (``sign`` 1) or darkest (-1) of some scanned cells."""
    cell_px = max(1, frames_B1SS.shape[2] // CELLS)
    local_B1ss = functional.avg_pool2d(frames_B1SS, cell_px)
    height, width = (side * cell_px for side in local_B1ss.shape[2:])
    middle = (..., slice(cell_px // 2, height, cell_px), slice(cell_px // 2, width, cell_px))
    index_BK = draws.integers(0, local_B1ss[0].numel(), CANDIDATES)
    scanned_BK = scan.mask_B1HW[middle].flatten(1).gather(1, index_BK)
    score_BK = sign * local_B1ss.flatten(1).gather(1, index_BK)
    score_BK = torch.where(scanned_BK, score_BK, -2.0)
    best_B1 = index_BK.gather(1, score_BK.argmax(1, keepdim=True))
    beam_B1 = scan.beam_B1HW[middle].flatten(1).gather(1, best_B1)
    depth_B1 = scan.depth_B1HW[middle].flatten(1).gather(1, best_B1)
    return beam_B1[..., None, None], depth_B1[..., None, None]
