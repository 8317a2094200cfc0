"""The part of the catalog's interface for what a workspace may store.

The rules in ``service.catalog.interface`` apply.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from service.catalog.policies.intake_rules import IntakeRules
from service.catalog.policies.policy_records import StoredPolicy, StoredUsage, UnfitRules
from service.catalog.policies.storage_rules import StorageRules


class PolicyCatalog(Protocol):
    """Policies of workspaces, and how much is stored."""

    def obey(self, rules: StorageRules) -> None:
        """Ask these rules before each write that stores something, from now on.

        What they refuse raises PolicyRefused or QuotaExceeded and stores nothing; of several scans
        PolicyRefused is the answer of one.
        """

    def intake_rules(self, workspace_id: str) -> IntakeRules:
        """What the workspace lets in now, by the rules that the catalog obeys."""

    def stored_usage(self, workspace_id: str) -> StoredUsage:
        """How much the workspace stores now; it is counted with each write, not measured here."""

    def key_usage(self, workspace_id: str, key_id: str) -> StoredUsage:
        """How much of it the requests of one key have stored and nobody has deleted.

        Imports count for no key, nor does what was stored before keys were noted.
        """

    def policy(self, workspace_id: str) -> StoredPolicy:
        """The policy of the workspace; version 0 = it has none."""

    def set_policy(
        self,
        workspace_id: str,
        *,
        document: Mapping[str, Any] | None = None,
        granted: Mapping[str, Any] | None = None,
        if_version: int | None = None,
    ) -> StoredPolicy:
        """Replace one part of the policy or both, and drop the saved answers of the workspace.

        Args:
            document, granted: None = it stays.

        Raises:
            UnknownItem: no such workspace.
            PreconditionFailed: ``if_version`` is not the current version.
            InputError: a part is not a JSON object of finite values.
        """

    def unfit_scans(self, workspace_id: str, rules: UnfitRules) -> Mapping[str, int]:
        """How many stored scans break each rule: ``pseudonyms``, ``risks``, and so on.

        It reads every scan of the workspace.
        """
