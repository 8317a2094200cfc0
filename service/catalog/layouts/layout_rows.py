"""What both engines make of the rows of a layout.

Shape suffixes: N scans.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from service.catalog.codec import decode_json
from service.catalog.layouts.layout_records import Layout, LayoutState
from service.errors import Conflict, UnknownItem

NO_LAYOUT = "the collection has no layout of its encoder"


def require_encoder(own_id: str, encoder_id: str) -> None:
    """Raises Conflict: the collection changed its encoder while it was laid out."""
    if own_id != encoder_id:
        raise Conflict("the collection has another encoder by now: lay it out again")


def layout_of(rows: list[Any]) -> Layout:
    """The layout in rows (scan_id, x, y, kept, placed_at). Raises UnknownItem: there is none."""
    if not rows:
        raise UnknownItem(NO_LAYOUT)
    scan_ids, x, y, kept, placed_at = zip(*map(tuple, rows), strict=True)
    points_N2 = np.stack([np.array(x, np.float32), np.array(y, np.float32)], axis=1)
    return Layout(scan_ids, points_N2, np.array(kept, np.float32), max(placed_at))


def state_of(row: Mapping[str, Any]) -> LayoutState:
    """Raises UnknownItem: no scan has a place."""
    if row["placed"] == 0:
        raise UnknownItem(NO_LAYOUT)
    return LayoutState(row["placed"], row["scans"], row["kept"], row["placed_at"])


def machines_of(rows: Iterable[Any]) -> dict[str, str]:
    """Manufacturer and model by scan id, of rows (scan_id, JSON of the device)."""
    parsed: dict[str, str] = {}  # thousands of scans come from the same few machines
    found: dict[str, str] = {}
    for scan_id, text in map(tuple, rows):
        if text not in parsed:
            device = decode_json(text, dict)
            names = (str(device.get(name) or "") for name in ("manufacturer", "model"))
            parsed[text] = " ".join(filter(None, names))
        if parsed[text]:
            found[scan_id] = parsed[text]
    return found
