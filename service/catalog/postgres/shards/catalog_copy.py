"""Copying a whole catalog from a SQLite file into PostgreSQL.

Rows keep their ids and numbers. Each batch is committed in the order of its keys, so whoever runs
the copy again after a crash continues behind the greatest key of each table. Nobody can open the
catalog before every table was compared.

Shape suffixes: N rows, D embedding width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pgvector import Vector

from service.catalog.ids import digest_of, now
from service.catalog.postgres.postgres_database import DIRECTORY, PostgresDatabase
from service.catalog.postgres.postgres_rows import require_row, select, to_half
from service.catalog.postgres.shards.row_numbers import LISTED, NUMBERED, count_above
from service.catalog.postgres.shards.table_rows import (
    KEYS,
    PostgresRows,
    Row,
    Table,
    add_rows,
    all_rows,
    digests,
    newest_key,
    table_of,
)
from service.catalog.postgres.shards.workspace_move import OnStep
from service.catalog.sqlite.database import opened_to_read
from service.errors import CatalogFailure, Conflict

# Of the directory, which a move does not copy.
ACCESS = {
    "directory": (("seq",), 500),
    "workspaces": (("workspace_id",), 500),
    "keys": (("seq",), 500),
    "workspace_policies": (("workspace_id",), 500),
}
_COPIED = {**ACCESS, **KEYS}
_SOURCES = {"directory": "workspaces"}  # tables that the file has under another name
# What the file does not have under this name: an expression over its table ``t``.
_DERIVED = {
    ("directory", "shard"): "''",
    ("workspaces", "state"): "'active'",
    ("workspaces", "is_paused"): "t.status <> 'active'",
    ("answers", "owner"): "NULL",
    ("answers", "lease_until"): "NULL",
    ("collections", "scans"): "(SELECT count(*) FROM scans AS s WHERE s.collection_id = "
    "t.collection_id AND s.workspace_id = t.workspace_id)",
    ("collections", "frames_stamp"): "0",
    ("scan_vectors", "collection_id"): "(SELECT s.collection_id FROM scans AS s "
    "WHERE s.row_id = t.row_id)",
    ("scan_vectors", "half"): "t.vector",
    ("scan_frames", "half"): "t.vector",
    ("staged_vectors", "half"): "t.vector",
    ("operations", "for_service"): "0",
    ("operations", "worker_id"): "NULL",
    ("operations", "lease_until"): "NULL",
}


@dataclass(frozen=True, slots=True)
class SqliteRows:
    """The rows of a file, as PostgreSQL would hold them."""

    connection: Any  # of sqlite3, in a transaction

    def rows(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        """As ``RowSource``."""
        source = _SOURCES.get(table.name, table.name)
        names = [_DERIVED.get((table.name, name), f't."{name}"') for name in table.columns]
        key = ", ".join(f't."{name}"' for name in table.key)
        where = "" if after is None else f"WHERE ({key}) > ({', '.join('?' * len(after))})"
        query = f"""
            SELECT {", ".join(names)} FROM {source} AS t {where} ORDER BY {key} LIMIT {limit}
        """  # noqa: S608 - the names of tables and columns are ours
        kinds = list(table.kinds.values())
        found = self.connection.execute(query, after or ())
        return [tuple(map(_value, kinds, row)) for row in found]


def copy_catalog(file: Path, database: PostgresDatabase, *, on_step: OnStep) -> Mapping[str, int]:
    """Copy a catalog that nobody writes to, and compare the copy; return {table: rows}.

    Args:
        file: of the schema that this program writes.
        database: opened with ``may_arrive``.

    Raises:
        Conflict: the target holds other data.
        CatalogFailure: a file or database failed, or the copy differs.
    """
    with opened_to_read(file) as connection:
        connection.execute("BEGIN")  # all of one moment
        source = SqliteRows(connection)
        _begin(database, _identity(connection))
        for name in _COPIED:
            _copy_table(database, source, name, on_step)
        counts = {name: _compared(database, source, name, on_step) for name in _COPIED}
        given = _given(connection)
    for name in NUMBERED:
        _count_above(database, name, given[name], database.shards)
    for name in LISTED:
        _count_above(database, name, given[name], [DIRECTORY])
    with database.directory("write") as target:
        target.execute("UPDATE arrivals SET ended_at = coalesce(ended_at, %s)", (now(),))
    return counts


def _identity(connection: Any) -> str:
    """What only this catalog and its copies have: the random ids of its first workspace."""
    query = "SELECT workspace_id, created_at FROM workspaces ORDER BY seq LIMIT 1"
    row = connection.execute(query).fetchone()
    if row is None:
        raise Conflict("the catalog holds nothing to copy")
    return digest_of(row["workspace_id"], row["created_at"])


def _begin(database: PostgresDatabase, source: str) -> None:
    """Note the source, so that only its copy goes on here. Raises Conflict."""
    foreign = "SELECT EXISTS (SELECT 1 FROM directory) AS is_used"
    note = "INSERT INTO arrivals (source, begun_at) VALUES (%s, %s)"
    with database.directory("write") as target:
        target.execute("LOCK TABLE arrivals IN SHARE ROW EXCLUSIVE MODE")  # against another copy
        known = select(target, "SELECT source, ended_at FROM arrivals")
        if not known and not require_row(target, "", foreign)["is_used"]:
            target.execute(note, (source, now()))
        elif [row["source"] for row in known] != [source] or known[0]["ended_at"] is not None:
            raise Conflict(
                "the database holds other data, or the whole catalog already: copy into an empty "
                "one"
            )


def _table(database: PostgresDatabase, name: str) -> Table:
    with database.directory("read") as target:
        return table_of(target, name, *_COPIED[name])


def _copy_table(database: PostgresDatabase, source: SqliteRows, name: str, on_step: OnStep) -> None:
    table = _table(database, name)
    with database.directory("read") as target:
        after = newest_key(target, table, None)
    for batch in all_rows(source, table, after):
        with database.directory("write") as target:
            add_rows(target, table, batch)
        on_step(name, len(batch))


def _compared(database: PostgresDatabase, source: SqliteRows, name: str, on_step: OnStep) -> int:
    """The number of rows of a table. Raises CatalogFailure: both sides differ."""
    table = _table(database, name)

    def on_rows(rows: int) -> None:
        on_step("compared", rows)

    wanted = digests(source, table, on_rows)
    with database.directory("read") as target:
        found = digests(PostgresRows(target), table, on_rows)
    if wanted != found:
        raise CatalogFailure(
            f"the copy of the table {name} differs, because the source has changed since the copy "
            "began: copy into an empty database"
        )
    return sum(digest.rows for digest in wanted.values())


def _given(connection: Any) -> Mapping[str, int]:
    """Table -> the greatest number that the file ever gave to a row, also to a deleted one.

    Examples of classifiers, digests of erasures and cursors still name rows that were deleted.
    """
    learnt = "SELECT coalesce(max(scan_row_id), 0) FROM classifier_examples"
    counted = dict(map(tuple, connection.execute("SELECT name, seq FROM sqlite_sequence")))
    newest: dict[str, int] = {}
    for name, column in (NUMBERED | LISTED).items():
        table = _SOURCES.get(name, name)
        stored = f"SELECT coalesce(max({column}), 0) FROM {table}"  # noqa: S608 - ours
        newest[name] = max(int(counted.get(table, 0)), *connection.execute(stored).fetchone())
    newest["scans"] = max(newest["scans"], *connection.execute(learnt).fetchone())
    return newest


def _count_above(database: PostgresDatabase, name: str, newest: int, shards: Sequence[str]) -> None:
    """No database may give a number that the source gave."""
    for shard in shards:
        with database.everything(shard, "write") as connection:
            count_above(connection, name, newest)


def _value(kind: str, value: Any) -> Any:
    """A value of SQLite as that type of PostgreSQL."""
    if value is None:
        return None
    if kind == "boolean":
        return bool(value)
    if kind == "double precision":
        return float(value)
    if kind in ("vector", "halfvec"):
        embedding_D = np.frombuffer(value, "<f4")
        return Vector(embedding_D) if kind == "vector" else to_half(embedding_D)
    return value
