"""Moving collections from one encoder to another, in PostgreSQL.

Scans keep their rows, so labels, ids and deletions apply to both vectors at any time. The second
vector of each scan is in ``staged_vectors``; the switch exchanges the two in one transaction. Every
writer locks the collection, so that no scan comes or goes during a switch.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pgvector import Vector
from psycopg.rows import DictRow

from service.catalog.codec import encode_vector
from service.catalog.operation_records import Reembedding
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    first,
    owe_vacuum,
    require_collection,
    require_row,
    to_half,
)
from service.errors import Conflict, ImagesNotKept, UnknownItem

EXCHANGE_AT_ONCE = 1000  # rows, which take a few megabytes of memory
_COUNT = "SELECT count(*) AS scans FROM scans WHERE collection_id = %s"
_COUNT_STAGED = """
    SELECT count(*) AS staged FROM staged_vectors JOIN scans USING (row_id) WHERE collection_id = %s
"""
_DROP_STAGED = """
    DELETE FROM staged_vectors
    WHERE row_id IN (SELECT row_id FROM scans WHERE collection_id = %s)
"""
_LACKING = """
    SELECT count(*) AS scans FROM scans AS s WHERE s.collection_id = %s
        AND NOT EXISTS (SELECT 1 FROM scan_images AS i WHERE i.row_id = s.row_id)
"""
_BEGIN = """
    INSERT INTO reembeddings (collection_id, workspace_id, encoder_id, dim, state)
    VALUES (%s, %s, %s, %s, 'embedding')
    ON CONFLICT (collection_id) DO UPDATE
    SET encoder_id = excluded.encoder_id, dim = excluded.dim, state = excluded.state
"""
_TO_EMBED = """
    SELECT s.row_id, i.png FROM scans AS s JOIN scan_images AS i USING (row_id)
    WHERE s.collection_id = %s
        AND NOT EXISTS (SELECT 1 FROM staged_vectors AS v WHERE v.row_id = s.row_id)
    ORDER BY s.row_id LIMIT %s
"""
_STAGE = """
    INSERT INTO staged_vectors (row_id, workspace_id, vector, half)
    SELECT s.row_id, s.workspace_id, n.vector, n.half
    FROM unnest(%s::bigint[], %b::vector[], %b::halfvec[]) AS n (row_id, vector, half)
    JOIN scans AS s ON s.row_id = n.row_id AND s.collection_id = %s
    ON CONFLICT (row_id) DO UPDATE SET vector = excluded.vector, half = excluded.half
"""
# Every part sees both vectors as they were before the statement.
_EXCHANGE = """
    WITH pairs AS MATERIALIZED (
        SELECT v.row_id, v.vector AS old, v.half AS old_half, s.vector AS new, s.half AS new_half
        FROM scan_vectors AS v JOIN staged_vectors AS s USING (row_id)
        WHERE v.collection_id = %s AND v.row_id > %s ORDER BY v.row_id LIMIT %s
    ), forward AS (
        UPDATE scan_vectors AS v SET vector = p.new, half = p.new_half
        FROM pairs AS p WHERE v.row_id = p.row_id
    ), back AS (
        UPDATE staged_vectors AS s SET vector = p.old, half = p.old_half
        FROM pairs AS p WHERE s.row_id = p.row_id
    )
    SELECT max(row_id) AS last FROM pairs
"""
_BIND = """
    UPDATE collections AS c SET version = version + 1, encoder_id = r.encoder_id, dim = r.dim
    FROM reembeddings AS r
    WHERE r.collection_id = c.collection_id AND c.collection_id = %s
"""
_TURN = "UPDATE reembeddings SET encoder_id = %s, dim = %s, state = %s WHERE collection_id = %s"
_RESIZE = """
    WITH resized AS (
        UPDATE scans SET stored_bytes = stored_bytes + %(wider)s
        WHERE collection_id = %(collection_id)s
    ), of_keys AS (
        UPDATE key_storage SET stored_bytes = stored_bytes + scans * %(wider)s
        WHERE collection_id = %(collection_id)s
    )
    UPDATE collections SET stored_bytes = stored_bytes + scans * %(wider)s
    WHERE collection_id = %(collection_id)s
