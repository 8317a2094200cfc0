"""Looking up, filtering and listing scans and their vectors, in SQLite.

Only ``vectors``, ``embeddings`` and ``thumbnail`` touch the tables of blobs.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.records import Page, Scan, ScanFilter
from service.catalog.sqlite.codec import (
    INT64_MAX,
    decode_scan,
    decode_vector,
    json_list,
    new_page,
    require_collection,
    require_limit,
    require_scan,
)
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.sql_filter import condition
from service.errors import CatalogFailure, InvalidCursor, UnknownItem


class ScanReads:
    """The part of the catalog that finds scans."""

    _database: Database

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        """Raises UnknownItem: no such collection or scan."""
        with self._database.read() as connection:
            return decode_scan(require_scan(connection, workspace_id, collection, scan_id))

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        """Those of the rows that still exist, by row id; none when the collection is gone."""
        sql = """
            SELECT * FROM scan_records
            WHERE +workspace_id = ? AND +collection = ?
                AND row_id IN (SELECT value FROM json_each(?))
        """  # the plus signs keep SQLite from walking the workspace instead of the rows
        wanted = json_list(int(row_id) for row_id in row_ids)
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id, collection, wanted)).fetchall()
        return {row["row_id"]: decode_scan(row) for row in rows}

    def find_known(
        self, workspace_id: str, collection: str, sha256s: Sequence[str]
    ) -> dict[str, str]:
        """{sha256: scan_id} of the files that the collection holds already."""
        sql = """
            SELECT s.sha256, s.scan_id
            FROM collections AS c JOIN scans AS s USING (collection_id)
            WHERE c.workspace_id = ? AND c.name = ?
                AND s.sha256 IN (SELECT value FROM json_each(?))
        """
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id, collection, json_list(sha256s)))
            return {row["sha256"]: row["scan_id"] for row in rows}

    def list_scans(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        limit: int,
        after: str | None = None,
    ) -> Page[Scan]:
        """In the order of storing, starting after the decimal row id ``after``.

        Raises:
            UnknownItem: no such collection.
            InvalidCursor: ``after`` is not a decimal row id.
        """
        passes, variables = condition(where)
        sql = f"""
            SELECT * FROM scan_records
            WHERE workspace_id = ? AND collection_id = ? AND row_id > ? AND {passes}
            ORDER BY row_id LIMIT ?
        """  # noqa: S608 - ``passes`` is made of constants
        start = 0 if after is None else _row_id(after)
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(
                sql,
                (workspace_id, found["collection_id"], start, *variables, require_limit(limit) + 1),
            ).fetchall()
        return new_page([decode_scan(row) for row in rows], limit, lambda scan: str(scan.row_id))

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        """Row ids of all scans that pass, ascending, int64 (N,). Raises UnknownItem."""
        passes, variables = condition(where)
        sql = f"""
            SELECT row_id FROM scans
            WHERE workspace_id = ? AND collection_id = ? AND {passes} ORDER BY row_id
        """  # noqa: S608 - ``passes`` is made of constants
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (workspace_id, found["collection_id"], *variables))
            return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The JPEG bytes. Raises UnknownItem."""
        sql = "SELECT jpeg FROM scan_thumbnails WHERE row_id = ?"
        with self._database.read() as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            row = connection.execute(sql, (scan["row_id"],)).fetchone()
        if row is None:
            raise CatalogFailure("a stored scan has no thumbnail")
        return bytes(row["jpeg"])

    def vectors(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of the whole collection, ascending.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is missing or not of the collection's width.
        """
        sql = """
            SELECT s.row_id, v.vector
            FROM scans AS s LEFT JOIN scan_vectors AS v USING (row_id)
            WHERE s.workspace_id = ? AND s.collection_id = ? ORDER BY s.row_id
        """
        count = "SELECT count(*) FROM scans WHERE workspace_id = ? AND collection_id = ?"
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            variables = (workspace_id, found["collection_id"])
            # Filled row by row: a list of blobs first would hold every vector twice.
            n = int(connection.execute(count, variables).fetchone()[0])
            row_ids_N = np.empty(n, np.int64)
            embeddings_ND = np.empty((n, found["dim"]), np.float32)
            for i, row in enumerate(connection.execute(sql, variables)):
                row_ids_N[i] = row["row_id"]
                embeddings_ND[i] = decode_vector(row["vector"], found["dim"])
        return row_ids_N, embeddings_ND

    def embeddings(
        self, workspace_id: str, collection: str, scan_ids: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND in the order of ``scan_ids``, which may repeat.

        Raises:
            UnknownItem: no such collection, or any scan is missing.
            CatalogFailure: a vector is missing or not of the collection's width.
        """
        sql = """
            SELECT s.scan_id, v.vector
            FROM scans AS s LEFT JOIN scan_vectors AS v USING (row_id)
            WHERE s.collection_id = ? AND s.scan_id IN (SELECT value FROM json_each(?))
        """
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (found["collection_id"], json_list(scan_ids)))
            vectors = {row["scan_id"]: decode_vector(row["vector"], found["dim"]) for row in rows}
        missing = len(set(scan_ids) - vectors.keys())
        if missing:
            raise UnknownItem(f"{missing} of {len(scan_ids)} scans are not in the collection")
        embeddings_ND = np.empty((len(scan_ids), found["dim"]), np.float32)
        for i, scan_id in enumerate(scan_ids):
            embeddings_ND[i] = vectors[scan_id]
        return embeddings_ND


def _row_id(after: str) -> int:
    # The length goes first: int() refuses texts of many thousand digits with a ValueError.
    if after.isascii() and after.isdecimal() and len(after) <= 19 and int(after) <= INT64_MAX:
        return int(after)
    raise InvalidCursor("the cursor of a list of scans must be a decimal row id")
