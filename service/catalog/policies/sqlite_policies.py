"""Policies of workspaces and their use of storage, in SQLite.

The tables count what is stored by triggers: whatever adds, changes or deletes scans, the counts of
its collection follow in the same transaction.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.catalog.codec import encode_json
from service.catalog.ids import now
from service.catalog.policies.intake_rules import IntakeRules
from service.catalog.policies.policy_records import (
    AdmitUsage,
    StoredPolicy,
    StoredUsage,
    UnfitRules,
)
from service.catalog.policies.policy_statements import KEY_USAGE, POLICY, unfit_conditions
from service.catalog.policies.storage_rules import StorageRules
from service.catalog.sqlite.erasure import forget_answers
from service.catalog.sqlite.rows import SqliteTable, decode, require_workspace
from service.catalog.validation import require_version

_POLICY = POLICY.format(place="?")
_USAGE = """
    SELECT coalesce(sum(stored_bytes), 0) AS stored_bytes, coalesce(sum(stored_scans), 0) AS scans,
        count(*) AS collections,
        (SELECT count(*) FROM classifiers WHERE workspace_id = ?1) AS classifiers
    FROM collections WHERE workspace_id = ?1
"""
_KEY_USAGE = KEY_USAGE.format(owner="?1", key="?2")
_SET = """
    INSERT INTO workspace_policies (workspace_id, version, document, granted, updated_at)
    VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (workspace_id) DO UPDATE SET version = excluded.version,
        document = excluded.document, granted = excluded.granted, updated_at = excluded.updated_at
"""


class SqlitePolicies(SqliteTable):
    """The part of the catalog for policies."""

    def obey(self, rules: StorageRules) -> None:
        self._rules = rules

    def intake_rules(self, workspace_id: str) -> IntakeRules:
        return self._rules.intake(workspace_id)

    def stored_usage(self, workspace_id: str) -> StoredUsage:
        with self._database.read() as connection:
            return usage_in(connection, workspace_id)

    def key_usage(self, workspace_id: str, key_id: str) -> StoredUsage:
        with self._database.read() as connection:
            return key_usage_in(connection, workspace_id, key_id)

    def policy(self, workspace_id: str) -> StoredPolicy:
        found = self._select(StoredPolicy, _POLICY, workspace_id)
        return next(iter(found), StoredPolicy())

    def set_policy(
        self,
        workspace_id: str,
        *,
        document: Mapping[str, Any] | None = None,
        granted: Mapping[str, Any] | None = None,
        if_version: int | None = None,
    ) -> StoredPolicy:
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            row = connection.execute(_POLICY, (workspace_id,)).fetchone()
            old = StoredPolicy() if row is None else decode(StoredPolicy, row)
            require_version(old.version, if_version)
            new = StoredPolicy(
                old.version + 1,
                old.document if document is None else dict(document),
                old.granted if granted is None else dict(granted),
                now(),
            )
            texts = (encode_json(new.document), encode_json(new.granted))
            connection.execute(_SET, (workspace_id, new.version, *texts, new.updated_at))
            # An answer of before would repeat what the policy forbids.
            forget_answers(connection, workspace_id)
        return new

    def unfit_scans(self, workspace_id: str, rules: UnfitRules) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        with self._database.read() as connection:
            for rule, (condition, variables) in unfit_conditions(rules).items():
                query = f"SELECT count(*) FROM scans AS s WHERE s.workspace_id = ? AND {condition}"  # noqa: S608 - conditions are ours
                row = connection.execute(query, (workspace_id, *variables)).fetchone()
                counts[rule] = int(row[0])
        return counts


def usage_in(connection: Any, workspace_id: str) -> StoredUsage:
    """What the workspace stores, in the transaction of the caller."""
    return decode(StoredUsage, connection.execute(_USAGE, (workspace_id,)).fetchone())


def key_usage_in(connection: Any, workspace_id: str, key_id: str) -> StoredUsage:
    """What a key has stored, in the transaction of the caller."""
    return decode(StoredUsage, connection.execute(_KEY_USAGE, (workspace_id, key_id)).fetchone())


def admit_usage(connection: Any, workspace_id: str, admit: AdmitUsage | None) -> None:
    """Ask whether what the transaction has stored may stay. Raises what ``admit`` raises."""
    if admit is not None:
        of_key = partial(key_usage_in, connection, workspace_id)
        admit(usage_in(connection, workspace_id), of_key)
