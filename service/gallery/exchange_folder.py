"""The folder of exported collections: one sub-folder per workspace."""

from pathlib import Path

from service.errors import NameTaken, UnknownItem


class ExchangeFolder:
    """The exports of all workspaces; ``root`` is None when the operator set no folder."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def of(self, workspace_id: str, export: str) -> Path:
        """The folder of one export. Raises UnknownItem: no root folder is set."""
        if self._root is None:
            raise UnknownItem("expected a folder of exports in SONOPROBE_EXCHANGE_DIR, got none")
        return self._root / workspace_id / export

    def require_new(self, workspace_id: str, export: str) -> None:
        """Raises NameTaken: the export exists. UnknownItem: no root folder is set."""
        if self.of(workspace_id, export).is_dir():
            raise NameTaken("the workspace has an export of this name already")

    def require(self, workspace_id: str, export: str) -> None:
        """Raises UnknownItem: no such export, or no root folder is set."""
        if not self.of(workspace_id, export).is_dir():
            raise UnknownItem("the workspace has no export of this name")
