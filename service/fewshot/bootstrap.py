"""Intervals that respect groups: whole groups are drawn again, never single frames.

Shape suffixes: N rows, G groups, B resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

RESAMPLES = 1000
FEWEST_RESAMPLES = 100  # of very many groups, whose intervals are narrow anyway
_CELLS = 4_000_000  # of one block of resamples x rows, 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval: percentile bootstrap over groups."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Rounded to 4 places."""
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def resampled(groups_N: Ints, seed: int = 0, resamples: int = RESAMPLES) -> Doubles:
    """(B + 1, G) how often each group is drawn; the first row is the sample itself.

    Groups are numbered as ``numpy.unique`` orders them.
    """
    groups = len(np.unique(groups_N))
    resamples = min(resamples, max(FEWEST_RESAMPLES, _CELLS // groups))
    rng = np.random.default_rng(seed)
    times_BG = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    return np.concatenate([np.ones((1, groups)), times_BG])


def estimate(values_B: Doubles) -> Estimate:
    """The first value with the percentiles of the others; resamples of NaN are left out."""
    others_B = values_B[1:][np.isfinite(values_B[1:])]
    value = float(values_B[0])
    if not len(others_B):
        return Estimate(value, value, value)
    low, high = np.percentile(others_B, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def over_rows(
    measure: Callable[[Doubles], Doubles], times_BG: Doubles, groups_N: Ints, shares_N: Doubles
) -> Estimate:
    """An estimate of a figure of row weights.

    Args:
        measure: row weights (B, N) -> figures (B,); called on blocks of resamples.
        shares_N: weight of each row of the sample itself.
    """
    number_N = np.unique(groups_N, return_inverse=True)[1]
    step = max(1, _CELLS // max(1, len(groups_N)))
    found = [
        measure(times_BG[start : start + step, number_N] * shares_N)
        for start in range(0, len(times_BG), step)
    ]
    return estimate(np.concatenate(found))


def ratio(above_BX: Doubles, below_BX: Doubles) -> Doubles:
    """above / below, NaN where nothing is below."""
    safe_BX = np.where(below_BX > 0, below_BX, 1)
    shares_BX: Doubles = np.where(below_BX > 0, above_BX / safe_BX, np.nan)
    return shares_BX
