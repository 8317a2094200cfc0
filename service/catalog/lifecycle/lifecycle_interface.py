"""The part of the catalog's interface for the life of workspaces: from creation to deletion.

The rules in ``service.catalog.interface`` apply.
"""

from typing import Protocol

from service.catalog.access_records import Workspace, WorkspaceContents, WorkspaceStatus


class LifecycleCatalog(Protocol):
    """Creates, suspends and deletes workspaces."""

    def create_workspace(self, name: str) -> Workspace:
        """Raises NameTaken: there is a workspace of this name."""

    def set_workspace_status(self, workspace_id: str, status: WorkspaceStatus) -> Workspace:
        """Suspend or resume a workspace, or begin its deletion; doing it twice is allowed.

        Raises:
            UnknownItem: no such workspace.
            Conflict: it is being deleted, which nothing takes back.
            WorkspaceMoving: it is on its way to another shard.
        """

    def workspace_contents(self, workspace_id: str) -> WorkspaceContents:
        """Count what is in a workspace. Raises UnknownItem."""

    def remove_workspace(self, workspace_id: str) -> bool | None:
        """Delete a workspace with all its rows, and note that as an erasure.

        Delete its collections first, one by one: what is left goes in one transaction, or in
        PostgreSQL in many. A second call continues the first.

        Returns:
            Whether the erasure is written beside the backups; None = no such folder.

        Raises:
            UnknownItem: no such workspace; an earlier call may have ended.
            WorkspaceMoving: it is on its way to another shard.
        """
