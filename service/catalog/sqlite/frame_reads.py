"""Reading the kept frames of cines, in SQLite.

Shape suffixes: N frames, D embedding width.
"""

import math
import sqlite3
from collections.abc import Sequence

import numpy as np

from service.catalog.records import ClipFrame, KeptFrames
from service.catalog.sqlite.codec import (
    decode_vector,
    decode_vectors,
    json_list,
    require_collection,
    require_scan,
)
from service.catalog.sqlite.database import Database


class FrameReads:
    """The part of the catalog that finds single frames."""

    _database: Database

    def clip_frames(
        self, workspace_id: str, collection: str, scan_id: str
    ) -> tuple[ClipFrame, ...]:
        """The kept frames of a cine, in the order of its file; none of a still.

        Raises:
            UnknownItem: no such collection or scan.
            CatalogFailure: a vector is not of the collection's width.
        """
        sql = "SELECT * FROM scan_frames WHERE row_id = ? ORDER BY place"
        with self._database.read() as connection:
            dim = require_collection(connection, workspace_id, collection)["dim"]
            scan = require_scan(connection, workspace_id, collection, scan_id)
            rows = connection.execute(sql, (scan["row_id"],)).fetchall()
        return tuple(
            ClipFrame(r["place"], r["time_s"], r["copies"], decode_vector(r["vector"], dim))
            for r in rows
        )

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        """The kept frames of all cines, or of those scans, by ascending frame.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is not of the collection's width.
        """
        sql = "SELECT row_id, place, time_s, vector FROM scan_frames WHERE collection_id = ?"
        if row_ids is not None:
            sql += " AND row_id IN (SELECT value FROM json_each(?))"
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            wanted = [] if row_ids is None else [json_list(int(row_id) for row_id in row_ids)]
            variables = (found["collection_id"], *wanted)
            rows = connection.execute(f"{sql} ORDER BY frame_id", variables).fetchall()
        return _arrays(rows, found["dim"])

    def frames_stamp(self, workspace_id: str, collection: str) -> tuple[int, int]:
        """(number of frames, newest frame id). Ids are never given twice, so equal stamps mean
        the same frames. Raises UnknownItem: no such collection."""
        sql = "SELECT count(*), coalesce(max(frame_id), 0) FROM scan_frames WHERE collection_id = ?"
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            count, newest = connection.execute(sql, (found["collection_id"],)).fetchone()
        return int(count), int(newest)


def _arrays(rows: list[sqlite3.Row], dim: int) -> KeptFrames:
    times = [math.nan if row["time_s"] is None else row["time_s"] for row in rows]
    return KeptFrames(
        np.array([row["row_id"] for row in rows], np.int64),
        np.array([row["place"] for row in rows], np.int64),
        np.array(times, np.float64),
        decode_vectors([row["vector"] for row in rows], dim),
    )
