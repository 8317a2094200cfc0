"""Moving collections from one encoder to another, in SQLite.

Scans keep their rows, so labels, ids and deletions apply to both vectors at any time. The second
vector of each scan is in ``staged_vectors``; the switch exchanges the two in one transaction.

Shape suffixes: N scans, D embedding width.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.codec import encode_vector
from service.catalog.operation_records import Reembedding
from service.catalog.sqlite.rows import SqliteTable, require_collection
from service.errors import Conflict, ImagesNotKept, UnknownItem

_SCOPE = "SELECT row_id FROM scans WHERE workspace_id = ? AND collection_id = ?"
_COUNT_STAGED = f"SELECT count(*) FROM staged_vectors WHERE row_id IN ({_SCOPE})"  # noqa: S608
_DROP_STAGED = f"DELETE FROM staged_vectors WHERE row_id IN ({_SCOPE})"  # noqa: S608
EXCHANGE_AT_ONCE = 1000  # rows, which take a few megabytes of memory
_ROWS = f"{_SCOPE} AND row_id > ? ORDER BY row_id LIMIT {EXCHANGE_AT_ONCE}"
_EXCHANGE = (
    f"""
    INSERT INTO exchanged SELECT v.row_id, v.vector FROM scan_vectors AS v
    WHERE v.row_id IN ({_ROWS})
    """,  # noqa: S608 - made of constants
    """
    UPDATE scan_vectors SET vector = s.vector FROM staged_vectors AS s
    WHERE s.row_id = scan_vectors.row_id
        AND scan_vectors.row_id IN (SELECT row_id FROM exchanged)
    """,
    """
    UPDATE staged_vectors SET vector = e.vector FROM exchanged AS e
    WHERE e.row_id = staged_vectors.row_id
    """,
)
# Both encoders may give vectors of the same width: then nothing is to be counted anew.
_RESIZE = """
    UPDATE scans SET stored_bytes = stored_bytes + length(v.vector) - length(s.vector)
    FROM scan_vectors AS v JOIN staged_vectors AS s ON s.row_id = v.row_id
    WHERE scans.workspace_id = ? AND scans.collection_id = ? AND v.row_id = scans.row_id
        AND length(v.vector) <> length(s.vector)
