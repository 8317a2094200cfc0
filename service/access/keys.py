"""API keys: who sent a request, and how a key is made."""

import hashlib
import math
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.access.failed_keys import FailedKeys
from service.access.name_limits import UNLIMITED, NameLimits, require_names
from service.access.scopes import ADMIN, OF_THE_SERVICE, ROLES, effective_scopes, require_known
from service.access.tokens.access_tokens import AccessTokens
from service.access.tokens.provider_keys import UnknownSigner
from service.catalog.access_records import FULL_GRANT, KeyGrant, KeyRecord, Workspace
from service.catalog.ids import now, timestamp
from service.catalog.interface import Catalog
from service.catalog.records import Author
from service.errors import (
    Conflict,
    IdentityProviderFailure,
    InputError,
    InvalidToken,
    MissingScope,
    Overloaded,
    PreconditionFailed,
    TooManyFailedKeys,
    Unauthenticated,
    UnknownItem,
)

DEFAULT_WORKSPACE = "default"
WORKSPACE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
KEY_BYTES = 32
MAX_KEY_NAME = 128
POLICY_TRIES = 20


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and what the key or token allows; ``author`` names it.

    Attributes:
        policy_version: of the workspace, as it was read with the key; None = nobody has read it.
        limits: the collections and classifiers that it may name.
        expires_at: of the key or token, UTC, ISO 8601; None = never.
    """

    workspace_id: str
    author: Author
    scopes: frozenset[str]
    policy_version: int | None = None
    limits: NameLimits = UNLIMITED
    roles: tuple[str, ...] = ()
    expires_at: str | None = None

    def require(self, *scopes: str) -> None:
        """Raises MissingScope: the key or token does not allow one of them."""
        for scope in scopes:
            if scope not in self.scopes:
                raise MissingScope(f"the API key or access token lacks the scope {scope}", scope)


class KeyRing:
    """Knows the callers of one service.

    Args:
        default_workspace_id: of callers without a key.
        failed: the unknown keys of each address.
        require_key: False lets everybody act in the default workspace.
        tokens: access tokens are known too; None = API keys alone.
    """

    def __init__(
        self,
        catalog: Catalog,
        default_workspace_id: str,
        failed: FailedKeys,
        *,
        require_key: bool,
        tokens: AccessTokens | None = None,
    ) -> None:
        self._catalog = catalog
        self._default_workspace_id = default_workspace_id
        self._require_key = require_key
        self._failed = failed
        self.tokens = tokens
        self._uses: dict[str, float] = {}

    def is_slowed(self, address: str) -> bool:
        """Whether too many unknown keys came from the address lately."""
        return self._failed.is_slowed(address)

    def caller(self, token: str | None, address: str) -> Caller:
        """The owner of a key or token, however many unknown keys came from the same address.

        Raises:
            Unauthenticated: no key, or an unknown one.
            WorkspaceSuspended: that of the key.
            TooManyFailedKeys: an unknown one, after many others from this address.
            UnknownWorkspace, UnknownSigner, IdentityProviderFailure: as ``AccessTokens.holder``.
        """
        if not self._require_key:
            return Caller(self._default_workspace_id, Author(), ROLES[ADMIN], roles=(ADMIN,))
        if token is None:
            raise Unauthenticated("expected the header Authorization: Bearer <key>")
        if self.tokens is not None and "." in token:  # no key of ours has a dot
            return self._token_caller(self.tokens, token, address)
        # Found by its digest: the time of a lookup tells nothing about a key.
        key = self._catalog.find_key(hash_key(token))
        if key is None:
            self._note_failure(address)
            raise Unauthenticated("the API key is unknown, expired or revoked")
        self._uses[key.key_id] = time.time()
        scopes = effective_scopes(key.grant.roles, key.grant.scopes)
        if key.workspace_id != self._default_workspace_id:
            scopes -= OF_THE_SERVICE
        author, limits = Author(key.key_id, key.name), NameLimits.of(key.grant)
        roles, until = key.grant.roles, key.grant.expires_at
        version = key.policy_version
        return Caller(key.workspace_id, author, scopes, version, limits, roles, until)

    def caller_after_fetch(self, token: str | None, address: str) -> Caller:
        """The owner of a token whose key was unknown. Blocks until keys were fetched once more.

        Raises:
            Unauthenticated, UnknownWorkspace, IdentityProviderFailure: as ``caller``.
        """
        if self.tokens is not None:
            self.tokens.fetch_keys()
        try:
            return self.caller(token, address)
        except UnknownSigner as error:  # a slow thread: the time until the next attempt is over
            raise IdentityProviderFailure("the keys of the provider are being fetched") from error

    def _token_caller(self, tokens: AccessTokens, token: str, address: str) -> Caller:
        try:
            workspace, policy_version, holder = tokens.holder(token)
        except InvalidToken:
            self._note_failure(address)
            raise
        until = timestamp(datetime.fromtimestamp(holder.expires_at_s, UTC))
        owner_id, author = workspace.workspace_id, holder.author
        roles = holder.roles
        return Caller(owner_id, author, holder.scopes, policy_version, UNLIMITED, roles, until)

    def _note_failure(self, address: str) -> None:
        """Raises TooManyFailedKeys: there were many from this address."""
        wait_s = self._failed.note(address)
        if wait_s > 0:
            what = "the API key or token is unknown, as were many others from this address"
            raise TooManyFailedKeys(what, math.ceil(wait_s))

    def store_uses(self) -> None:
        """Store when each key was used since the last call, as ``last_used_at``.

        One write for all keys: a write per request would cost more than the request.
        """
        uses, self._uses = self._uses, {}
        if uses:
            times = {
                key_id: timestamp(datetime.fromtimestamp(used_s, UTC))
                for key_id, used_s in uses.items()
            }
            self._catalog.note_key_uses(times)


def hash_key(token: str) -> str:
    """SHA-256 hex; keys are 256 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_key(
    catalog: Catalog, name: str, workspace: str, grant: KeyGrant = FULL_GRANT
) -> tuple[KeyRecord, str]:
    """Create a key, and its workspace if it does not exist.

    The token is returned only here; only its hash is stored.

    Raises:
        InputError: an invalid name of the key or of the workspace, or as ``require_grant``.
        Conflict: the workspace is being deleted.
    """
    require_workspace_name(workspace)
    beyond = sorted(OF_THE_SERVICE & set(grant.scopes))
    if beyond and workspace != DEFAULT_WORKSPACE:
        raise InputError(f"only keys of the workspace {DEFAULT_WORKSPACE} have {beyond[0]}")
    require_key_name(name)
    require_grant(grant)
    token = new_token()
    owner = catalog.ensure_workspace(workspace)
    if owner.status == "deleting":
        raise Conflict("the workspace is being deleted")
    return catalog.create_key(owner.workspace_id, name, hash_key(token), grant), token


