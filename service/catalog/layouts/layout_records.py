"""Records of layouts: where the scans of a collection lie on its map.

Shape suffixes: N scans.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of scans.

    Attributes:
        points_N2: float32.
        kept_N: float32, of each scan the share of its neighbours in the embedding that are its
            neighbours here too.
        placed_at: when the layout was stored.
    """

    scan_ids: Sequence[str]
    points_N2: npt.NDArray[np.float32]
    kept_N: npt.NDArray[np.float32]
    placed_at: str


@dataclass(frozen=True, slots=True)
class LayoutState:
    """How many scans have a place, of how many, and since when.

    Attributes:
        kept: mean share of neighbours that the map keeps.
    """

    placed: int
    scans: int
    kept: float
    placed_at: str
