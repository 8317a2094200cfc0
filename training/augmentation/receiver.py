"""What the receiver and the display do to grey levels: gain, dynamic range, map, quantisation.

B-mode shows x = 1 + 20 log10(envelope / white) / DR, clipped to [0, 1], DR the dynamic range in
dB (Szabo, "Diagnostic Ultrasound Imaging", ch. 10): a gain of g dB adds g / DR, another dynamic
range stretches about white. Echoes below the display's floor are unknown and stay black.

Shape suffixes: B rows of the batch, S side. Parameters are (B, 1, 1, 1).
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from training.augmentation.beam import within
from training.augmentation.draws import Chance, Draws, RandomEffect, Range, SomeOf, Within
from training.augmentation.geometry import ScanMaps

FLOOR_GREY = 0.04  # grey up to which an echo counts as lost in the floor, softly
BITS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)


def amplify(frames_B1SS: Tensor, scan: ScanMaps, gain: Tensor) -> Tensor:
    """Overall gain: x + g (1 - exp(-x / 0.04)), g = dB / DR, in (-1, 1)."""
    heard = -torch.expm1(frames_B1SS / -FLOOR_GREY)
    return within(scan, frames_B1SS + gain * heard, frames_B1SS)


def change_range(frames_B1SS: Tensor, scan: ScanMaps, ratio: Tensor, gamma: Tensor) -> Tensor:
    """Dynamic range and grey map: y = 1 - (1 - x) k, then y^gamma; k = old DR / new DR > 0.

    For k < 1 the floor would turn grey; it stays black as in ``amplify``.
    """
    stretched = (1 - (1 - frames_B1SS) * ratio).clamp(0, 1)
    heard = -torch.expm1(frames_B1SS / -FLOOR_GREY)
    return within(scan, (stretched * heard).pow(gamma), frames_B1SS)


def recompress(frames_B1SS: Tensor, scan: ScanMaps, old_mu: Tensor, new_mu: Tensor) -> Tensor:
    """Another log compression: e = ((1 + mu)^x - 1) / mu, y = ln(1 + mu' e) / ln(1 + mu').

    0 and 1 stay; mu' > mu lifts weak echoes, mu' < mu buries them.
    """
    envelope = torch.expm1(frames_B1SS * torch.log1p(old_mu)) / old_mu
    return within(scan, torch.log1p(new_mu * envelope) / torch.log1p(new_mu), frames_B1SS)


def quantise(frames_B1SS: Tensor, scan: ScanMaps, bits: Tensor) -> Tensor:
    """Round to 2^bits grey levels, black and white among them."""
    steps = torch.exp2(bits) - 1
    return within(scan, (frames_B1SS * steps).round() / steps, frames_B1SS)


@dataclass(frozen=True, slots=True)
class Gain(RandomEffect):
    """Overall gain; at DR = 60 dB the default is -9 to +9 dB."""

    chance: Chance = 0.25
    gain: Annotated[Range, Within(-1, 1)] = (-0.15, 0.15)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        return amplify(frames_B1SS, scan, draws.uniform(self.gain))


@dataclass(frozen=True, slots=True)
class DynamicRange(RandomEffect):
    """Dynamic range ratio and gamma of the grey map, both log-uniform about 1."""

    chance: Chance = 0.25
    ratio: Annotated[Range, Within(0.1, 10)] = (0.8, 1.25)
    gamma: Annotated[Range, Within(0.1, 10)] = (0.7, 1.4)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        ratio, gamma = draws.log_uniform(self.ratio), draws.log_uniform(self.gamma)
        return change_range(frames_B1SS, scan, ratio, gamma)


@dataclass(frozen=True, slots=True)
class Compression(RandomEffect):
    """Another log compression than the one the frame came with, mu log-uniform about 250."""

    chance: Chance = 0.15
    assumed_mu: Annotated[float, Within(1e-2, 1e6)] = 250.0
    mu: Annotated[Range, Within(1e-2, 1e6)] = (40.0, 1500.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        new_mu = draws.log_uniform(self.mu)
        return recompress(frames_B1SS, scan, torch.full_like(new_mu, self.assumed_mu), new_mu)


@dataclass(frozen=True, slots=True)
class Quantisation(RandomEffect):
    """Few grey levels, as old displays and video grabbers leave."""

    chance: Chance = 0.1
    bits: Annotated[tuple[float, ...], SomeOf(BITS)] = (4.0, 5.0, 6.0)

    def __call__(self, frames_B1SS: Tensor, scan: ScanMaps, draws: Draws) -> Tensor:
        """Apply with drawn parameters."""
        bits = torch.tensor(self.bits, device=frames_B1SS.device)
        return quantise(frames_B1SS, scan, bits[draws.integers(0, len(self.bits), 1, 1, 1)])
