"""Random numbers of one batch: every draw comes from the generator that the caller gave.

Shape suffixes: B rows of the batch.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_type_hints

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


@dataclass(frozen=True, slots=True)
class Within:
    """Rule of an effect's field: a number, or a (low, high) range, in [low, high]."""

    low: float
    high: float

    def check(self, value: float | Range) -> None:
        """Raise InputError for a range that is descending, not finite or out of bounds."""
        low, high = value if isinstance(value, tuple) else (value, value)
        if not self.low <= low <= high <= self.high:
            raise InputError(
                f"expected low <= high inside {(self.low, self.high)}, got {(low, high)}"
            )


@dataclass(frozen=True, slots=True)
class SomeOf:
    """Rule of an effect's field: one or more of ``allowed``."""

    allowed: tuple[Any, ...]

    def check(self, value: tuple[Any, ...]) -> None:
        """Raise InputError for no value or an unknown one."""
        if not value or not set(value) <= set(self.allowed):
            raise InputError(f"expected some of {self.allowed}, got {value}")


Chance: TypeAlias = Annotated[float, Within(0, 1)]


@dataclass(frozen=True, slots=True)
class RandomEffect:
    """Base of all effects: refuses fields that break the rules of their annotations."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            for rule in getattr(hint, "__metadata__", ()):
                rule.check(getattr(self, name))
