"""The life of workspaces in PostgreSQL.

The directory has the status, which every look-up of a key reads; the database of the workspace has
``is_paused``, which every claim of an operation reads. No transaction spans both: keys are closed
before operations are paused, and opened after them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from service.catalog.access_records import Workspace, WorkspaceContents, WorkspaceStatus
from service.catalog.erasure_ledger import workspace_erasure
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import once
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    note,
    require_row,
    select,
)
from service.catalog.postgres.shards.row_deletion import delete_rows
from service.errors import Conflict, WorkspaceMoving

_ENTRY = "SELECT * FROM directory WHERE workspace_id = %s"
_CONTENTS = """
    SELECT count(*) AS collections, coalesce(sum(scans), 0)::bigint AS scans,
        (SELECT count(*) FROM classifiers WHERE workspace_id = %(id)s) AS classifiers,
        (SELECT count(*) FROM operations WHERE workspace_id = %(id)s) AS operations
    FROM collections WHERE workspace_id = %(id)s
"""
# Not the audit log, which outlives what it tells of, nor the noted erasures. The functions of the
# search delete its parts with the collections.
_TABLES = """
    SELECT c.relname AS name FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'workspace_id'
    WHERE c.relkind = 'r' AND NOT c.relispartition AND NOT a.attisdropped
        AND NOT starts_with(c.relname, 'audit_') AND c.relname <> ALL(%s)
"""
_KEPT = ["erasures", "search_parts", "workspaces", "directory"]


class PostgresLifecycle(PostgresTable):
    """The part of the catalog for the life of workspaces; ``create_workspace`` is beside it."""

    def set_workspace_status(self, workspace_id: str, status: WorkspaceStatus) -> Workspace:
        update = "UPDATE directory SET status = %s WHERE workspace_id = %s"
        with self._unmoved(workspace_id):  # which keeps two changes apart as well
            with self._database.directory("read") as connection:
                row = require_row(connection, "no such workspace", _ENTRY, workspace_id)
            if row["status"] == "deleting" != status:
                raise Conflict("the workspace is being deleted")
            if status == "active":
                self._pause(workspace_id, is_paused=False)
            with self._database.directory("write") as connection:
                connection.execute(update, (status, workspace_id))
                row = require_row(connection, "no such workspace", _ENTRY, workspace_id)
            if status != "active":
                self._pause(workspace_id, is_paused=True)
        return decode(Workspace, row)

    def workspace_contents(self, workspace_id: str) -> WorkspaceContents:
        keys = "SELECT count(*) AS n FROM keys WHERE workspace_id = %s"
        with self._database.directory("read") as connection:
            require_row(connection, "no such workspace", _ENTRY, workspace_id)
            counted = require_row(connection, "", keys, workspace_id)["n"]
        with self._database.read(workspace_id) as connection:
            row = connection.execute(_CONTENTS, {"id": workspace_id}).fetchone() or {}
        return WorkspaceContents(
            row["collections"], row["scans"], row["classifiers"], counted, row["operations"]
        )

    def remove_workspace(self, workspace_id: str) -> bool | None:
        with self._unmoved(workspace_id):
            with self._database.directory("read") as connection:
                home = require_row(connection, "no such workspace", _ENTRY, workspace_id)["shard"]
            for shard in (*(s for s in self._database.shards if s != home), home):
                self._remove_from(shard, workspace_id)
            erasure = workspace_erasure(workspace_id)
            with self._database.directory("write") as connection:
                # Keys and what else is of a workspace without a shard; then the name is free.
                _delete_everywhere(connection, workspace_id)
                connection.execute("DELETE FROM directory WHERE workspace_id = %s", (workspace_id,))
                note(connection, [erasure])
        return self._noted([erasure])

    def _remove_from(self, shard: str, workspace_id: str) -> None:
        """Close a copy of the workspace to all writers, and delete it."""
        lock = "SELECT 1 FROM workspaces WHERE workspace_id = %s FOR UPDATE"
        close = "UPDATE workspaces SET state = 'moved' WHERE workspace_id = %s"
        with self._database.everything(shard, "write") as connection:
            if not select(connection, lock, workspace_id):  # it waits for writers that run
                return
            connection.execute(close, (workspace_id,))
        delete_rows(self._database, shard, workspace_id, lambda what, rows: None)
        with self._database.everything(shard, "write") as connection:
            _delete_everywhere(connection, workspace_id)  # also what a move does not take along
            connection.execute("DELETE FROM workspaces WHERE workspace_id = %s", (workspace_id,))

    def _pause(self, workspace_id: str, *, is_paused: bool) -> None:
        update = "UPDATE workspaces SET is_paused = %s WHERE workspace_id = %s"
        for shard in self._database.shards:
            with self._database.everything(shard, "write") as connection:
                connection.execute(update, (is_paused, workspace_id))

    @contextmanager
    def _unmoved(self, workspace_id: str) -> Iterator[None]:
        """Keep moves of the workspace away. Raises WorkspaceMoving: one runs."""
        with once(self._database, f"move {workspace_id}") as is_mine:
            if not is_mine:
                raise WorkspaceMoving("the workspace is being moved: try again later")
            yield


def _delete_everywhere(connection: Connection, workspace_id: str) -> None:
    """Delete the rows of a workspace from all tables of a database that may hold some."""
    for row in select(connection, _TABLES, _KEPT):
        delete = f"DELETE FROM {row['name']} WHERE workspace_id = %s"  # noqa: S608 - our tables
        connection.execute(delete, (workspace_id,))
