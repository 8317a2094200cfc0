"""Random numbers of one batch: every draw comes from the generator that the caller gave.

Shape suffixes: B rows of the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from service.errors import InputError

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws parameters for ``rows`` frames, one value per row.

    The numbers are made where the generator lives and moved to ``device``, so a CPU generator
    gives the same parameters to a batch on the CPU and on a GPU.

    Attributes:
        generator: source of all randomness; its state advances.
        device: where the frames are.
        rows: B.
    """

    generator: torch.Generator
    device: torch.device
    rows: int

    def uniform(self, bounds: Range) -> Tensor:
        """float32 (B, 1, 1, 1) in [low, high)."""
        low, high = bounds
        return low + (high - low) * self.random(1, 1, 1)

    def log_uniform(self, bounds: Range) -> Tensor:
        """float32 (B, 1, 1, 1), its logarithm uniform; both bounds are above 0."""
        low, high = math.log(bounds[0]), math.log(bounds[1])
        return self.uniform((low, high)).exp()

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """int64 (B, ``*shape``) in [low, high), high excluded."""
        return low + (self.random(*shape) * (high - low)).long().clamp(max=high - low - 1)

    def random(self, *shape: int) -> Tensor:
        """float32 (B, ``*shape``) in [0, 1)."""
        size = (self.rows, *shape)
        drawn = torch.rand(size, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """float32 (B, ``*shape``), standard normal."""
        size = (self.rows, *shape)
        drawn = torch.randn(size, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def chosen(self, chance: float) -> Tensor:
        """int64 indices, ascending, of the rows that an effect of this chance falls on."""
        if chance <= 0:
            return torch.empty(0, dtype=torch.int64, device=self.device)
        return torch.nonzero(self.random() < chance)[:, 0]

    def narrowed(self, rows: int) -> "Draws":
        """Return draws from the same generator for fewer rows."""
        return Draws(self.generator, self.device, rows)


def check_chance(chance: float) -> None:
    """Refuse a chance outside [0, 1].

    Raises:
        InputError: it is.
    """
    if not 0 <= chance <= 1:
        raise InputError(f"expected a chance in [0, 1], got {chance}")


def check_ranges(*ranges: Range, within: Range) -> None:
    """Refuse ranges that are not (low, high) inside ``within``, both ends included.

    Raises:
        InputError: a range is descending, not finite or leaves ``within``.
    """
    for low, high in ranges:
        if not within[0] <= low <= high <= within[1]:
            raise InputError(f"expected low <= high inside {within}, got {(low, high)}")


def check_choices(choices: Sequence[float], allowed: Sequence[float]) -> None:
    """Refuse an empty choice or one that is not among ``allowed``.

    Raises:
        InputError: it is.
    """
    if not choices or not set(choices) <= set(allowed):
        raise InputError(f"expected some of {tuple(allowed)}, got {tuple(choices)}")
