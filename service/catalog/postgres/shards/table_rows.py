"""Whole rows of the tables, to copy them from one database to another and to compare both.

Shape suffixes: D embedding width.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from pgvector import HalfVector, Vector
from psycopg import sql

from service.catalog.postgres.postgres_database import Connection
from service.errors import CatalogFailure

Row: TypeAlias = tuple[Any, ...]
OnRows: TypeAlias = Callable[[int], None]  # how many more rows are done
# Table -> the columns that number its rows, and how many rows are copied at once. Parents stand
# before their children. ``search_parts`` are made again from ``scan_vectors``.
KEYS: dict[str, tuple[tuple[str, ...], int]] = {
    "answers": (("workspace_id", "key"), 50),
    "collections": (("collection_id",), 500),
    "key_storage": (("collection_id", "key_id"), 500),
    "scans": (("row_id",), 1000),
    "scan_vectors": (("row_id",), 500),
    "scan_thumbnails": (("row_id",), 500),
    "scan_images": (("row_id",), 20),
    "scan_frames": (("frame_id",), 500),
    "classifiers": (("seq",), 500),
    "classifier_versions": (("seq",), 10),
    "classifier_examples": (("seq",), 500),
    "version_examples": (("version_seq", "position"), 2000),
    "classifier_usage": (("version_seq", "period", "number"), 200),
    "classifier_outcomes": (("version_seq", "prediction_id"), 500),
    "operations": (("seq",), 500),
    "reembeddings": (("collection_id",), 500),
    "staged_vectors": (("row_id",), 500),
    "scan_places": (("row_id",), 2000),
    "erasures": (("erasure_id",), 2000),
    "signing_keys": (("workspace_id", "key_id"), 500),
}
_COLUMNS = """
    SELECT attname AS name, format_type(atttypid, NULL) AS kind
    FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as PostgreSQL has it; ``kinds`` are the types of its columns, by name."""

    name: str
    key: tuple[str, ...]
    kinds: Mapping[str, str]
    batch: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns that are stored and not computed."""
        return tuple(self.kinds)


class RowSource(Protocol):
    """Rows in the order of their key."""

    def rows(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        """Up to ``limit`` rows with a greater key; values in the order of ``table.columns``."""


@dataclass(frozen=True, slots=True)
class PostgresRows:
    """The rows of one workspace, or of all, in one database."""

    connection: Connection
    workspace_id: str | None = None

    def rows(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        """As ``RowSource``."""
        names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        key = sql.SQL(", ").join(map(sql.Identifier, table.key))
        clauses: list[sql.Composable] = [sql.SQL("true")]
        variables: list[Any] = []
        if self.workspace_id is not None:
            clauses.append(sql.SQL("workspace_id = %s"))
            variables.append(self.workspace_id)
        if after is not None:
            places = sql.SQL(", ").join(sql.Placeholder() * len(after))
            clauses.append(sql.SQL("({}) > ({})").format(key, places))
            variables += after
        query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
            names, sql.Identifier(table.name), sql.SQL(" AND ").join(clauses), key, limit
        )
        # Binary: the text of a vector takes ten times as long to read.
        with self.connection.cursor(binary=True) as cursor:
            found = cursor.execute(query, variables).fetchall()
        return [tuple(row.values()) for row in found]


def table_of(connection: Connection, name: str, key: tuple[str, ...], batch: int) -> Table:
    """A table with its columns."""
    kinds = {row["name"]: row["kind"] for row in connection.execute(_COLUMNS, (name,))}
    return Table(name, key, kinds, batch)


def add_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Store rows as they are, with their numbers."""
    places = [
        sql.SQL("%b" if kind in ("vector", "halfvec") else "%s") for kind in table.kinds.values()
    ]
    statement = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        sql.SQL(", ").join(places),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def newest_key(connection: Connection, table: Table, workspace_id: str | None) -> Row | None:
    """The greatest key of the rows that were copied; None = there are none."""
    key = sql.SQL(", ").join(map(sql.Identifier, table.key))
    down = sql.SQL(", ").join(sql.SQL("{} DESC").format(sql.Identifier(n)) for n in table.key)
    query = sql.SQL(
        "SELECT {} FROM {} WHERE %s::text IS NULL OR workspace_id = %s ORDER BY {} LIMIT 1"
    ).format(key, sql.Identifier(table.name), down)
    row = connection.execute(query, (workspace_id, workspace_id)).fetchone()
    return None if row is None else tuple(row.values())


def all_rows(source: RowSource, table: Table, after: Row | None = None) -> Iterator[list[Row]]:
    """Every row in batches, in the order of the key."""
    places = [table.columns.index(name) for name in table.key]
    while batch := source.rows(table, after, table.batch):
        yield batch
        after = tuple(batch[-1][place] for place in places)


@dataclass(frozen=True, slots=True)
class Digest:
    """What tells whether two sets of rows are the same."""

    rows: int
    sha256: str


def digests(source: RowSource, table: Table, on_rows: OnRows) -> dict[str, Digest]:
    """The digest of each collection of a table, or of each workspace where it knows none."""
    columns = table.columns
    owner = columns.index("collection_id" if "collection_id" in columns else "workspace_id")
    hashes: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for batch in all_rows(source, table):
        for row in batch:
            name = str(row[owner])
            counts[name] = counts.get(name, 0) + 1
            digest = hashes.setdefault(name, hashlib.sha256())
            for part in _plain(row):
                digest.update(part)
        on_rows(len(batch))
    return {name: Digest(counts[name], hashes[name].hexdigest()) for name in counts}


def _plain(row: Row) -> Iterable[bytes]:
    """The values of a row as bytes that no other row has."""
    for value in row:
        if value is None:
            yield b"n"
        elif isinstance(value, bool | int):
            yield b"i%d;" % value
        elif isinstance(value, float):
            yield b"f" + struct.pack("<d", value)
        else:
            blob = _blob(value)
            yield b"%s%d;" % (type(value).__name__.encode(), len(blob))
            yield blob


def _blob(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Vector | HalfVector):
        return value.to_numpy().astype("<f4").tobytes()
    if isinstance(value, np.ndarray):
        return value.astype("<f4").tobytes()
    raise CatalogFailure(f"a column holds {type(value).__name__}, which is not copied")
