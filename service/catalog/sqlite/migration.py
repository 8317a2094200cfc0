"""From schemas 1 and 2 to schema 3, in the transaction that opens the catalog.

A kill or a full disk in the middle leaves the file as it was. What schema 2 changed:

- A scan is one per file and subject, no longer one per file: the table ``scans`` is rebuilt,
  because SQLite cannot drop a constraint. Row numbers stay, and so does the next one.
- Ids, labels and attributes get their stored form (``plain_text``), in which they are looked up.
- ``erasures`` takes over what the two tables of erased rows and subjects held.

Schema 3 gave keys roles, scopes, limits to names, an expiry, their last use and their successor,
workspaces a status, policies and signing keys, and operations the names of their requests. It
counts what collections and keys store. Keys of before may do everything, as they could.
"""

import json
import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from service.catalog.codec import encode_json
from service.catalog.layouts.layout_tables import SQLITE_LAYOUT_TABLES
from service.catalog.monitoring.monitoring_tables import SQLITE_MONITORING_TABLES
from service.catalog.plain_text import name_of, settled_attributes, settled_labels
from service.catalog.policies.sqlite_policy_tables import COUNTS_OF_OLDER_SCHEMAS, POLICY_TABLES
from service.catalog.signing.signing_tables import SQLITE_SIGNING_TABLES
from service.catalog.sqlite import schema
from service.errors import CatalogFailure

