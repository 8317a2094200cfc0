"""The rules that a catalog asks before it stores something.

The catalog asks, and not the code before it: whichever way a scan comes (an upload, an import, a
command, a way that is added later), it passes here.
"""

from typing import Protocol

from service.catalog.policies.intake_rules import NO_RULES, IntakeRules
from service.catalog.policies.policy_records import AdmitUsage


class StorageRules(Protocol):
    """The rules of all workspaces. Its methods may block, and are not called in a transaction."""

    def intake(self, workspace_id: str) -> IntakeRules:
        """What the workspace lets in now."""

    def payer(self) -> str | None:
        """The id of the key whose request is worked on; None = of none, as in operations."""

    def admission(self, workspace_id: str, key_id: str | None = None) -> AdmitUsage | None:
        """What a write asks in its transaction, with all that is stored then.

        Its exceptions undo the write. None = nothing is limited.

        Args:
            key_id: of the author, where the work goes on after the request; None = ``payer``.
        """


class NoRules:
    """The rules of workspaces that have none."""

    def intake(self, workspace_id: str) -> IntakeRules:
        """As ``StorageRules``."""
        return NO_RULES

    def payer(self) -> str | None:
        """As ``StorageRules``."""
        return None

    def admission(self, workspace_id: str, key_id: str | None = None) -> AdmitUsage | None:
        """As ``StorageRules``."""
        return None
