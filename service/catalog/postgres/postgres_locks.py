"""Locks between erasures and what could bring erased data back.

The order of all locks: the workspace, its collections by number, its classifiers, its scans.
"""

from service.catalog.postgres.postgres_database import Connection


def lock_erasures(connection: Connection, workspace_id: str) -> None:
    """Erase alone in a workspace until the transaction ends. Call it before any other lock."""
    # It lets writers of scans pass, whose lock (FOR KEY SHARE) says only: the workspace is here.
    lock = "SELECT 1 FROM workspaces WHERE workspace_id = %s FOR NO KEY UPDATE"
    connection.execute(lock, (workspace_id,))


def keep_erasures_away(connection: Connection, workspace_id: str) -> None:
    """Let no erasure begin until the transaction ends; others that call this work beside it."""
    lock = "SELECT 1 FROM workspaces WHERE workspace_id = %s FOR SHARE"
    connection.execute(lock, (workspace_id,))
