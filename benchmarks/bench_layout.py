"""How long a layout by neighbours takes, and how many neighbours it keeps beside the plane.

The scans are drawn around twelve centres in 50 directions. The floor of each time is that of one
matrix product of all pairs, which is what the search for neighbours cannot do without.
"""

import time
from typing import Any

import numpy as np
from harness import argument_parser, print_report

from service.gallery.neighbour_layout import NEIGHBOURS, kept_neighbours, neighbour_layout
from service.index.nearest_rows import nearest_rows

AXES = 50
CENTRES = 12
SPREAD = 0.6


def drawn_rows(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(count, AXES) rows around centres, the directions of large variance first."""
    rng = np.random.default_rng(1)
    scale = np.linspace(2, 0.2, AXES)
    centres = rng.normal(size=(CENTRES, AXES)) * scale
    noise = rng.normal(size=(count, AXES)) * SPREAD * scale
    rows: np.ndarray[Any, np.dtype[np.float32]] = (
        centres[rng.integers(0, CENTRES, count)] + noise
    ).astype(np.float32)
    return rows


def measure(count: int) -> dict[str, Any]:
    """Times in seconds, and the share of neighbours that are kept."""
    rows = drawn_rows(count)
    start = time.perf_counter()
    for first in range(0, count, 2048):
        rows[first : first + 2048] @ rows.T
    floor_s = time.perf_counter() - start
    nearest = nearest_rows(rows, NEIGHBOURS, lambda done: None)
    found_s = time.perf_counter() - start - floor_s
    plane = np.ascontiguousarray(rows[:, :2])
    places = neighbour_layout(rows, nearest, plane, lambda step: None)
    laid_out_s = time.perf_counter() - start - floor_s - found_s
    return {
        "scans": count,
        "floor_s": round(floor_s, 2),
        "neighbours_s": round(found_s, 2),
        "layout_s": round(laid_out_s, 2),
        "ratio": round((found_s + laid_out_s) / floor_s, 1),
        "kept": round(float(kept_neighbours(places, nearest).mean()), 3),
        "kept_by_the_plane": round(float(kept_neighbours(plane, nearest).mean()), 3),
    }


def main() -> None:
    """Measure, and print a line per size."""
    parser = argument_parser(__doc__)
    parser.add_argument("--scans", type=int, nargs="+", default=[2_000, 20_000])
    arguments = parser.parse_args()
    print_report({"sizes": [measure(count) for count in arguments.scans]}, arguments)


if __name__ == "__main__":
    main()
