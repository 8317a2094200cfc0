"""The tables, as version 1 of a format that lives for ever.

Why it looks like this:

- Vectors and thumbnails have tables of their own. SQLite reads whole pages, and a row of a few
  hundred bytes beside kilobytes of blob would make a filter over 100k scans read gigabytes.
- ``row_id`` is AUTOINCREMENT: a deleted scan's number is never given to another, so an index
  that has not heard of the deletion cannot answer with the wrong scan.
- Every table carries ``workspace_id``, children too, so that no query has to trust a join for it.
- ``classifier_scans`` has no foreign key to scans: it must tell what a classifier learnt from
  after the scan is gone. It keeps the row number as well, because a scan id can be used again.
"""

import sqlite3

from service.errors import CatalogFailure

SCHEMA_VERSION = 1

TABLES = (
    """
    CREATE TABLE workspaces (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE keys (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        key_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        secret_sha256 TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        revoked_at TEXT
    )
    """,
    "CREATE INDEX keys_of_workspace ON keys (workspace_id)",
    """
    CREATE TABLE collections (
        collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        name TEXT NOT NULL,
        encoder_id TEXT NOT NULL,
        dim INTEGER NOT NULL CHECK (dim > 0),
        description TEXT NOT NULL,
        created_at TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (workspace_id, name),
        UNIQUE (workspace_id, collection_id)
    )
    """,
    """
    CREATE TABLE scans (
        row_id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL,
        collection_id INTEGER NOT NULL,
        scan_id TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        kind TEXT NOT NULL,
        format TEXT NOT NULL,
        width_px INTEGER NOT NULL,
        height_px INTEGER NOT NULL,
        subject_id TEXT,
        study_id TEXT,
        labels TEXT NOT NULL,
        attributes TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (collection_id, scan_id),
        UNIQUE (collection_id, sha256),
        FOREIGN KEY (workspace_id, collection_id)
            REFERENCES collections (workspace_id, collection_id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX scans_of_collection ON scans (workspace_id, collection_id)",
    """
    CREATE INDEX scans_of_subject ON scans (workspace_id, subject_id)
    WHERE subject_id IS NOT NULL
    """,
    """
    CREATE TABLE scan_vectors (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        vector BLOB NOT NULL -- little-endian float32, 4 * dim bytes
    )
    """,
    """
    CREATE TABLE scan_thumbnails (
        row_id INTEGER PRIMARY KEY REFERENCES scans (row_id) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        jpeg BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE classifiers (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        classifier_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        encoder_id TEXT NOT NULL,
        classes TEXT NOT NULL,
        head_npz BLOB NOT NULL,
        report TEXT NOT NULL,
        created_at TEXT NOT NULL,
        version INTEGER NOT NULL,
        UNIQUE (workspace_id, name)
    )
    """,
    """
    CREATE TABLE classifier_scans (
        classifier_seq INTEGER NOT NULL REFERENCES classifiers (seq) ON DELETE CASCADE,
        workspace_id TEXT NOT NULL,
        collection TEXT NOT NULL,
        scan_id TEXT NOT NULL,
        scan_row_id INTEGER, -- NULL when the scan was gone before the classifier was stored
        PRIMARY KEY (classifier_seq, collection, scan_id)
    )
    """,
    "CREATE INDEX classifiers_of_scan ON classifier_scans (scan_row_id)",
    """
    CREATE TABLE answers (
        workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
        key TEXT NOT NULL,
        request_sha256 TEXT NOT NULL,
        status INTEGER NOT NULL,
        body BLOB NOT NULL,
        headers TEXT NOT NULL,
        expires_at REAL NOT NULL, -- seconds since 1970, UTC
        PRIMARY KEY (workspace_id, key)
    )
    """,
    "CREATE INDEX answers_by_expiry ON answers (expires_at)",
    """
    CREATE VIEW collection_records AS
    SELECT c.*, (
        SELECT count(*) FROM scans AS s
        WHERE s.workspace_id = c.workspace_id AND s.collection_id = c.collection_id
    ) AS scans
    FROM collections AS c
    """,
    """
    CREATE VIEW scan_records AS
    SELECT s.*, c.name AS collection, c.encoder_id
    FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id
    """,
)


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raise CatalogFailure for a newer schema, or for a database that is not a catalog."""
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise CatalogFailure(
            f"the catalog has schema {version}, this program reads up to {SCHEMA_VERSION}"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise CatalogFailure("the database has tables and no schema version: not a catalog")


def create_if_new(connection: sqlite3.Connection) -> None:
    """Create all tables in an empty database; runs inside the caller's transaction."""
    # Again, now under the write lock: another process may have been faster.
    refuse_foreign(connection)
    if _version(connection) == 0:
        for statement in TABLES:
            connection.execute(statement)
        stamp(connection)


def stamp(connection: sqlite3.Connection) -> None:
    """Write the schema version, which is a real write even when it does not change."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
