"""Policies of workspaces and their use of storage, in PostgreSQL.

Whoever adds or deletes scans counts them in the row of their collection, which is locked anyway.
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
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    first,
    forget_answers,
    require_row,
)
from service.catalog.validation import require_version

_POLICY = POLICY.format(place="%s")
_KNOWN = "SELECT 1 FROM directory WHERE workspace_id = %s FOR UPDATE"
_USAGE = """
    SELECT coalesce(sum(stored_bytes), 0)::bigint AS stored_bytes,
        coalesce(sum(scans), 0)::bigint AS scans, count(*) AS collections,
        (SELECT count(*) FROM classifiers WHERE workspace_id = %(workspace_id)s) AS classifiers
    FROM collections WHERE workspace_id = %(workspace_id)s
"""
# The sums are numeric otherwise.
_KEY_USAGE = (
    KEY_USAGE.format(owner="%(workspace_id)s", key="%(key_id)s")
    .replace("(stored_bytes), 0)", "(stored_bytes), 0)::bigint")
    .replace("(scans), 0)", "(scans), 0)::bigint")
)
# What a key stores in a collection, whose lock the writer holds.
_COUNT_FOR_KEY = """
    INSERT INTO key_storage AS k (collection_id, workspace_id, key_id, scans, stored_bytes)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (collection_id, key_id) DO UPDATE
    SET scans = k.scans + excluded.scans, stored_bytes = k.stored_bytes + excluded.stored_bytes
"""
_SET = """
    INSERT INTO workspace_policies (workspace_id, version, document, granted, updated_at)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (workspace_id) DO UPDATE SET version = excluded.version,
        document = excluded.document, granted = excluded.granted, updated_at = excluded.updated_at
"""
# The last lock of a transaction: who waits for it holds nothing that its holder still wants.
_LOCK_USAGE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))"


class PostgresPolicies(PostgresTable):
    """The part of the catalog for policies."""

    def obey(self, rules: StorageRules) -> None:
        self._rules = rules

    def intake_rules(self, workspace_id: str) -> IntakeRules:
        return self._rules.intake(workspace_id)

    def stored_usage(self, workspace_id: str) -> StoredUsage:
        with self._database.read(workspace_id) as connection:
            return usage_in(connection, workspace_id)

    def key_usage(self, workspace_id: str, key_id: str) -> StoredUsage:
        with self._database.read(workspace_id) as connection:
            return key_usage_in(connection, workspace_id, key_id)

    def policy(self, workspace_id: str) -> StoredPolicy:
        with self._database.directory("read") as connection:
            row = first(connection, _POLICY, workspace_id)
        return StoredPolicy() if row is None else decode(StoredPolicy, row)

    def set_policy(
        self,
        workspace_id: str,
        *,
        document: Mapping[str, Any] | None = None,
        granted: Mapping[str, Any] | None = None,
        if_version: int | None = None,
    ) -> StoredPolicy:
        with self._database.directory("write") as connection:
            # Locked: of two changes at once, the second sees the version of the first.
            require_row(connection, "no such workspace", _KNOWN, workspace_id)
            row = first(connection, _POLICY, workspace_id)
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
        # Afterwards, because the answers may be in another database. Those that a crash in between
        # leaves can be repeated until they expire; nothing is stored by that.
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            forget_answers(connection, workspace_id)
        return new

    def unfit_scans(self, workspace_id: str, rules: UnfitRules) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        with self._database.read(workspace_id) as connection:
            for rule, (condition, variables) in unfit_conditions(rules).items():
                where = condition.replace("?", "%s")
                query = (
                    f"SELECT count(*) AS n FROM scans AS s WHERE s.workspace_id = %s AND {where}"  # noqa: S608 - conditions are ours
                )
                counts[rule] = int(
                    require_row(connection, "", query, workspace_id, *variables)["n"]
                )
        return counts


def usage_in(connection: Connection, workspace_id: str) -> StoredUsage:
    """What the workspace stores, in the transaction of the caller."""
    row = connection.execute(_USAGE, {"workspace_id": workspace_id}).fetchone()
    return decode(StoredUsage, row or {})


def key_usage_in(connection: Connection, workspace_id: str, key_id: str) -> StoredUsage:
    """What a key has stored, in the transaction of the caller."""
    variables = {"workspace_id": workspace_id, "key_id": key_id}
    return decode(StoredUsage, connection.execute(_KEY_USAGE, variables).fetchone() or {})


def count_for_key(
    connection: Connection,
    collection: Mapping[str, Any],
    key_id: str | None,
    scans: int,
    stored_bytes: int,
) -> None:
    """Count new scans of a collection for the key that stored them."""
    if key_id is not None:
        owner = (collection["collection_id"], collection["workspace_id"], key_id)
        connection.execute(_COUNT_FOR_KEY, (*owner, scans, stored_bytes))


def admit_usage(connection: Connection, workspace_id: str, admit: AdmitUsage | None) -> None:
    """Ask whether what the transaction has stored may stay. Raises what ``admit`` raises.

    Until the transaction ends, no other one asks: so two cannot pass a limit together.
    """
    if admit is not None:
        connection.execute(_LOCK_USAGE, (workspace_id,))
        of_key = partial(key_usage_in, connection, workspace_id)
        admit(usage_in(connection, workspace_id), of_key)
