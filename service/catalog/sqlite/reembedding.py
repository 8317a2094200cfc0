"""Collections that move from one encoder to another, and the images they kept for it, in SQLite.

Scans keep their rows: labels, ids and deletions of any moment hold for both vectors. The second
vector of each scan lies in ``spare_vectors``; the switch exchanges the two in one transaction.

Shape suffixes: N scans, D embedding width.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.lifecycle_records import Move
from service.catalog.sqlite.codec import encode_vector, require_collection, require_scan
from service.catalog.sqlite.database import Database
from service.errors import Conflict, ImagesNotKept, UnknownItem

_SCOPE = "SELECT row_id FROM scans WHERE workspace_id = ? AND collection_id = ?"
_COUNT_SPARE = f"SELECT count(*) FROM spare_vectors WHERE row_id IN ({_SCOPE})"  # noqa: S608
_DROP_SPARE = f"DELETE FROM spare_vectors WHERE row_id IN ({_SCOPE})"  # noqa: S608
EXCHANGE_AT_ONCE = 1000  # rows, so that memory holds a few megabytes of them
_ROWS = f"{_SCOPE} AND row_id > ? ORDER BY row_id LIMIT {EXCHANGE_AT_ONCE}"
_EXCHANGE = (
    f"""
    INSERT INTO exchanged SELECT v.row_id, v.vector FROM scan_vectors AS v
    WHERE v.row_id IN ({_ROWS})
    """,  # noqa: S608 - made of constants
    """
    UPDATE scan_vectors SET vector = s.vector FROM spare_vectors AS s
    WHERE s.row_id = scan_vectors.row_id
        AND scan_vectors.row_id IN (SELECT row_id FROM exchanged)
    """,
    """
    UPDATE spare_vectors SET vector = e.vector FROM exchanged AS e
    WHERE e.row_id = spare_vectors.row_id
    """,
)


class Moves:
    """The part of the catalog that exchanges the vectors of a collection."""

    _database: Database

    def scan_image(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The kept PNG of a scan. Raises UnknownItem, ImagesNotKept."""
        with self._database.read() as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            sql = "SELECT png FROM scan_images WHERE row_id = ?"
            row = connection.execute(sql, (scan["row_id"],)).fetchone()
        if row is None:
            raise ImagesNotKept("no image of this scan was kept")
        return bytes(row["png"])

    def begin_move(self, workspace_id: str, collection: str, *, encoder_id: str, dim: int) -> Move:
        """Start, or go on with, a move to this encoder.

        Raises:
            UnknownItem: no such collection.
            Conflict: it is of this encoder already, or another move is not confirmed yet.
            ImagesNotKept: of some scans no image was kept; it says of how many.
        """
        missing = f"""
            SELECT count(*) FROM ({_SCOPE}) WHERE row_id NOT IN (SELECT row_id FROM scan_images)
        """  # noqa: S608 - made of constants
        insert = """
            INSERT OR REPLACE INTO moves (collection_id, workspace_id, encoder_id, dim, state)
            VALUES (?, ?, ?, ?, 'embedding')
        """
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, collection)
            scope = (workspace_id, found["collection_id"])
            if found["encoder_id"] == encoder_id:
                raise Conflict("the collection is of the loaded encoder already")
            known = _row(connection, found["collection_id"])
            if known is not None and known["state"] == "switched":
                raise Conflict("confirm or take back the collection's last move first")
            lacking = int(connection.execute(missing, scope).fetchone()[0])
            if lacking:
                raise ImagesNotKept(
                    f"no image was kept of {lacking} of the collection's scans: upload the files "
                    "again into a new collection (keep_images lets a later move do without)"
                )
            if known is None or known["encoder_id"] != encoder_id:
                connection.execute(_DROP_SPARE, scope)
                connection.execute(insert, (scope[1], workspace_id, encoder_id, dim))
            return _move(connection, found)

    def get_move(self, workspace_id: str, collection: str) -> Move:
        """Raises UnknownItem: no such collection, or it is not moving."""
        with self._database.read() as connection:
            return _move(connection, require_collection(connection, workspace_id, collection))

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        """(row_id, PNG) of scans that lack the second vector, at most ``limit``, oldest first."""
        sql = """
            SELECT s.row_id, i.png FROM scans AS s JOIN scan_images AS i USING (row_id)
            WHERE s.workspace_id = ? AND s.collection_id = ?
                AND NOT EXISTS (SELECT 1 FROM spare_vectors AS v WHERE v.row_id = s.row_id)
            ORDER BY s.row_id LIMIT ?
        """
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (workspace_id, found["collection_id"], limit))
            return tuple((row["row_id"], bytes(row["png"])) for row in rows)

    def add_spare_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        """Store second vectors; rows that are gone by now are passed over.

        Raises:
            UnknownItem: no such collection, or it is not moving.
            InputError: not finite float32 of the move's width.
        """
        insert = """
            INSERT OR REPLACE INTO spare_vectors (row_id, workspace_id, vector)
            SELECT row_id, workspace_id, ? FROM scans
            WHERE workspace_id = ? AND collection_id = ? AND row_id = ?
        """
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, collection)
            move = _move(connection, found)
            blobs = [encode_vector(embedding_D, move.to_dim) for embedding_D in embeddings_ND]
            scope = (workspace_id, found["collection_id"])
            values = [(blob, *scope, row) for row, blob in zip(row_ids, blobs, strict=True)]
            connection.executemany(insert, values)

    def switch_move(self, workspace_id: str, collection: str) -> Move:
        """Exchange the vectors, forth or back; the collection is of the other encoder at once.

        Forth once every scan has its second vector; back after that, until it is confirmed.

        Raises:
            UnknownItem: no such collection, or it is not moving.
            Conflict: scans lack the other vector, such as those added after the switch.
        """
        bind = "UPDATE collections SET encoder_id = ?, dim = ?, version = version + 1"
        where = " WHERE collection_id = ?"
        turn = "UPDATE moves SET encoder_id = ?, dim = ?, state = ? WHERE collection_id = ?"
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, collection)
            move = _move(connection, found)
            scope = (workspace_id, found["collection_id"])
            scans = f"SELECT count(*) FROM ({_SCOPE})"  # noqa: S608 - made of constants
            lacking = int(connection.execute(scans, scope).fetchone()[0]) - move.embedded
            if lacking:
                raise Conflict(f"{lacking} scans have no vector of the other encoder")
            _exchange(connection, scope)
            connection.execute(bind + where, (*_other(connection, scope[1]), scope[1]))
            state = "switched" if move.state == "embedding" else "embedding"
            connection.execute(turn, (found["encoder_id"], found["dim"], state, scope[1]))
            return _move(connection, require_collection(connection, workspace_id, collection))

    def end_move(self, workspace_id: str, collection: str) -> None:
        """Drop the spare vectors: confirms a switched move, gives up one that still embeds.

        Raises:
            UnknownItem: no such collection, or it is not moving.
        """
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, collection)
            _move(connection, found)
            connection.execute(_DROP_SPARE, (workspace_id, found["collection_id"]))
            delete = "DELETE FROM moves WHERE collection_id = ?"
            connection.execute(delete, (found["collection_id"],))
        self._database.forget_deleted()


