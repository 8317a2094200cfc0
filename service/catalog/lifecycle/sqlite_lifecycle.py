"""The life of workspaces in SQLite."""

from service.catalog.access_records import Workspace, WorkspaceContents, WorkspaceStatus
from service.catalog.codec import to_columns
from service.catalog.erasure_ledger import workspace_erasure
from service.catalog.ids import new_id, now
from service.catalog.sqlite.erasure import drop_workspace, note
from service.catalog.sqlite.rows import SqliteTable, decode, insert, require_row, require_workspace
from service.catalog.validation import require_text
from service.errors import Conflict, NameTaken

_WORKSPACE = "SELECT * FROM workspaces WHERE workspace_id = ?"
_CONTENTS = """
    SELECT (SELECT count(*) FROM collections WHERE workspace_id = :id) AS collections,
        (SELECT count(*) FROM scans WHERE workspace_id = :id) AS scans,
        (SELECT count(*) FROM classifiers WHERE workspace_id = :id) AS classifiers,
        (SELECT count(*) FROM keys WHERE workspace_id = :id) AS keys,
        (SELECT count(*) FROM operations WHERE workspace_id = :id) AS operations
"""


class SqliteLifecycle(SqliteTable):
    """The part of the catalog for the life of workspaces."""

    def create_workspace(self, name: str) -> Workspace:
        require_text(name, "a workspace name")
        new = Workspace(new_id("ws"), name, now())
        unless = "ON CONFLICT (name) DO NOTHING"
        with self._database.write() as connection:
            if insert(connection, "workspaces", to_columns(new), unless) is None:
                raise NameTaken("there is a workspace of this name")
        return new

    def set_workspace_status(self, workspace_id: str, status: WorkspaceStatus) -> Workspace:
        update = "UPDATE workspaces SET status = ? WHERE workspace_id = ?"
        with self._database.write() as connection:
            row = require_row(connection, "no such workspace", _WORKSPACE, workspace_id)
            if row["status"] == "deleting" != status:
                raise Conflict("the workspace is being deleted")
            connection.execute(update, (status, workspace_id))
            row = require_row(connection, "no such workspace", _WORKSPACE, workspace_id)
        return decode(Workspace, row)

    def workspace_contents(self, workspace_id: str) -> WorkspaceContents:
        with self._database.read() as connection:
            require_workspace(connection, workspace_id)
            row = connection.execute(_CONTENTS, {"id": workspace_id}).fetchone()
        return decode(WorkspaceContents, row)

    def remove_workspace(self, workspace_id: str) -> bool | None:
        erasure = workspace_erasure(workspace_id)
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            drop_workspace(connection, workspace_id)
            note(connection, [erasure])
        return self._forgotten([erasure])
