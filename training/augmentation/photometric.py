"""One random change of grey per frame, in the manner of TrivialAugment (arXiv 2103.10158).

One operation and one strength, both uniform: no search, no tuning. Operations that no scanner
can make (inversion, solarisation) are left out.

Shape suffixes: B rows of the batch, S side. Parameters are (B, 1, 1, 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from torch import Tensor

from training.augmentation.beam import within
from training.augmentation.draws import Chance, Draws, RandomEffect, Range, SomeOf, Within
from training.augmentation.geometry import ScanMaps
from training.augmentation.receiver import quantise
from training.augmentation.smoothing import blur

Operation: TypeAlias = Callable[[Tensor, ScanMaps, Tensor], Tensor]


def brighten(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor) -> Tensor:
    """x (1 + s / 2), s in [-1, 1]."""
    return within(scan, frames_B1SS * (1 + strength / 2), frames_B1SS)


def contrast(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor) -> Tensor:
    """Stretch about the scan's mean: m + (x - m) (1 + s / 2), s in [-1, 1]."""
    inside = scan.mask_B1HW.to(frames_B1SS.dtype)
    total = inside.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (frames_B1SS * inside).sum((2, 3), keepdim=True) / total
    return within(scan, mean + (frames_B1SS - mean) * (1 + strength / 2), frames_B1SS)


def sharpen(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor) -> Tensor:
    """x + s (x - blur(x)), s in [-1, 1]; below 0 it softens."""
    sigma_px = torch.full_like(strength, 1.0)
    soft = blur(frames_B1SS, sigma_px, sigma_px, reach_px=2)
    return within(scan, frames_B1SS + strength * (frames_B1SS - soft), frames_B1SS)


def posterise(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor) -> Tensor:
    """4 to 8 bits of grey as s goes from 1 to -1."""
    return quantise(frames_B1SS, scan, (6 - 2 * strength).round())


def stretch(frames_B1SS: Tensor, scan: ScanMaps, strength: Tensor) -> Tensor:
    """Autocontrast: the scan's darkest grey to 0 and its brightest to 1, by a share |s|."""
    low = torch.where(scan.mask_B1HW, frames_B1SS, 1.0).amin((2, 3), keepdim=True)
    high = torch.where(scan.mask_B1HW, frames_B1SS, 0.0).amax((2, 3), keepdim=True)
    full = (frames_B1SS - low) / (high - low).clamp(min=0.1)
    return within(scan, torch.lerp(frames_B1SS, full, strength.abs()), frames_B1SS)


OPERATIONS: dict[str, Operation] = {
    "brighten": brighten,
    "contrast": contrast,
    "sharpen": sharpen,
    "posterise": posterise,
    "stretch": stretch,
}


@dataclass(frozen=True, slots=True)
class Photometric(RandomEffect):
    """One of ``operations`` per frame, at one strength."""

    chance: Chance = 0.5
    strength: Annotated[Range, Within(-1, 1)] = (-1.0, 1.0)
    operations: Annotated[tuple[str, ...], SomeOf(tuple(OPERATIONS))] = tuple(OPERATIONS)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply one drawn operation to each row."""
        picked_B = draws.integers(0, len(self.operations))
        strength = draws.uniform(self.strength)
        changed = frames_B1SS.clone()
        for number, name in enumerate(self.operations):
            rows = torch.nonzero(picked_B == number)[:, 0]
            if rows.numel():
                operation = OPERATIONS[name]
                changed[rows] = operation(frames_B1SS[rows], scan.rows(rows), strength[rows])
        return changed
