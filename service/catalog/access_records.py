"""Records of access: workspaces, API keys and saved answers.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from service.catalog.ids import now
from service.errors import Conflict, WorkspaceSuspended

WorkspaceStatus: TypeAlias = Literal["active", "suspended", "deleting"]


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant. Every other record belongs to exactly one workspace.

    Attributes:
        status: suspended = its keys are refused and its operations wait; deleting = its keys are
            unknown, and an operation deletes what is in it.
    """

    workspace_id: str
    name: str
    created_at: str
    status: WorkspaceStatus = "active"


@dataclass(frozen=True, slots=True)
class WorkspaceContents:
    """How much is in a workspace."""

    collections: int
    scans: int
    classifiers: int
    keys: int
    operations: int


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What an API key allows, and until when; ``service.access.scopes`` knows the names.

    Attributes:
        scopes: further ones than those of the roles.
        expires_at: from then on the key is refused; None = never.
        collections, classifiers: names that the key may name, or beginnings of names before a
            ``*``; None = all. ``service.access.name_limits`` reads them.
    """

    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires_at: str | None = None
    collections: tuple[str, ...] | None = None
    classifiers: tuple[str, ...] | None = None


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


def is_open(status: str) -> bool:
    """Whether the keys of a workspace open it; False = it is being deleted.

    Raises:
        WorkspaceSuspended: not now.
    """
    if status == "suspended":
        raise WorkspaceSuspended("the workspace is suspended")
    return status == "active"


def successor_of(key: KeyRecord, key_id: str, expires_at: str | None = None) -> KeyRecord:
    """The key that a rotation makes; it expires when the old one did, unless a time is given.

    Raises:
        Conflict: the old one is revoked, has expired, or was replaced already.
    """
    moment = now()
    is_over = key.grant.expires_at is not None and key.grant.expires_at <= moment
    if is_over or key.revoked_at is not None or key.replaced_by is not None:
        raise Conflict("the key is revoked, has expired, or was replaced already")
    until = key.grant.expires_at if expires_at is None else expires_at
    return KeyRecord(
        key_id, key.workspace_id, key.name, moment, replace(key.grant, expires_at=until)
    )


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