def _exchange(connection: sqlite3.Connection, scope: tuple[str, int]) -> None:
    """Every first vector for its second one, in the caller's transaction."""
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
    sql = "SELECT * FROM moves WHERE collection_id = ?"
    row: sqlite3.Row | None = connection.execute(sql, (collection_id,)).fetchone()
    return row


def _other(connection: sqlite3.Connection, collection_id: int) -> tuple[str, int]:
    row = _row(connection, collection_id)
    if row is None:
        raise UnknownItem("the collection is not moving to another encoder")
    return row["encoder_id"], row["dim"]


def _move(connection: sqlite3.Connection, collection: sqlite3.Row) -> Move:
    row = _row(connection, collection["collection_id"])
    if row is None:
        raise UnknownItem("the collection is not moving to another encoder")
    scope = (collection["workspace_id"], collection["collection_id"])
    ends = (collection["encoder_id"], row["encoder_id"])
    if row["state"] == "switched":
        ends = (ends[1], ends[0])
    return Move(
        from_encoder_id=ends[0],
        to_encoder_id=ends[1],
        to_dim=row["dim"] if row["state"] == "embedding" else collection["dim"],
        state=row["state"],
        embedded=int(connection.execute(_COUNT_SPARE, scope).fetchone()[0]),
    )
