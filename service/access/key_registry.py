"""The keys of a workspace, as its administrators see and change them."""

from service.access.keys import (
    Caller,
    hash_key,
    new_token,
    require_grant,
    require_key_name,
    rotate_key,
)
from service.access.scopes import effective_scopes
from service.catalog.access_records import KeyGrant as KeyGrant
from service.catalog.access_records import KeyRecord as KeyRecord
from service.catalog.interface import Catalog
from service.errors import UnknownItem


class KeyRegistry:
    """Creates, lists, rotates and revokes keys of the workspace of the caller. All methods block.

    Nobody gives away a scope that the own key lacks.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list_keys(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> tuple[tuple[KeyRecord, ...], str | None]:
        """Keys, oldest first, revoked ones included; and the id after which the next page begins.

        Args:
            after: id of the last key of an earlier page.
        """
        keys = self._catalog.list_keys(workspace_id)
        ids = [key.key_id for key in keys]
        start = ids.index(after) + 1 if after in ids else 0
        page = keys[start : start + limit]
        return page, page[-1].key_id if start + limit < len(keys) else None

    def get(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Raises UnknownItem."""
        for key in self._catalog.list_keys(workspace_id):
            if key.key_id == key_id:
                return key
        raise UnknownItem("no such key in this workspace")

    def create(self, caller: Caller, name: str, grant: KeyGrant) -> tuple[KeyRecord, str]:
        """A new key and its secret, which is returned only here.

        Raises:
            InputError: an invalid name, or as ``require_grant``.
            MissingScope: the caller lacks a scope that the key would have.
        """
        require_key_name(name)
        require_grant(grant)
        _require_all(caller, grant)
        token = new_token()
        create = self._catalog.create_key
        return create(caller.workspace_id, name, hash_key(token), grant), token

    def rotate(self, caller: Caller, key_id: str, *, overlap_s: float) -> tuple[KeyRecord, str]:
        """The successor of a key and its secret; both keys are valid for ``overlap_s`` seconds.

        Raises:
            UnknownItem, Conflict: as ``Catalog.rotate_key``.
            MissingScope: the caller lacks a scope of the key.
        """
        _require_all(caller, self.get(caller.workspace_id, key_id).grant)
        return rotate_key(self._catalog, caller.workspace_id, key_id, overlap_s=overlap_s)

    def revoke(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke a key for ever. Raises UnknownItem."""
        return self._catalog.revoke_key(workspace_id, key_id)


def _require_all(caller: Caller, grant: KeyGrant) -> None:
    caller.require(*sorted(effective_scopes(grant.roles, grant.scopes)))
