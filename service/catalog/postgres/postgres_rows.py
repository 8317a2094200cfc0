"""Reading, decoding and inserting rows of the catalog's tables in PostgreSQL.

Shape suffixes: N rows, D embedding width.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pgvector import HalfVector, Vector
from psycopg import sql
from psycopg.rows import DictRow

from service.arrays import unit_rows
from service.catalog.codec import from_columns, to_columns
from service.catalog.erasure_ledger import Erasure, ErasureLedger
from service.catalog.erasure_records import ErasedSubject
from service.catalog.plain_text import name_of
from service.catalog.policies.storage_rules import NoRules, StorageRules
from service.catalog.postgres.postgres_database import Connection, PostgresDatabase
from service.catalog.redaction import Redact
from service.catalog.validation import is_comparable
from service.errors import CatalogFailure, InputError, UnknownItem

T = TypeVar("T")


class PostgresTable:
    """A part of the catalog over its databases."""

    _database: PostgresDatabase
    _ledger: ErasureLedger | None
    _redact: Redact
    _rules: StorageRules = NoRules()

    def _select(self, record: type[T], workspace_id: str, query: str, *variables: Any) -> list[T]:
        """The records of all rows. Raises CatalogFailure: a column is damaged."""
        with self._database.read(workspace_id) as connection:
            return [decode(record, row) for row in select(connection, query, *variables)]

    def _finished(self, receipt: ErasedSubject, erasures: Sequence[Erasure]) -> ErasedSubject:
        """The receipt of a committed erasure."""
        return replace(receipt, backups_know=self._noted(erasures))

    def _noted(self, erasures: Sequence[Erasure]) -> bool | None:
        """Whether a committed erasure is written beside the backups."""
        return None if self._ledger is None else self._ledger.note(erasures)


def select(connection: Connection, query: str, *variables: Any) -> list[DictRow]:
    """All rows of a query with ``%s`` for its variables."""
    return connection.execute(query, variables).fetchall()


def first(connection: Connection, query: str, *variables: Any) -> DictRow | None:
    """The first row of a query, None without one."""
    return connection.execute(query, variables).fetchone()


def decode(record: type[T], row: DictRow, **values: Any) -> T:
    """The record of a row. Raises CatalogFailure: a column is damaged."""
    try:
        return from_columns(record, row, **values)
    except ValueError as error:
        raise CatalogFailure(f"a stored {record.__name__} is damaged: {error}") from error


def insert(
    connection: Connection,
    table: str,
    values: Mapping[str, Any],
    *,
    otherwise: str = "",
    returning: str | None = None,
) -> Any:
    """Store a row; return its column ``returning``, None when ``otherwise`` skipped it."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) {} {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(sql.Placeholder() * len(values)),
        sql.SQL(otherwise),
        sql.SQL("" if returning is None else "RETURNING {}").format(
            sql.Identifier(returning or "")
        ),
    )
    cursor = connection.execute(statement, tuple(values.values()))
    if returning is None:
        return None
    row = cursor.fetchone()
    return None if row is None else row[returning]


def require_row(connection: Connection, missing: str, query: str, *variables: Any) -> DictRow:
    """The first row. Raises UnknownItem, with the message ``missing``: there is none."""
    row = first(connection, query, *variables)
    if row is None:
        raise UnknownItem(missing)
    return row


def require_workspace(connection: Connection, workspace_id: str) -> None:
    """Raises UnknownItem: no such workspace."""
    query = "SELECT 1 FROM workspaces WHERE workspace_id = %s"
    require_row(connection, "no such workspace", query, workspace_id)


def require_collection(
    connection: Connection, workspace_id: str, name: str, *, lock: bool = False
) -> DictRow:
    """Row of the table ``collections``.

    Args:
        lock: keep other writers away from the collection until the transaction ends, so that
            its row ids become visible in their order.

    Raises:
        UnknownItem: no such collection.
    """
    query = "SELECT * FROM collections WHERE workspace_id = %s AND name = %s"
    if lock:
        query += " FOR NO KEY UPDATE"
    missing = "no such collection in this workspace"
    if "\0" in name:  # PostgreSQL has no such text, so nothing is called so
        raise UnknownItem(missing)
    return require_row(connection, missing, query, workspace_id, name)


