"""The part of the catalog for layouts.

A layout belongs to the encoder of its collection: after a change of the encoder there is none. A
scan that is deleted, expires or is erased loses its place with its row.

Shape suffixes: N scans.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.layouts.layout_records import Layout, LayoutState


class LayoutCatalog(Protocol):
    """Places of scans on maps, one layout of each collection."""

    def store_layout(
        self,
        workspace_id: str,
        collection: str,
        encoder_id: str,
        scan_ids: Sequence[str],
        points_N2: npt.NDArray[np.float32],
        kept_N: npt.NDArray[np.float32],
    ) -> int:
        """Replace the layout of a collection, at once; return how many scans have a place.

        Scans that were deleted meanwhile get none.

        Raises:
            UnknownItem: no such collection. Conflict: it has another encoder by now.
        """

    def get_layout(self, workspace_id: str, collection: str) -> Layout:
        """The places in the order of storing. Raises UnknownItem: no such collection or layout."""

    def layout_state(self, workspace_id: str, collection: str) -> LayoutState:
        """Raises UnknownItem: no such collection, or it has no layout of its encoder."""

    def machines(self, workspace_id: str, collection: str) -> dict[str, str]:
        """Manufacturer and model by scan id, of the scans whose file names them.

        Raises:
            UnknownItem: no such collection.
        """
