"""Places on maps in PostgreSQL.

Shape suffixes: N scans.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.ids import now
from service.catalog.layouts.layout_records import Layout, LayoutState
from service.catalog.layouts.layout_rows import layout_of, machines_of, require_encoder, state_of
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    require_collection,
    require_row,
    select,
)

_CLEAR = """
    DELETE FROM scan_places WHERE row_id IN (SELECT row_id FROM scans WHERE collection_id = %s)
"""
_STORE = """
    INSERT INTO scan_places (row_id, workspace_id, encoder_id, x, y, kept, placed_at)
    SELECT s.row_id, s.workspace_id, %s, n.x, n.y, n.kept, %s
    FROM unnest(%s::text[], %s::real[], %s::real[], %s::real[]) AS n (scan_id, x, y, kept)
    JOIN scans AS s ON s.collection_id = %s AND s.scan_id = n.scan_id
"""
_PLACES = """
    SELECT s.scan_id, p.x, p.y, p.kept, p.placed_at
    FROM scans AS s JOIN scan_places AS p USING (row_id)
    WHERE s.collection_id = %s AND p.encoder_id = %s ORDER BY s.row_id
"""
_STATE = """
    SELECT count(p.row_id) AS placed, count(*) AS scans, avg(p.kept)::double precision AS kept,
        max(p.placed_at) AS placed_at
    FROM scans AS s LEFT JOIN scan_places AS p ON p.row_id = s.row_id AND p.encoder_id = %s
    WHERE s.collection_id = %s
"""
_DEVICES = """
    SELECT scan_id, (analysis::json -> 'device')::text AS device FROM scans
    WHERE collection_id = %s AND json_typeof(analysis::json -> 'device') = 'object'
"""


class PostgresLayouts(PostgresTable):
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
        x, y = points_N2.T.tolist()
        with self._database.write(workspace_id) as connection:
            # Locked: no scan goes, and no other encoder comes, between the two statements.
            parent = require_collection(connection, workspace_id, collection, lock=True)
            require_encoder(parent["encoder_id"], encoder_id)
            number = parent["collection_id"]
            connection.execute(_CLEAR, (number,))
            values = (encoder_id, now(), list(scan_ids), x, y, kept_N.tolist(), number)
            return connection.execute(_STORE, values).rowcount

    def get_layout(self, workspace_id: str, collection: str) -> Layout:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            where = (parent["collection_id"], parent["encoder_id"])
            rows = select(connection, _PLACES, *where)
        return layout_of([tuple(row.values()) for row in rows])

    def layout_state(self, workspace_id: str, collection: str) -> LayoutState:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            where = (parent["encoder_id"], parent["collection_id"])
            return state_of(require_row(connection, "no such collection", _STATE, *where))

    def machines(self, workspace_id: str, collection: str) -> dict[str, str]:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = select(connection, _DEVICES, parent["collection_id"])
        return machines_of(tuple(row.values()) for row in rows)