def lock_collections(connection: Connection, collection_ids: Iterable[int]) -> None:
    """Keep other writers away from several collections; the order prevents deadlocks."""
    query = """
        SELECT 1 FROM collections WHERE collection_id = ANY(%s)
        ORDER BY collection_id FOR NO KEY UPDATE
    """
    select(connection, query, list(collection_ids))


def lock_workspace(connection: Connection, workspace_id: str) -> None:
    """Keep other writers away from all collections of a workspace, in the same order."""
    query = """
        SELECT 1 FROM collections WHERE workspace_id = %s
        ORDER BY collection_id FOR NO KEY UPDATE
    """
    select(connection, query, workspace_id)


def delete_scans(connection: Connection, row_ids: Sequence[int]) -> int:
    """Delete scans with all that hangs on them, and count them out of their collections.

    Lock the collections first, then choose the rows: otherwise a scan may be stored in between.

    Returns:
        How many of the rows existed.
    """
    # Every part sees the rows as they were before the statement.
    query = """
        WITH gone AS (
            DELETE FROM scans WHERE row_id = ANY(%(ids)s::bigint[])
            RETURNING collection_id, key_id, stored_bytes
        ), of_keys AS (
            UPDATE key_storage AS k
            SET scans = k.scans - g.scans, stored_bytes = k.stored_bytes - g.bytes
            FROM (
                SELECT collection_id, key_id, count(*) AS scans, sum(stored_bytes)::bigint AS bytes
                FROM gone WHERE key_id IS NOT NULL GROUP BY collection_id, key_id
            ) AS g
            WHERE k.collection_id = g.collection_id AND k.key_id = g.key_id
        ), cines AS (
            SELECT DISTINCT collection_id FROM scan_frames WHERE row_id = ANY(%(ids)s::bigint[])
        ), counts AS (
            SELECT collection_id, count(*) AS scans, sum(stored_bytes)::bigint AS bytes
            FROM gone GROUP BY collection_id
        ), counted AS (
            UPDATE collections AS c
            SET scans = c.scans - counts.scans,
                stored_bytes = c.stored_bytes - counts.bytes, frames_stamp = c.frames_stamp + (
                SELECT count(*) FROM cines WHERE cines.collection_id = c.collection_id
            )
            FROM counts WHERE counts.collection_id = c.collection_id
        )
        SELECT coalesce(sum(scans), 0) AS scans FROM counts
    """
    row = connection.execute(query, {"ids": list(row_ids)}).fetchone()
    return 0 if row is None else int(row["scans"])


def forget_images(connection: Connection, collection_id: int) -> int:
    """Delete the kept images of a collection, which is locked; return how many there were."""
    query = """
        WITH gone AS (
            DELETE FROM scan_images WHERE row_id IN (
                SELECT row_id FROM scans WHERE collection_id = %(collection_id)s
            ) RETURNING row_id, octet_length(png) AS bytes
        ), smaller AS (
            UPDATE scans AS s SET stored_bytes = s.stored_bytes - gone.bytes
            FROM gone WHERE gone.row_id = s.row_id RETURNING s.key_id, gone.bytes
        ), of_keys AS (
            UPDATE key_storage AS k SET stored_bytes = k.stored_bytes - g.bytes
            FROM (
                SELECT key_id, sum(bytes)::bigint AS bytes FROM smaller GROUP BY key_id
            ) AS g
            WHERE k.collection_id = %(collection_id)s AND k.key_id = g.key_id
        ), counted AS (
            UPDATE collections
            SET stored_bytes = stored_bytes - (SELECT coalesce(sum(bytes), 0)::bigint FROM gone)
            WHERE collection_id = %(collection_id)s
        )
        SELECT count(*) AS images FROM gone
    """
    row = connection.execute(query, {"collection_id": collection_id}).fetchone()
    return 0 if row is None else int(row["images"])


def note(connection: Connection, erasures: Sequence[Erasure]) -> None:
    """Keep erasures in the catalog; known ones stay as they are."""
    if not erasures:
        return
    columns = list(zip(*(to_columns(erasure).values() for erasure in erasures), strict=True))
    statement = """
        INSERT INTO erasures (erasure_id, kind, workspace_id, digest, erased_at)
        SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        ON CONFLICT DO NOTHING
    """
    connection.execute(statement, [list(column) for column in columns])


