"""Reading whole scans, blobs included, page by page, to carry a collection away, in SQLite.

Shape suffixes: D embedding width.
"""

from service.catalog.lifecycle_records import WholeScan
from service.catalog.records import ClipFrame
from service.catalog.sqlite.codec import (
    decode_scan,
    decode_vector,
    json_list,
    require_collection,
    require_limit,
)
from service.catalog.sqlite.database import Database
from service.errors import CatalogFailure

_PAGE = """
    SELECT r.*, v.vector, t.jpeg, i.png
    FROM scan_records AS r
    LEFT JOIN scan_vectors AS v ON v.row_id = r.row_id
    LEFT JOIN scan_thumbnails AS t ON t.row_id = r.row_id
    LEFT JOIN scan_images AS i ON i.row_id = r.row_id
    WHERE r.workspace_id = ? AND r.collection_id = ? AND r.row_id > ?
    ORDER BY r.row_id LIMIT ?
"""


_FRAMES = """
    SELECT row_id, place, time_s, copies, vector FROM scan_frames
    WHERE row_id IN (SELECT value FROM json_each(?)) ORDER BY frame_id
"""


class Carriage:
    """The part of the catalog that gives collections away."""

    _database: Database

    def whole_scans(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[WholeScan, ...]:
        """Scans behind the row number ``after``, oldest first; each is of one moment.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector or thumbnail is missing or damaged.
        """
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            variables = (workspace_id, found["collection_id"], after, require_limit(limit))
            rows = connection.execute(_PAGE, variables).fetchall()
            ids = json_list(row["row_id"] for row in rows)
            kept = connection.execute(_FRAMES, (ids,)).fetchall()
        frames: dict[int, list[ClipFrame]] = {}
        for frame in kept:
            embedding_D = decode_vector(frame["vector"], found["dim"])
            facts = (frame["place"], frame["time_s"], frame["copies"])
            frames.setdefault(frame["row_id"], []).append(ClipFrame(*facts, embedding_D))
        if any(row["jpeg"] is None for row in rows):
            raise CatalogFailure("a stored scan has no thumbnail")
        return tuple(
            WholeScan(
                decode_scan(row),
                decode_vector(row["vector"], found["dim"]),
                row["jpeg"],
                row["png"],
                tuple(frames.get(row["row_id"], ())),
            )
            for row in rows
        )
