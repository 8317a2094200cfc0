"""Where exported collections lie: a folder per workspace below the one that the operator set."""

from pathlib import Path

from service.errors import NameTaken, UnknownItem


class ExchangeFolder:
    """The exports of all workspaces; ``root`` None = the operator set no folder."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def of(self, workspace_id: str, export: str) -> Path:
        """Where an export of a workspace lies. Raises UnknownItem: no folder is set."""
        if self._root is None:
            raise UnknownItem("no folder of exports is set: SONOPROBE_EXCHANGE_DIR")
        return self._root / workspace_id / export

    def require_new(self, workspace_id: str, export: str) -> None:
        """Raises NameTaken: the workspace has such an export. UnknownItem: no folder is set."""
        if self.of(workspace_id, export).is_dir():
            raise NameTaken("an export of this name is there already")

    def require(self, workspace_id: str, export: str) -> None:
        """Raises UnknownItem: the workspace has no such export, or no folder is set."""
        if not self.of(workspace_id, export).is_dir():
            raise UnknownItem("no export of this name in the workspace's folder")