def forget_answers(connection: Connection, workspace_id: str) -> None:
    """Finish an erasure: drop the workspace's answers, and owe a VACUUM to what was deleted.

    Which answers repeat erased data is not known, so all go. Those of requests that are under way
    will not be saved, because the count has grown.
    """
    # The count first: it waits for answers that are just being saved, which are then seen.
    count = "UPDATE workspaces SET forgettings = forgettings + 1 WHERE workspace_id = %s"
    connection.execute(count, (workspace_id,))
    # A claim has no answer yet, and tells other replicas that the request is under way.
    delete = "DELETE FROM answers WHERE workspace_id = %s AND status IS NOT NULL"
    connection.execute(delete, (workspace_id,))
    owe_vacuum(connection)


def owe_vacuum(connection: Connection) -> None:
    """Have what this transaction deletes removed from the files as well, after it."""
    connection.execute("INSERT INTO vacuums_owed DEFAULT VALUES")


def require_scan(
    connection: Connection, workspace_id: str, collection: str, scan_id: str, *, lock: bool = False
) -> DictRow:
    """Row of the view ``scan_records``; ``lock`` as ``require_collection``. Raises UnknownItem."""
    parent = require_collection(connection, workspace_id, collection, lock=lock)
    query = "SELECT * FROM scan_records WHERE collection_id = %s AND scan_id = %s"
    missing = "no such scan in this collection"
    return require_row(connection, missing, query, parent["collection_id"], name_of(scan_id))


def comparable(values: Iterable[Any]) -> list[Any]:
    """The values that a stored one can equal; PostgreSQL would refuse the others."""
    return [value for value in values if is_comparable(value)]


def until_nul(after: str | None) -> str | None:
    """A text that comes before the same names as ``after``, and that PostgreSQL takes.

    No name has a NUL, so a text is less than a name exactly if its part before one is.
    """
    return None if after is None else after.split("\0")[0]


def to_vector(embedding_D: npt.NDArray[np.float32]) -> Vector:
    """A checked embedding as a value of a column."""
    return Vector(embedding_D)


def to_half(embedding_D: npt.NDArray[np.float32]) -> HalfVector | None:
    """Its direction in half precision, for searches; None = it has none, so none finds it."""
    try:
        with np.errstate(over="ignore"):  # a vector too long to have a length is one of them
            return HalfVector(unit_rows(embedding_D[None])[0])
    except InputError:
        return None


def vector_of(value: Any, dim: int) -> npt.NDArray[np.float32]:
    """embedding_D, float32 (dim,). Raises CatalogFailure: missing, or of another width."""
    if value is None:
        raise CatalogFailure(f"a stored vector has nothing, expected {dim} numbers")
    embedding_D = np.asarray(value.to_numpy() if isinstance(value, Vector) else value, np.float32)
    if embedding_D.shape != (dim,):
        raise CatalogFailure(f"a stored vector has {embedding_D.size} numbers, expected {dim}")
    return embedding_D


def vectors_of(values: Sequence[Any], dim: int) -> npt.NDArray[np.float32]:
    """float32 (N, dim) of many values. Raises CatalogFailure as ``vector_of``."""
    rows = [vector_of(value, dim) for value in values]
    return np.stack(rows) if rows else np.empty((0, dim), np.float32)


def sent_vectors(sent: Sequence[bytes | None], dim: int) -> npt.NDArray[np.float32]:
    """As ``vectors_of``, from results of ``vector_send``: much faster for thousands.

    pgvector sends two 16-bit numbers (the width, and 0) and big-endian float32.
    """
    for blob in sent:
        if blob is None or len(blob) != 4 + 4 * dim:
            found = "nothing" if blob is None else f"{len(blob) // 4 - 1} numbers"
            raise CatalogFailure(f"a stored vector has {found}, expected {dim} numbers")
    words_NW = np.frombuffer(b"".join(filter(None, sent)), ">f4").reshape(len(sent), dim + 1)
    return words_NW[:, 1:].astype(np.float32)
