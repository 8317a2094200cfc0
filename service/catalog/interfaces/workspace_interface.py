"""The part of the catalog's interface for workspaces, keys and saved answers.

The rules in ``service.catalog.interface`` apply.
"""

from collections.abc import Mapping
from typing import Protocol

from service.catalog.access_records import (
    FULL_GRANT,
    AnswerClaim,
    KeyGrant,
    KeyRecord,
    SavedAnswer,
    Workspace,
)


class WorkspaceCatalog(Protocol):
    """Workspaces, their keys, and the answers saved under an Idempotency-Key."""

    def ensure_workspace(self, name: str) -> Workspace:
        """The workspace of this name, created if necessary."""

    def find_workspace(self, name: str) -> Workspace | None:
        """The workspace of this name; None = there is none."""

    def get_workspace(self, workspace_id: str) -> Workspace:
        """The workspace with this id. Raises UnknownItem."""

    def workspace_at_door(self, name: str) -> tuple[Workspace, int] | None:
        """As ``find_workspace``, with the version of its policy at the same moment; 0 = none."""

    def list_workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, oldest first."""

    def create_key(
        self, workspace_id: str, name: str, secret_sha256: str, grant: KeyGrant = FULL_GRANT
    ) -> KeyRecord:
        """Store the hash of a new key.

        Raises:
            UnknownItem: no such workspace.
            Conflict: a key with this hash exists, in any workspace.
        """

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        """The key with this hash, if it exists and is neither revoked nor expired.

        None as well while its workspace is being deleted.

        Raises:
            WorkspaceSuspended: it would open a workspace that is suspended.
        """

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones included, oldest first."""

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke a key for ever; a second call keeps the first time. Raises UnknownItem."""

    def rotate_key(
        self,
        workspace_id: str,
        key_id: str,
        secret_sha256: str,
        *,
        old_until: str,
        expires_at: str | None = None,
    ) -> KeyRecord:
        """Store a further key with the name and the rights of a key, which expires at a time.

        The old key keeps its expiry if it is earlier.

        Args:
            expires_at: of the new key; None = when the old one did.

        Raises:
            UnknownItem: no such key.
            Conflict: it is revoked, expired or replaced already, or a key with this hash exists.
        """

    def note_key_uses(self, used_at: Mapping[str, str]) -> None:
        """Store {key_id: time} as ``last_used_at``, never an earlier one than is stored."""

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer saved under this Idempotency-Key, unless it has expired."""

    def forgettings(self, workspace_id: str) -> int:
        """How often something of a workspace was deleted, replaced or erased.

        Each time its saved answers are dropped, and whatever a process keeps in memory of its
        scans and examples must be read again.
        """

    def claim_answer(
        self, workspace_id: str, key: str, request_sha256: str, *, owner: str, lease_s: float
    ) -> AnswerClaim:
        """Become the one request that works under an Idempotency-Key, or renew that.

        The claim ends with ``save_answer`` or ``release_answer``. One that was not renewed for
        ``lease_s`` seconds can be taken over.

        Args:
            request_sha256: digest of the request.
            owner: names this request among those of all processes.

        Raises:
            UnknownItem: no such workspace.
        """

    def release_answer(self, workspace_id: str, key: str, owner: str) -> None:
        """Give up a claim without an answer; nothing happens if it is another's by now."""

    def save_answer(
        self,
        workspace_id: str,
        key: str,
        answer: SavedAnswer,
        *,
        keep_s: float,
        forgettings: int | None = None,
        owner: str | None = None,
    ) -> None:
        """Keep the first answer under a key for ``keep_s`` seconds; drop expired ones.

        Args:
            forgettings: their number when the request began. If it has grown, the answer is not
                kept, because it may repeat what was deleted meanwhile.
            owner: whose claim ends. If it was taken over, the answer is not kept.

        Raises:
            UnknownItem: no such workspace.
        """
