"""Locks between erasures and what could bring erased data back, and between replicas.

The order of all locks: the workspace, its collections by number, its classifiers, its scans.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.catalog.postgres.postgres_database import DIRECTORY, Connection, PostgresDatabase


def lock_erasures(connection: Connection, workspace_id: str) -> None:
    """Erase alone in a workspace until the transaction ends. Call it before any other lock."""
    # It lets writers of scans pass, whose lock (FOR KEY SHARE) says only: the workspace is here.
    lock = "SELECT 1 FROM workspaces WHERE workspace_id = %s FOR NO KEY UPDATE"
    connection.execute(lock, (workspace_id,))


def keep_erasures_away(connection: Connection, workspace_id: str) -> None:
    """Let no erasure begin until the transaction ends; others that call this work beside it."""
    lock = "SELECT 1 FROM workspaces WHERE workspace_id = %s FOR SHARE"
    connection.execute(lock, (workspace_id,))


@contextmanager
def once(database: PostgresDatabase, name: str) -> Iterator[bool]:
    """Whether the caller alone may do this work now, of all replicas, while the block runs.

    The lock is lost with the connection, so the work must be right even if two do it.
    """
    query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS is_mine"
    with database.outside(DIRECTORY) as connection:
        row = connection.execute(query, (f"once {name}",)).fetchone()
        yield row is not None and bool(row["is_mine"])
