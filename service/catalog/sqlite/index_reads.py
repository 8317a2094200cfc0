"""What an index is made of: row ids, what they stand for, and their vectors, in SQLite.

Shape suffixes: N scans, D embedding width.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.sqlite.codec import decode_vectors, json_list, require_collection
from service.catalog.sqlite.database import Database

MARK_DIGITS = 16  # hexadecimal, 64 bits


def mark_of(sha256: str) -> int:
    """64 bits that tell two files apart: what a row id stands for."""
    try:
        return int(sha256[:MARK_DIGITS], 16) & (2**64 - 1)
    except ValueError:  # a catalog takes any text for a digest
        return int.from_bytes(hashlib.sha256(sha256.encode()).digest()[:8])


class RowReads:
    """The part of the catalog that fills and checks indexes."""

    _database: Database

    def row_marks(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """(row_ids_N, marks_N) of the whole collection, ascending. Raises UnknownItem."""
        # Answered from the index over (collection_id, sha256) alone: no row is read.
        sql = "SELECT row_id, sha256 FROM scans WHERE collection_id = ?"
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (found["collection_id"],))
            pairs = ((row[0], mark_of(row[1])) for row in rows)
            table = np.fromiter(pairs, dtype=[("row", "<i8"), ("mark", "<u8")])
        order = np.argsort(table["row"])
        return table["row"][order], table["mark"][order]

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(row_ids_N, embeddings_ND) of those of the rows that exist, ascending.

        Raises:
            UnknownItem: no such collection.
            CatalogFailure: a vector is missing or not of the collection's width.
        """
        sql = """
            SELECT s.row_id, v.vector
            FROM scans AS s LEFT JOIN scan_vectors AS v USING (row_id)
            WHERE +s.collection_id = ? AND s.row_id IN (SELECT value FROM json_each(?))
            ORDER BY s.row_id
        """
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (found["collection_id"], json_list(row_ids))).fetchall()
        embeddings_ND = decode_vectors([row["vector"] for row in rows], found["dim"])
        return np.array([row["row_id"] for row in rows], np.int64), embeddings_ND
