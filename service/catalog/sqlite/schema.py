"""The format of the catalog file: a base that never changes, and the steps that lead from it.

A new file takes the same steps as an old one, so both end with the same tables.
"""

import sqlite3
from collections.abc import Iterator

from service.catalog.sqlite import schema_2, schema_3
from service.errors import CatalogFailure

BASE_VERSION = 2
STEPS = {1: schema_2.FROM_1, 2: schema_3.FROM_2}  # version -> statements that lead to the next
SCHEMA_VERSION = max(STEPS) + 1


def refuse_foreign(connection: sqlite3.Connection) -> None:
    """Raise CatalogFailure for a newer schema, or for a database that is not a catalog."""
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise CatalogFailure(
            f"the catalog has schema {version}, this program reads up to {SCHEMA_VERSION}"
        )
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise CatalogFailure("the database has tables and no schema version: not a catalog")


def create_or_upgrade(connection: sqlite3.Connection) -> None:
    """Create all tables in an empty database, or bring older ones up to this version.

    Runs inside the caller's transaction: a file is of one version or of the other, never between.
    """
    # Again, now under the write lock: another process may have been faster.
    refuse_foreign(connection)
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    for statement in _missing(version):
        connection.execute(statement)
    stamp(connection)


def _missing(version: int) -> Iterator[str]:
    """Statements that a file of this version lacks; 0 = an empty file."""
    if version == 0:
        yield from schema_2.TABLES
    for step in range(version or BASE_VERSION, SCHEMA_VERSION):
        yield from STEPS[step]


def stamp(connection: sqlite3.Connection) -> None:
    """Write the schema version, which is a real write even when it does not change."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