_VIEWS = ("collection_records", "scan_records")
_OLD_TABLES = ("erased_scans", "erased_subjects")
_REBUILT = "CREATE TABLE scans ("
_COPY = """
    INSERT INTO rebuilt_scans
    SELECT row_id, workspace_id, collection_id, scan_id, sha256, kind, format, width_px, height_px,
        content_sha256, frames, frames_used, frame_rate_hz, regions_used, analysis,
        settled_name(subject_id), settled_name(study_id), settled_labels(labels),
        settled_attributes(attributes), created_at, updated_at, version, 0,
        NULL
    FROM scans ORDER BY row_id
"""
_EXAMPLES = (
    """
    UPDATE classifier_examples SET scan_id = settled_name(scan_id),
        subject_id = settled_name(subject_id), study_id = settled_name(study_id)
    WHERE settled_name(scan_id) IS NOT scan_id OR settled_name(subject_id) IS NOT subject_id
        OR settled_name(study_id) IS NOT study_id
    """,
    """
    UPDATE classifier_examples AS e SET scan_id = s.scan_id FROM scans AS s
    WHERE s.row_id = e.scan_row_id AND s.workspace_id = e.workspace_id AND s.scan_id <> e.scan_id
    """,
)
_COLUMNS_OF_KEYS = (
    """roles TEXT NOT NULL DEFAULT '["admin"]'""",
    "scopes TEXT NOT NULL DEFAULT '[]'",
    "expires_at TEXT",
    "last_used_at TEXT",
    "replaced_by TEXT",
    "collections TEXT",
    "classifiers TEXT",
)
_COUNTER = "{} INTEGER NOT NULL DEFAULT 0"


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a catalog of an older schema to this one, inside the caller's transaction.

    Foreign keys must be off, or dropping an old table would delete what refers to it.

    Raises:
        CatalogFailure: the file is damaged.
    """
    if schema.version_of(connection) == 1:
        _to_schema_2(connection)
    else:
        connection.execute(f"ALTER TABLE scans ADD COLUMN {_COUNTER.format('stored_bytes')}")
        connection.execute("ALTER TABLE scans ADD COLUMN key_id TEXT")
    for column in _COLUMNS_OF_KEYS:
        connection.execute(f"ALTER TABLE keys ADD COLUMN {column}")
    for name in ("stored_scans", "stored_bytes"):
        connection.execute(f"ALTER TABLE collections ADD COLUMN {_COUNTER.format(name)}")
    connection.execute("ALTER TABLE collections ADD COLUMN key_id TEXT")
    for column in ("collections", "classifiers"):
        connection.execute(f"ALTER TABLE operations ADD COLUMN {column} TEXT NOT NULL DEFAULT '[]'")
    status = "TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleting'))"
    connection.execute(f"ALTER TABLE workspaces ADD COLUMN status {status}")
    policies = (*COUNTS_OF_OLDER_SCHEMAS, *POLICY_TABLES.split(";\n\n"))
    others = (*SQLITE_SIGNING_TABLES, *SQLITE_MONITORING_TABLES, *SQLITE_LAYOUT_TABLES)
    for statement in (*policies, *others):
        connection.execute(statement)
    # That of older schemas counts the scans of a collection each time it is read.
    connection.execute("DROP VIEW collection_records")
    connection.execute(_statement("CREATE VIEW collection_records"))
    schema.stamp(connection)


def _to_schema_2(connection: sqlite3.Connection) -> None:
    for name, function in (
        ("settled_name", _name),
        ("settled_labels", _labels),
        ("settled_attributes", _attributes),
    ):
        connection.create_function(name, 1, function, deterministic=True)
    _settle_scan_ids(connection)
    for view in _VIEWS:
        connection.execute(f"DROP VIEW {view}")
    for column in ("collections ADD COLUMN retention_held", "workspaces ADD COLUMN forgettings"):
        connection.execute(f"ALTER TABLE {column} INTEGER NOT NULL DEFAULT 0")
    _rebuild_scans(connection)
    for statement in _EXAMPLES:
        connection.execute(statement)
    connection.execute(_statement("CREATE TABLE erasures"))
    old = schema.ERASURES_OF_SCHEMA_1.format(database="main")
    connection.execute(f"INSERT INTO erasures {old}")
    for table in _OLD_TABLES:
        connection.execute(f"DROP TABLE {table}")
    connection.execute(_statement("CREATE TABLE retention_clock"))
    for view in _VIEWS:
        connection.execute(_statement(f"CREATE VIEW {view}"))
    if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise CatalogFailure("the catalog of schema 1 refers to rows that are not there")


def _settle_scan_ids(connection: sqlite3.Connection) -> None:
    """Give scan ids their stored form; a second scan of the same form gets a number."""
    odd = """
        SELECT row_id, collection_id, scan_id FROM scans
        WHERE settled_name(scan_id) <> scan_id ORDER BY row_id
    """
    taken = "SELECT 1 FROM scans WHERE collection_id = ? AND scan_id = ?"
    update = "UPDATE scans SET scan_id = ? WHERE row_id = ?"
    for row_id, collection_id, scan_id in connection.execute(odd).fetchall():
        name = wanted = name_of(scan_id)
        number = 1
        while connection.execute(taken, (collection_id, name)).fetchone() is not None:
            number += 1
            name = f"{wanted} ({number})"
        connection.execute(update, (name, row_id))


def _rebuild_scans(connection: sqlite3.Connection) -> None:
    # SQLite forgets the next row number with the table, and a number must never be used again.
    last = "SELECT seq FROM sqlite_sequence WHERE name = 'scans'"
    row = connection.execute(last).fetchone()
    create = _statement(_REBUILT).replace(_REBUILT, "CREATE TABLE rebuilt_scans (")
    connection.execute(create)
    connection.execute(_COPY)
    connection.execute("DROP TABLE scans")
    connection.execute("ALTER TABLE rebuilt_scans RENAME TO scans")
    if row is not None:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'scans'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('scans', ?)", row)
    for statement in schema.statements():
        if statement.startswith(("CREATE INDEX scans_", "CREATE UNIQUE INDEX scans_")):
            connection.execute(statement)


def _statement(start: str) -> str:
    """The statement of the schema that begins so, without the comment before it."""
    (found,) = (s[s.index(start) :] for s in schema.statements() if start in s)
    return found


def _name(text: str | None) -> str | None:
    return None if text is None else name_of(text)


@lru_cache(maxsize=10_000)  # thousands of scans have the same few labels
def _labels(text: str) -> str:
    return _settled(text, settled_labels)


@lru_cache(maxsize=10_000)
def _attributes(text: str) -> str:
    return _settled(text, settled_attributes)


def _settled(text: str, settle: Callable[[Any], dict[str, Any]]) -> str:
    """The JSON object with settled names and values; damaged text stays as it is."""
    try:
        document = json.loads(text)
        settled = settle(document)
    except (AttributeError, TypeError, ValueError):
        return text
    return text if settled == document else encode_json(settled)