"""


class PostgresReembeddings(PostgresTable):
    """The part of the catalog that exchanges the vectors of a collection."""

    def begin_reembedding(
        self, workspace_id: str, collection: str, *, encoder_id: str, dim: int
    ) -> Reembedding:
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection, lock=True)
            collection_id = parent["collection_id"]
            if parent["encoder_id"] == encoder_id:
                raise Conflict("the collection is of the loaded encoder already")
            known = _row(connection, collection_id)
            if known is not None and known["state"] == "switched":
                raise Conflict("confirm or take back the collection's last re-embedding first")
            lacking = require_row(connection, "", _LACKING, collection_id)["scans"]
            if lacking:
                raise ImagesNotKept(
                    f"no image was kept of {lacking} of the collection's scans: upload the files "
                    "again into a new collection (keep_images lets a later re-embedding do without)"
                )
            if known is None or known["encoder_id"] != encoder_id:
                connection.execute(_DROP_STAGED, (collection_id,))
                connection.execute(_BEGIN, (collection_id, workspace_id, encoder_id, dim))
            return _reembedding(connection, parent)

    def get_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            return _reembedding(connection, parent)

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            cursor = connection.cursor(binary=True)
            rows = cursor.execute(_TO_EMBED, (parent["collection_id"], limit))
            return tuple((row["row_id"], bytes(row["png"])) for row in rows)

    def stage_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection, lock=True)
            dim = _to_dim(parent, _require_row(connection, parent))
            for embedding_D in embeddings_ND:
                encode_vector(embedding_D, dim)  # raises InputError
            # A row that is named twice keeps its last vector.
            vectors = dict(zip(row_ids, embeddings_ND, strict=True))
            columns = (
                list(vectors),
                [Vector(embedding_D) for embedding_D in vectors.values()],
                [to_half(embedding_D) for embedding_D in vectors.values()],
            )
            if vectors:
                connection.execute(_STAGE, (*columns, parent["collection_id"]))

    def switch_reembedding(self, workspace_id: str, collection: str) -> Reembedding:
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection, lock=True)
            collection_id = parent["collection_id"]
            current = _reembedding(connection, parent)
            scans = require_row(connection, "", _COUNT, collection_id)["scans"]
            lacking = scans - current.embedded
            if lacking:
                raise Conflict(f"{lacking} scans have no vector of the other encoder")
            _exchange(connection, collection_id)
            wider = 4 * (_require_row(connection, parent)["dim"] - parent["dim"])
            if wider:
                connection.execute(_RESIZE, {"wider": wider, "collection_id": collection_id})
            connection.execute(_BIND, (collection_id,))
            state = "switched" if current.state == "embedding" else "embedding"
            connection.execute(_TURN, (parent["encoder_id"], parent["dim"], state, collection_id))
            parent = require_collection(connection, workspace_id, collection)
            return _reembedding(connection, parent)

    def end_reembedding(self, workspace_id: str, collection: str) -> None:
        with self._database.write(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection, lock=True)
            _require_row(connection, parent)
            connection.execute(_DROP_STAGED, (parent["collection_id"],))
            delete = "DELETE FROM reembeddings WHERE collection_id = %s"
            connection.execute(delete, (parent["collection_id"],))
            owe_vacuum(connection)


def _exchange(connection: Connection, collection_id: int) -> None:
    """Exchange the two vectors of every scan, in the caller's transaction."""
    last = -1
    while last is not None:
        row = require_row(connection, "", _EXCHANGE, collection_id, last, EXCHANGE_AT_ONCE)
        last = row["last"]


def _row(connection: Connection, collection_id: int) -> DictRow | None:
    query = "SELECT * FROM reembeddings WHERE collection_id = %s"
    return first(connection, query, collection_id)


def _require_row(connection: Connection, collection: DictRow) -> DictRow:
    row = _row(connection, collection["collection_id"])
    if row is None:
        raise UnknownItem("the collection is not being re-embedded")
    return row


def _to_dim(collection: DictRow, row: DictRow) -> int:
    """The width of the vectors of the encoder to which the collection moves."""
    return int(row["dim"] if row["state"] == "embedding" else collection["dim"])


def _reembedding(connection: Connection, collection: DictRow) -> Reembedding:
    row = _require_row(connection, collection)
    ends = (collection["encoder_id"], row["encoder_id"])
    if row["state"] == "switched":
        ends = (ends[1], ends[0])
    staged = require_row(connection, "", _COUNT_STAGED, collection["collection_id"])["staged"]
    return Reembedding(
        from_encoder_id=ends[0],
        to_encoder_id=ends[1],
        to_dim=_to_dim(collection, row),
        state=row["state"],
        embedded=int(staged),
    )
