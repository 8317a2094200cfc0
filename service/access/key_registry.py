"""The keys of a workspace, as its administrators see and change them."""

from datetime import datetime

from service.access.id_pages import page_after
from service.access.keys import (
    Caller,
    hash_key,
    new_token,
    require_grant,
    require_key_name,
    rotate_key,
)
from service.access.name_limits import NameLimits as NameLimits
from service.access.scopes import OF_THE_SERVICE, effective_scopes
from service.catalog.access_records import KeyGrant as KeyGrant
from service.catalog.access_records import KeyRecord as KeyRecord
from service.catalog.interface import Catalog
from service.errors import MissingScope, OutsideLimits, UnknownItem


class KeyRegistry:
    """Creates, lists, rotates and revokes keys of the workspace of the caller. All methods block.

    Nobody gives away a scope that the own key lacks, or a name outside its limits. A caller with
    limits sees the keys inside them only: other keys would tell it names.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list_keys(
        self, caller: Caller, *, limit: int, after: str | None = None
    ) -> tuple[tuple[KeyRecord, ...], str | None]:
        """Keys, oldest first, revoked ones included; and the id after which the next page begins.

        Args:
            after: id of the last key of an earlier page.
        """
        keys = self._visible(caller)
        return page_after(keys, lambda key: key.key_id, limit=limit, after=after)

    def get(self, caller: Caller, key_id: str) -> KeyRecord:
        """Raises UnknownItem."""
        for key in self._visible(caller):
            if key.key_id == key_id:
                return key
        raise UnknownItem("no such key in this workspace")

    def create(self, caller: Caller, name: str, grant: KeyGrant) -> tuple[KeyRecord, str]:
        """A new key and its secret, which is returned only here.

        Raises:
            InputError: an invalid name, or as ``require_grant``.
            MissingScope: the caller lacks a scope that the key would have, or nobody may give it
                away here.
            OutsideLimits: the key could name what the caller cannot.
        """
        require_key_name(name)
        require_grant(grant)
        _require_all(caller, grant)
        for scope in sorted(OF_THE_SERVICE & set(grant.scopes)):
            raise MissingScope("only the command line makes such a key", scope)
        token = new_token()
        create = self._catalog.create_key
        return create(caller.workspace_id, name, hash_key(token), grant), token

    def rotate(
        self,
        caller: Caller,
        key_id: str,
        *,
        overlap_s: float,
        expires_at: datetime | None = None,
    ) -> tuple[KeyRecord, str]:
        """The successor of a key and its secret; both keys are valid for ``overlap_s`` seconds.

        Args:
            expires_at: of the successor; None = as the old key.

        Raises:
            InputError: it is no future time.
            UnknownItem, Conflict: as ``Catalog.rotate_key``.
            MissingScope: the caller lacks a scope of the key.
        """
        _require_all(caller, self.get(caller, key_id).grant)
        owner = caller.workspace_id
        return rotate_key(self._catalog, owner, key_id, overlap_s=overlap_s, expires_at=expires_at)

    def revoke(self, caller: Caller, key_id: str) -> KeyRecord:
        """Revoke a key for ever. Raises UnknownItem."""
        self.get(caller, key_id)
        return self._catalog.revoke_key(caller.workspace_id, key_id)

    def _visible(self, caller: Caller) -> tuple[KeyRecord, ...]:
        keys = self._catalog.list_keys(caller.workspace_id)
        return tuple(key for key in keys if caller.limits.covers(NameLimits.of(key.grant)))


def _require_all(caller: Caller, grant: KeyGrant) -> None:
    caller.require(*sorted(effective_scopes(grant.roles, grant.scopes)))
    if not caller.limits.covers(NameLimits.of(grant)):
        raise OutsideLimits("the key would name more than the key of the caller may")
