"""API keys: who sent a request, and how a key is made."""

import hashlib
import math
import re
import secrets
from dataclasses import dataclass

from service.access.failed_keys import FailedKeys
from service.catalog.access_records import KeyRecord
from service.catalog.interface import Catalog
from service.catalog.records import Author
from service.errors import InputError, TooManyFailedKeys, Unauthenticated, UnknownItem

DEFAULT_WORKSPACE = "default"
WORKSPACE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
KEY_BYTES = 32
MAX_KEY_NAME = 128


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request; ``author`` names the API key."""

    workspace_id: str
    author: Author


class KeyRing:
    """Knows the callers of one service.

    Args:
        require_key: False lets everybody act in the default workspace.
        default_workspace_id: of callers without a key.
        failed: the unknown keys of each address.
    """

    def __init__(
        self,
        catalog: Catalog,
        default_workspace_id: str,
        *,
        require_key: bool,
        failed: FailedKeys,
    ) -> None:
        self._catalog = catalog
        self._default_workspace_id = default_workspace_id
        self._require_key = require_key
        self._failed = failed

    def is_slowed(self, address: str) -> bool:
        """Whether too many unknown keys came from the address lately."""
        return self._failed.is_slowed(address)

    def caller(self, token: str | None, address: str) -> Caller:
        """The owner of a key, however many unknown keys came from the same address.

        Raises:
            Unauthenticated: no key, or an unknown one.
            TooManyFailedKeys: an unknown one, after many others from this address.
        """
        if not self._require_key:
            return Caller(self._default_workspace_id, Author())
        if token is None:
            raise Unauthenticated("expected the header Authorization: Bearer <key>")
        # Found by its digest: the time of a lookup tells nothing about a key.
        key = self._catalog.find_key(hash_key(token))
        if key is None:
            wait_s = self._failed.note(address)
            if wait_s > 0:
                what = "the API key is unknown or revoked, as were many others from this address"
                raise TooManyFailedKeys(what, math.ceil(wait_s))
            raise Unauthenticated("the API key is unknown or revoked")
        return Caller(key.workspace_id, Author(key.key_id, key.name))


def hash_key(token: str) -> str:
    """SHA-256 hex; keys are 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_key(catalog: Catalog, name: str, workspace: str) -> tuple[KeyRecord, str]:
    """Create a key, and its workspace if it does not exist.

    The token is returned only here; only its hash is stored.

    Raises:
        InputError: an invalid name of the key or of the workspace.
    """
    if not WORKSPACE_NAME.fullmatch(workspace):
        raise InputError("expected a workspace of 1 to 64 letters, digits, dots, dashes")
    if not 1 <= len(name.strip()) <= MAX_KEY_NAME or not name.isprintable():
        raise InputError(f"expected a key name of 1 to {MAX_KEY_NAME} printable characters")
    token = "sp_" + secrets.token_urlsafe(KEY_BYTES)
    owner = catalog.ensure_workspace(workspace)
    return catalog.create_key(owner.workspace_id, name, hash_key(token)), token


def workspace_id_of(catalog: Catalog, name: str) -> str:
    """The workspace of this name. Raises UnknownItem: none, and it is not the default one."""
    if name == DEFAULT_WORKSPACE:
        return catalog.ensure_workspace(name).workspace_id
    for workspace in catalog.list_workspaces():
        if workspace.name == name:
            return workspace.workspace_id
    raise UnknownItem("no workspace of this name; a key creates it")
