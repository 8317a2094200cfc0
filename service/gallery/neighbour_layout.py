"""A layout that keeps neighbours together, in NumPy.

The method is that of PaCMAP (Wang, Huang, Rudin, Shaposhnik: Understanding how dimension reduction
tools work, JMLR 22 (2021) 201): near pairs attract, far pairs repel, and pairs of medium distance
hold the large shape together at first. It starts from the principal plane and draws from a fixed
seed, so the same scans get the same map.

Shape suffixes: N scans, K partners of a scan, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
NEIGHBOURS = 10
MIDDLES = 5
MIDDLE_DRAWS = 6  # of which the second nearest is taken
FAR = 20
STEPS = 450
FIRST_STEPS, SECOND_STEPS = 100, 200  # until the large shape stands; until the small one does
RATE = 1.0
BETAS = (0.9, 0.999)
ROWS_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Each scan with K partners; ``gain`` and ``reach`` are those of their force."""

    partners_NK: Ints
    gain: float
    reach: float


def neighbour_layout(
    rows_ND: Floats, nearest_NK: Ints, start_N2: Floats, on_step: Callable[[int], None]
) -> Floats:
    """(N, 2) the place of each scan.

    Args:
        nearest_NK: the nearest others of each, at least one and fewer than N.
        start_N2: the principal plane.
        on_step: called with the number of steps of ``STEPS`` that are done.
    """
    rng = np.random.default_rng(0)
    count = len(rows_ND)
    near = _Pairs(nearest_NK[:, :NEIGHBOURS], 20.0, 10.0)
    middle = _Pairs(_middles(rows_ND, rng), 20_000.0, 10_000.0)
    far = _Pairs(_others(rng, count, min(FAR, count - 1)), -2.0, 1.0)
    places_N2 = (0.01 * start_N2).astype(np.float32)
    first_N2, second_N2 = np.zeros_like(places_N2), np.zeros_like(places_N2)
    for step in range(STEPS):
        force_N2 = np.zeros((count, 2))
        for pairs, weight in zip((near, middle, far), _weights(step), strict=True):
            if weight:
                force_N2 += weight * _force(places_N2, pairs)
        first_N2 += (1 - BETAS[0]) * (force_N2 - first_N2)
        second_N2 += (1 - BETAS[1]) * (force_N2**2 - second_N2)
        scale = RATE * np.sqrt(1 - BETAS[1] ** (step + 1)) / (1 - BETAS[0] ** (step + 1))
        places_N2 -= scale * first_N2 / (np.sqrt(second_N2) + 1e-7)
        on_step(step + 1)
    centred_N2: Floats = places_N2 - places_N2.mean(axis=0)
    return centred_N2


def kept_neighbours(places_N2: Floats, nearest_NK: Ints) -> Floats:
    """(N,) the share of the nearest others of each scan that are its nearest on the map too."""
    k = nearest_NK.shape[1]
    found_NK = cKDTree(places_N2).query(places_N2, k + 1)[1]
    kept_N = np.empty(len(places_N2), np.float32)
    for start in range(0, len(places_N2), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        is_same = nearest_NK[block, :, None] == found_NK[block, None, :]
        kept_N[block] = is_same.any(axis=2).mean(axis=1)
    return kept_N


def _weights(step: int) -> tuple[float, float, float]:
    """Of near, middle and far pairs at a step."""
    if step < FIRST_STEPS:
        share = step / FIRST_STEPS
        return 2.0, 1000.0 * (1 - share) + 3.0 * share, 1.0
    return (3.0, 3.0, 1.0) if step < SECOND_STEPS else (1.0, 0.0, 1.0)


def _force(places_N2: Floats, pairs: _Pairs) -> npt.NDArray[np.float64]:
    """(N, 2) the sum of the forces on each scan, which act on both partners."""
    partners_NK = pairs.partners_NK
    count = len(partners_NK)
    # Column by column: pairs of numbers side by side take twice the time.
    apart = [axis_N[:, None] - axis_N[partners_NK] for axis_N in places_N2.T.copy()]
    strength_NK = apart[0] ** 2 + apart[1] ** 2
    strength_NK += np.float32(1.0 + pairs.reach)
    strength_NK = np.float32(pairs.gain) / strength_NK**2
    force_N2 = np.empty((count, 2))
    flat = partners_NK.ravel()
    for axis, apart_NK in enumerate(apart):
        apart_NK *= strength_NK
        back_N = np.bincount(flat, weights=apart_NK.ravel(), minlength=count)
        force_N2[:, axis] = apart_NK.sum(axis=1, dtype=np.float64) - back_N
    return force_N2


def _middles(rows_ND: Floats, rng: np.random.Generator) -> Ints:
    """(N, MIDDLES) of some drawn others the second nearest each."""
    count = len(rows_ND)
    middles_NK = np.empty((count, MIDDLES), np.int64)
    for place in range(MIDDLES):
        drawn = _others(rng, count, MIDDLE_DRAWS)
        for start in range(0, count, ROWS_AT_ONCE):
            block = slice(start, start + ROWS_AT_ONCE)
            apart = rows_ND[drawn[block]] - rows_ND[block, None, :]
            distances = np.einsum("nkd,nkd->nk", apart, apart)
            second = np.argpartition(distances, 1, axis=1)[:, 1]
            middles_NK[block, place] = np.take_along_axis(drawn[block], second[:, None], 1)[:, 0]
    return middles_NK


def _others(rng: np.random.Generator, count: int, k: int) -> Ints:
    """(count, k) numbers of other scans; two of them may be equal."""
    shifts = rng.integers(1, count, (count, k))
    others: Ints = (np.arange(count)[:, None] + shifts) % count
    return others
