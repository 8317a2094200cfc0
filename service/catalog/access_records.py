"""Records of access: workspaces, API keys and saved answers.

Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant. Every other record belongs to exactly one workspace."""

    workspace_id: str
    name: str
    created_at: str


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key; its secret is never stored."""

    key_id: str
    workspace_id: str
    name: str
    created_at: str
    revoked_at: str | None


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