def rotate_key(
    catalog: Catalog,
    workspace_id: str,
    key_id: str,
    *,
    overlap_s: float,
    expires_at: datetime | None = None,
) -> tuple[KeyRecord, str]:
    """Create the successor of a key; both are valid for ``overlap_s`` seconds.

    Args:
        expires_at: of the successor, with a time zone; None = as the old key.

    Raises:
        InputError: it is no future time of the calendar.
        UnknownItem, Conflict: as ``Catalog.rotate_key``.
    """
    token = new_token()
    old_until = timestamp(datetime.now(UTC) + timedelta(seconds=overlap_s))
    until = None if expires_at is None else timestamp(expires_at)
    if until is not None and until <= now():
        raise InputError("expected an expiry in the future")
    rotate = catalog.rotate_key
    digest = hash_key(token)
    key = rotate(workspace_id, key_id, digest, old_until=old_until, expires_at=until)
    _carry_limits(catalog, workspace_id, key_id, key.key_id)
    return key, token


def _carry_limits(catalog: Catalog, workspace_id: str, old_id: str, new_id: str) -> None:
    """Give a successor the limits of its own that the policy names for the key before.

    Until then nobody has its secret. Keys and policies may live in two databases, so no
    transaction holds both.
    """
    for _ in range(POLICY_TRIES):
        policy = catalog.policy(workspace_id)
        own = policy.document.get("keys", {})
        if old_id not in own:
            return
        document = {**policy.document, "keys": {**own, new_id: own[old_id]}}
        with suppress(PreconditionFailed):  # somebody else has changed it meanwhile
            catalog.set_policy(workspace_id, document=document, if_version=policy.version)
            return
    raise Overloaded("the policy changes all the time: rotate the new key again")


def new_token() -> str:
    """A new secret."""
    return "sp_" + secrets.token_urlsafe(KEY_BYTES)


def require_workspace_name(name: str) -> None:
    """Raises InputError."""
    if not WORKSPACE_NAME.fullmatch(name):
        raise InputError("expected a workspace of 1 to 64 letters, digits, dots, dashes")


def require_key_name(name: str) -> None:
    """Raises InputError."""
    if not 1 <= len(name.strip()) <= MAX_KEY_NAME or not name.isprintable():
        raise InputError(f"expected a key name of 1 to {MAX_KEY_NAME} printable characters")


def grant_until(
    roles: Sequence[str],
    scopes: Sequence[str],
    expires_at: datetime | None,
    limits: NameLimits = UNLIMITED,
) -> KeyGrant:
    """Roles and scopes until a moment, which has a time zone; None = for ever.

    Raises:
        InputError: in UTC it is beyond the calendar.
    """
    until = None if expires_at is None else timestamp(expires_at)
    return KeyGrant(tuple(roles), tuple(scopes), until, limits.collections, limits.classifiers)


def require_grant(grant: KeyGrant) -> None:
    """Raises InputError: unknown or no roles and scopes, odd names, or an expiry that is over."""
    require_known(grant.roles, grant.scopes)
    if not grant.roles and not grant.scopes:
        raise InputError("expected at least one role or scope")
    if grant.expires_at is not None and grant.expires_at <= now():
        raise InputError("expected an expiry in the future")
    require_names(grant.collections)
    require_names(grant.classifiers)


def workspace_id_of(catalog: Catalog, name: str) -> str:
    """The workspace of this name. Raises UnknownItem: none, and it is not the default one."""
    if name == DEFAULT_WORKSPACE:
        return catalog.ensure_workspace(name).workspace_id
    workspace = known_workspace(catalog, name)
    if workspace is None:
        raise UnknownItem("no workspace of this name; a key creates it")
    return workspace.workspace_id


def known_workspace(catalog: Catalog, name: str) -> Workspace | None:
    """The workspace of this name; None = there is none, or no workspace can have the name."""
    try:
        return catalog.find_workspace(name)
    except InputError:
        return None
