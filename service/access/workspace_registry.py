"""The workspaces of the whole service, for its operators."""

from service.access.id_pages import page_after
from service.access.keys import (
    DEFAULT_WORKSPACE,
    create_key,
    known_workspace,
    require_workspace_name,
)
from service.catalog.access_records import KeyRecord as KeyRecord
from service.catalog.access_records import Workspace as Workspace
from service.catalog.access_records import WorkspaceContents as WorkspaceContents
from service.catalog.interface import Catalog
from service.errors import Conflict, UnknownItem

FIRST_KEY = "first administrator"


class WorkspaceRegistry:
    """Creates, lists, suspends and resumes workspaces, and begins their deletion. Blocking.

    Nothing is done to the default workspace: operators have their keys there, and the service its
    own operations.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list_workspaces(
        self, *, limit: int, after: str | None = None
    ) -> tuple[tuple[Workspace, ...], str | None]:
        """Workspaces, oldest first; and the id after which the next page begins.

        Args:
            after: id of the last workspace of an earlier page.
        """
        workspaces = self._catalog.list_workspaces()
        return page_after(workspaces, lambda w: w.workspace_id, limit=limit, after=after)

    def get(self, name: str) -> tuple[Workspace, WorkspaceContents]:
        """A workspace, and how much is in it. Raises UnknownItem."""
        workspace = self._find(name)
        return workspace, self._catalog.workspace_contents(workspace.workspace_id)

    def name_of(self, workspace_id: str) -> str:
        """The name of a workspace. Raises UnknownItem."""
        return self._catalog.get_workspace(workspace_id).name

    def create(self, name: str) -> tuple[Workspace, KeyRecord, str]:
        """A new workspace, a key of its administrator, and the secret, which is returned only here.

        Raises:
            InputError: an invalid name. NameTaken: there is a workspace of this name.
        """
        require_workspace_name(name)
        workspace = self._catalog.create_workspace(name)
        key, secret = create_key(self._catalog, FIRST_KEY, name)
        return workspace, key, secret

    def suspend(self, name: str) -> Workspace:
        """Refuse its keys and let its operations wait. Raises UnknownItem, Conflict."""
        workspace_id = self._changeable(name).workspace_id
        return self._catalog.set_workspace_status(workspace_id, "suspended")

    def resume(self, name: str) -> Workspace:
        """End a suspension. Raises UnknownItem; Conflict: it is being deleted."""
        workspace_id = self._changeable(name).workspace_id
        return self._catalog.set_workspace_status(workspace_id, "active")

    def begin_deletion(self, name: str) -> tuple[Workspace, WorkspaceContents]:
        """Close a workspace for ever; and how much is in it, for the operation that deletes it.

        Raises:
            UnknownItem. Conflict: it is the default workspace.
        """
        workspace_id = self._changeable(name).workspace_id
        workspace = self._catalog.set_workspace_status(workspace_id, "deleting")
        return workspace, self._catalog.workspace_contents(workspace_id)

    def _changeable(self, name: str) -> Workspace:
        if name == DEFAULT_WORKSPACE:
            raise Conflict("the default workspace is that of the service")
        return self._find(name)

    def _find(self, name: str) -> Workspace:
        workspace = known_workspace(self._catalog, name)
        if workspace is None:
            raise UnknownItem("no workspace of this name")
        return workspace