"""


class SqliteReembeddings(SqliteTable):
    """The part of the catalog that exchanges the vectors of a collection."""

    def begin_reembedding(
        self, workspace_id: str, collection: str, *, encoder_id: str, dim: int
    ) -> Reembedding:
        missing = f"""
            SELECT count(*) FROM ({_SCOPE}) WHERE row_id NOT IN (SELECT row_id FROM scan_images)
        """  # noqa: S608 - made of constants
        insert = """
            INSERT OR REPLACE INTO reembeddings
                (collection_id, workspace_id, encoder_id, dim, state)
            VALUES (?, ?, ?, ?, 'embedding')
        """
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            scope = (workspace_id, parent["collection_id"])
            if parent["encoder_id"] == encoder_id:
                raise Conflict("the collection is of the loaded encoder already")
            known = _row(connection, parent["collection_id"])
            if known is not None and known["state"] == "switched":
                raise Conflict("confirm or take back the collection's last re-embedding first")
            lacking = int(connection.execute(missing, scope).fetchone()[0])
            if lacking:
                raise ImagesNotKept(
                    f"no image was kept of {lacking} of the collection's scans: upload the files "
                    "again into a new collection (keep_images lets a later re-embedding do without)"
                )
            if known is None or known["encoder_id"] != encoder_id:
                connection.execute(_DROP_STAGED, scope)
                connection.execute(insert, (scope[1], workspace_id, encoder_id, dim))
            return _reembedding(connection, parent)

    def get_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            return _reembedding(connection, parent)

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        sql = """
            SELECT s.row_id, i.png FROM scans AS s JOIN scan_images AS i USING (row_id)
            WHERE s.workspace_id = ? AND s.collection_id = ?
                AND NOT EXISTS (SELECT 1 FROM staged_vectors AS v WHERE v.row_id = s.row_id)
            ORDER BY s.row_id LIMIT ?
        """
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (workspace_id, parent["collection_id"], limit))
            return tuple((row["row_id"], bytes(row["png"])) for row in rows)

    def stage_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        insert = """
            INSERT OR REPLACE INTO staged_vectors (row_id, workspace_id, vector)
            SELECT row_id, workspace_id, ? FROM scans
            WHERE workspace_id = ? AND collection_id = ? AND row_id = ?
        """
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            current = _reembedding(connection, parent)
            blobs = [encode_vector(embedding_D, current.to_dim) for embedding_D in embeddings_ND]
            scope = (workspace_id, parent["collection_id"])
            values = [(blob, *scope, row) for row, blob in zip(row_ids, blobs, strict=True)]
            connection.executemany(insert, values)

    def switch_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        bind = """
            UPDATE collections SET version = version + 1, (encoder_id, dim) = (
                SELECT encoder_id, dim FROM reembeddings AS r
                WHERE r.collection_id = collections.collection_id
            ) WHERE collection_id = ?
        """
        turn = "UPDATE reembeddings SET encoder_id = ?, dim = ?, state = ? WHERE collection_id = ?"
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            current = _reembedding(connection, parent)
            scope = (workspace_id, parent["collection_id"])
            scans = f"SELECT count(*) FROM ({_SCOPE})"  # noqa: S608 - made of constants
            lacking = int(connection.execute(scans, scope).fetchone()[0]) - current.embedded
            if lacking:
                raise Conflict(f"{lacking} scans have no vector of the other encoder")
            _exchange(connection, scope)
            connection.execute(_RESIZE, scope)
            connection.execute(bind, scope[1:])
            state = "switched" if current.state == "embedding" else "embedding"
            connection.execute(turn, (parent["encoder_id"], parent["dim"], state, scope[1]))
            parent = require_collection(connection, workspace_id, collection)
            return _reembedding(connection, parent)

    def end_reembedding(self, workspace_id: str, collection: str) -> None:
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            _reembedding(connection, parent)
            connection.execute(_DROP_STAGED, (workspace_id, parent["collection_id"]))
            delete = "DELETE FROM reembeddings WHERE collection_id = ?"
            connection.execute(delete, (parent["collection_id"],))
        self._database.forget_deleted()


def _exchange(connection: sqlite3.Connection, scope: tuple[str, int]) -> None:
    """Exchange the two vectors of every scan, in the caller's transaction."""
    connection.execute("CREATE TEMP TABLE exchanged (row_id INTEGER PRIMARY KEY, vector BLOB)")
    last = 0
    while last is not None:
        connection.execute(_EXCHANGE[0], (*scope, last))
        for statement in _EXCHANGE[1:]:
            connection.execute(statement)
        last = connection.execute("SELECT max(row_id) FROM exchanged").fetchone()[0]
        connection.execute("DELETE FROM exchanged")
    connection.execute("DROP TABLE exchanged")


def _row(connection: sqlite3.Connection, collection_id: int) -> sqlite3.Row | None:
    sql = "SELECT * FROM reembeddings WHERE collection_id = ?"
    row: sqlite3.Row | None = connection.execute(sql, (collection_id,)).fetchone()
    return row


def _reembedding(connection: sqlite3.Connection, collection: sqlite3.Row) -> Reembedding:
    row = _row(connection, collection["collection_id"])
    if row is None:
        raise UnknownItem("the collection is not being re-embedded")
    scope = (collection["workspace_id"], collection["collection_id"])
    ends = (collection["encoder_id"], row["encoder_id"])
    if row["state"] == "switched":
        ends = (ends[1], ends[0])
    return Reembedding(
        from_encoder_id=ends[0],
        to_encoder_id=ends[1],
        to_dim=row["dim"] if row["state"] == "embedding" else collection["dim"],
        state=row["state"],
        embedded=int(connection.execute(_COUNT_STAGED, scope).fetchone()[0]),
    )
