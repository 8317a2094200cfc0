"""Records of access: workspaces, API keys and saved answers.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.catalog.ids import now
from service.errors import Conflict


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant. Every other record belongs to exactly one workspace."""

    workspace_id: str
    name: str
    created_at: str


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What an API key allows, and until when; ``service.access.scopes`` knows the names.

    Attributes:
        scopes: further ones than those of the roles.
        expires_at: from then on the key is refused; None = never.
    """

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires_at: str | None = None


FULL_GRANT = KeyGrant(("admin",))  # of the keys of release 0.1.0 too


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key; its secret is never stored.

    Attributes:
        last_used_at: up to a minute old.
        replaced_by: the key that a rotation made; this one expires soon after.
        policy_version: of the workspace, as ``find_key`` read it with the key; 0 = no policy.
    """

    key_id: str
    workspace_id: str
    name: str
    created_at: str
    grant: KeyGrant = FULL_GRANT
    revoked_at: str | None = None
    last_used_at: str | None = None
    replaced_by: str | None = None
    policy_version: int = 0


def successor_of(key: KeyRecord, key_id: str) -> KeyRecord:
    """The key that a rotation makes. Raises Conflict: revoked, expired or replaced already."""
    moment = now()
    is_over = key.grant.expires_at is not None and key.grant.expires_at <= moment
    if is_over or key.revoked_at is not None or key.replaced_by is not None:
        raise Conflict("the key is revoked, has expired, or was replaced already")
    return KeyRecord(key_id, key.workspace_id, key.name, moment, key.grant)


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """The answer saved under an Idempotency-Key, with the digest of its request."""

    request_sha256: str
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerClaim:
    """The outcome of claiming an Idempotency-Key.

    Attributes:
        saved: the answer under the key; then nobody may claim it.
        is_mine: whether the caller may work now. False without ``saved``: another request does.
        forgettings: of the workspace, at the moment of the claim.
    """

    saved: SavedAnswer | None
    is_mine: bool
    forgettings: int
