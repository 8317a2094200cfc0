"""Finding, decoding and inserting rows of the catalog's tables."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from service.catalog.codec import encode_json, from_columns
from service.catalog.records import Page
from service.catalog.validation import is_comparable
from service.errors import CatalogFailure, UnknownItem

T = TypeVar("T")


def decode(record: type[T], row: sqlite3.Row, **given: Any) -> T:
    """The record of a row. Raises CatalogFailure: a column is damaged."""
    try:
        return from_columns(record, row, **given)
    except ValueError as error:
        raise CatalogFailure(f"a stored {record.__name__} is damaged: {error}") from error


def insert(
    connection: sqlite3.Connection, table: str, values: Mapping[str, Any], otherwise: str = ""
) -> int | None:
    """Store one row and return its number; None when ``otherwise`` (ON CONFLICT) held it back."""
    sql = f"""
        INSERT INTO {table} ({", ".join(values)})
        VALUES ({", ".join("?" * len(values))}) {otherwise}
    """  # noqa: S608 - the names of tables and columns are ours
    cursor = connection.execute(sql, tuple(values.values()))
    return cursor.lastrowid if cursor.rowcount else None


def require_workspace(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Raises UnknownItem: no such workspace."""
    sql = "SELECT 1 FROM workspaces WHERE workspace_id = ?"
    if connection.execute(sql, (workspace_id,)).fetchone() is None:
        raise UnknownItem("no such workspace")


def require_collection(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    """Row of the table ``collections``. Raises UnknownItem."""
    sql = "SELECT * FROM collections WHERE workspace_id = ? AND name = ?"
    row: sqlite3.Row | None = connection.execute(sql, (workspace_id, name)).fetchone()
    if row is None:
        raise UnknownItem("no such collection in this workspace")
    return row


def require_scan(
    connection: sqlite3.Connection, workspace_id: str, collection: str, scan_id: str
) -> sqlite3.Row:
    """Row of the view ``scan_records``. Raises UnknownItem: no such collection or scan."""
    parent = require_collection(connection, workspace_id, collection)
    sql = "SELECT * FROM scan_records WHERE collection_id = ? AND scan_id = ?"
    row: sqlite3.Row | None = connection.execute(sql, (parent["collection_id"], scan_id)).fetchone()
    if row is None:
        raise UnknownItem("no such scan in this collection")
    return row


def new_page(items: list[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` from up to ``limit + 1`` items; one too many means: go on."""
    shown = items[:limit]
    return Page(tuple(shown), key(shown[-1]) if len(items) > limit else None)


def json_list(values: Iterable[str | int | float]) -> str:
    """A JSON array for ``IN (SELECT value FROM json_each(?))``: one variable, however long.

    Values that nothing stored can equal are left out, because SQLite would misread them.
    """
    return encode_json([value for value in values if is_comparable(value)])
