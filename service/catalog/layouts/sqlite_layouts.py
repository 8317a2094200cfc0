"""Places on maps in SQLite.

Shape suffixes: N scans.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.ids import now
from service.catalog.layouts.layout_records import Layout, LayoutState
from service.catalog.layouts.layout_rows import layout_of, machines_of, require_encoder, state_of
from service.catalog.sqlite.rows import SqliteTable, require_collection

_CLEAR = """
    DELETE FROM scan_places WHERE row_id IN (
        SELECT row_id FROM scans WHERE workspace_id = ? AND collection_id = ?
    )
"""
_STORE = """
    INSERT INTO scan_places (row_id, workspace_id, encoder_id, x, y, kept, placed_at)
    SELECT row_id, workspace_id, ?, ?, ?, ?, ? FROM scans WHERE collection_id = ? AND scan_id = ?
"""
_PLACES = """
    SELECT s.scan_id, p.x, p.y, p.kept, p.placed_at
    FROM scans AS s JOIN scan_places AS p USING (row_id)
    WHERE s.workspace_id = ? AND s.collection_id = ? AND p.encoder_id = ? ORDER BY s.row_id
"""
_STATE = """
    SELECT count(p.row_id) AS placed, count(*) AS scans, avg(p.kept) AS kept,
        max(p.placed_at) AS placed_at
    FROM scans AS s LEFT JOIN scan_places AS p ON p.row_id = s.row_id AND p.encoder_id = ?
    WHERE s.workspace_id = ? AND s.collection_id = ?
"""
_DEVICES = """
    SELECT scan_id, json_extract(analysis, '$.device') AS device FROM scans
    WHERE workspace_id = ? AND collection_id = ?
        AND json_type(analysis, '$.device') = 'object'
"""


class SqliteLayouts(SqliteTable):
    """The part of the catalog for layouts."""

    def store_layout(
        self,
        workspace_id: str,
        collection: str,
        encoder_id: str,
        scan_ids: Sequence[str],
        points_N2: npt.NDArray[np.float32],
        kept_N: npt.NDArray[np.float32],
    ) -> int:
        moment = now()
        places = zip(scan_ids, points_N2.tolist(), kept_N.tolist(), strict=True)
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            require_encoder(parent["encoder_id"], encoder_id)
            number = parent["collection_id"]
            connection.execute(_CLEAR, (workspace_id, number))
            # One transaction: half of one layout beside half of another would be no map.
            cursor = connection.executemany(
                _STORE,
                (
                    (encoder_id, x, y, kept, moment, number, scan_id)
                    for scan_id, (x, y), kept in places
                ),
            )
            return int(cursor.rowcount)

    def get_layout(self, workspace_id: str, collection: str) -> Layout:
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            where = (workspace_id, parent["collection_id"], parent["encoder_id"])
            return layout_of(connection.execute(_PLACES, where).fetchall())

    def layout_state(self, workspace_id: str, collection: str) -> LayoutState:
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            where = (parent["encoder_id"], workspace_id, parent["collection_id"])
            return state_of(connection.execute(_STATE, where).fetchone())

    def machines(self, workspace_id: str, collection: str) -> dict[str, str]:
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            where = (workspace_id, parent["collection_id"])
            return machines_of(connection.execute(_DEVICES, where).fetchall())
