"""Reading, decoding and inserting rows of the catalog's tables."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from service.catalog.codec import encode_json, from_columns
from service.catalog.erasure_ledger import Erasure, ErasureLedger
from service.catalog.erasure_records import ErasedSubject
from service.catalog.plain_text import name_of
from service.catalog.policies.storage_rules import NoRules, StorageRules
from service.catalog.redaction import Redact
from service.catalog.sqlite.database import Database
from service.catalog.validation import is_comparable
from service.errors import CatalogFailure, UnknownItem

T = TypeVar("T")


class SqliteTable:
    """A part of the catalog over one database."""

    _database: Database
    _ledger: ErasureLedger | None
    _redact: Redact
    _rules: StorageRules = NoRules()

    def _select(self, record: type[T], sql: str, *variables: Any) -> list[T]:
        """The records of all rows. Raises CatalogFailure: a column is damaged."""
        with self._database.read() as connection:
            return [decode(record, row) for row in connection.execute(sql, variables)]

    def _finished(self, receipt: ErasedSubject, erasures: Sequence[Erasure]) -> ErasedSubject:
        """The receipt of a committed erasure, once nothing of it is left to be read."""
        return replace(receipt, backups_know=self._forgotten(erasures))

    def _forgotten(self, erasures: Sequence[Erasure]) -> bool | None:
        """Finish a committed erasure; return whether it is written beside the backups."""
        self._database.forget_deleted()
        return None if self._ledger is None else self._ledger.note(erasures)


def decode(record: type[T], row: sqlite3.Row, **values: Any) -> T:
    """The record of a row. Raises CatalogFailure: a column is damaged."""
    try:
        return from_columns(record, row, **values)
    except ValueError as error:
        raise CatalogFailure(f"a stored {record.__name__} is damaged: {error}") from error


def insert(
    connection: sqlite3.Connection, table: str, values: Mapping[str, Any], otherwise: str = ""
) -> int | None:
    """Store a row and return its number; None when ``otherwise`` (ON CONFLICT) skipped it."""
    sql = f"""
        INSERT INTO {table} ({", ".join(values)})
        VALUES ({", ".join("?" * len(values))}) {otherwise}
    """  # noqa: S608 - the names of tables and columns are ours
    cursor = connection.execute(sql, tuple(values.values()))
    return cursor.lastrowid if cursor.rowcount else None


def require_row(
    connection: sqlite3.Connection, missing: str, sql: str, *variables: Any
) -> sqlite3.Row:
    """The first row. Raises UnknownItem, with the message ``missing``: there is none."""
    row: sqlite3.Row | None = connection.execute(sql, variables).fetchone()
    if row is None:
        raise UnknownItem(missing)
    return row


def require_workspace(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Raises UnknownItem: no such workspace."""
    sql = "SELECT 1 FROM workspaces WHERE workspace_id = ?"
    require_row(connection, "no such workspace", sql, workspace_id)


def require_collection(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    """Row of the table ``collections``. Raises UnknownItem."""
    sql = "SELECT * FROM collections WHERE workspace_id = ? AND name = ?"
    return require_row(connection, "no such collection in this workspace", sql, workspace_id, name)


def require_scan(
    connection: sqlite3.Connection, workspace_id: str, collection: str, scan_id: str
) -> sqlite3.Row:
    """Row of the view ``scan_records``. Raises UnknownItem: no such collection or scan."""
    parent = require_collection(connection, workspace_id, collection)
    sql = "SELECT * FROM scan_records WHERE collection_id = ? AND scan_id = ?"
    missing = "no such scan in this collection"
    return require_row(connection, missing, sql, parent["collection_id"], name_of(scan_id))


def json_list(values: Iterable[str | int | float]) -> str:
    """A JSON array for ``IN (SELECT value FROM json_each(?))``: one variable, however long.

    Values that no stored value can equal are left out, because SQLite would misread them.
    """
    return encode_json([value for value in values if is_comparable(value)])
