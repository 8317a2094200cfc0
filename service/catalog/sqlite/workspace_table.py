"""Workspaces, API keys and the answers saved under an Idempotency-Key, in SQLite."""

import sqlite3
import time
from collections.abc import Mapping

from service.catalog.access_records import (
    FULL_GRANT,
    AnswerClaim,
    KeyGrant,
    KeyRecord,
    SavedAnswer,
    Workspace,
    is_open,
    successor_of,
)
from service.catalog.codec import to_columns
from service.catalog.ids import new_id, now
from service.catalog.leases import Leases
from service.catalog.sqlite.rows import SqliteTable, decode, insert, require_row, require_workspace
from service.catalog.validation import require_text
from service.errors import Conflict, UnknownItem

# One statement for a key and the version of its workspace's policy: each request asks for both.
_KEYS = """
    SELECT k.*, coalesce(p.version, 0) AS policy_version, w.status AS workspace_status
    FROM keys AS k JOIN workspaces AS w USING (workspace_id)
    LEFT JOIN workspace_policies AS p USING (workspace_id)
"""
_AT_DOOR = """
    SELECT w.*, coalesce(p.version, 0) AS policy_version
    FROM workspaces AS w LEFT JOIN workspace_policies AS p USING (workspace_id) WHERE w.name = ?
"""
_ANSWER = "SELECT * FROM answers WHERE workspace_id = ? AND key = ? AND expires_at > ?"
_FORGETTINGS = "SELECT forgettings FROM workspaces WHERE workspace_id = ?"


class SqliteWorkspaces(SqliteTable):
    """The part of the catalog for access.

    Claims are in memory: one process uses the file, and a request does not outlive it.
    """

    _answer_leases: Leases

    def ensure_workspace(self, name: str) -> Workspace:
        require_text(name, "a workspace name")
        new = Workspace(new_id("ws"), name, now())
        with self._database.write() as connection:
            insert(connection, "workspaces", to_columns(new), "ON CONFLICT (name) DO NOTHING")
            row = connection.execute("SELECT * FROM workspaces WHERE name = ?", (name,)).fetchone()
        return decode(Workspace, row)

    def find_workspace(self, name: str) -> Workspace | None:
        require_text(name, "a workspace name")
        query = "SELECT * FROM workspaces WHERE name = ?"
        return next(iter(self._select(Workspace, query, name)), None)

    def get_workspace(self, workspace_id: str) -> Workspace:
        query = "SELECT * FROM workspaces WHERE workspace_id = ?"
        found = next(iter(self._select(Workspace, query, workspace_id)), None)
        if found is None:
            raise UnknownItem("no such workspace")
        return found

    def workspace_at_door(self, name: str) -> tuple[Workspace, int] | None:
        require_text(name, "a workspace name")
        with self._database.glance() as connection:
            row = connection.execute(_AT_DOOR, (name,)).fetchone()
        return None if row is None else (decode(Workspace, row), row["policy_version"])

    def list_workspaces(self) -> tuple[Workspace, ...]:
        return tuple(self._select(Workspace, "SELECT * FROM workspaces ORDER BY seq"))

    def create_key(
        self, workspace_id: str, name: str, secret_sha256: str, grant: KeyGrant = FULL_GRANT
    ) -> KeyRecord:
        require_text(name, "a key name")
        require_text(secret_sha256, "the digest of a key")
        record = KeyRecord(new_id("key"), workspace_id, name, now(), grant)
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            _insert_key(connection, record, secret_sha256)
        return record

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        sql = f"""{_KEYS} WHERE k.secret_sha256 = ? AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > ?)
        """
        with self._database.glance() as connection:
            row = connection.execute(sql, (secret_sha256, now())).fetchone()
        if row is None or not is_open(row["workspace_status"]):
            return None
        return decode(KeyRecord, row)

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        sql = f"{_KEYS} WHERE k.workspace_id = ? ORDER BY k.seq"
        return tuple(self._select(KeyRecord, sql, workspace_id))

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        update = """
            UPDATE keys SET revoked_at = coalesce(revoked_at, ?)
            WHERE workspace_id = ? AND key_id = ?
        """
        with self._database.write() as connection:
            connection.execute(update, (now(), workspace_id, key_id))
            return _require_key(connection, workspace_id, key_id)

    def rotate_key(
        self,
        workspace_id: str,
        key_id: str,
        secret_sha256: str,
        *,
        old_until: str,
        expires_at: str | None = None,
    ) -> KeyRecord:
        require_text(secret_sha256, "the digest of a key")
        update = """
            UPDATE keys SET replaced_by = ?, expires_at = min(coalesce(expires_at, ?), ?)
            WHERE workspace_id = ? AND key_id = ?
        """
        with self._database.write() as connection:
            old = _require_key(connection, workspace_id, key_id)
            record = successor_of(old, new_id("key"), expires_at)
            _insert_key(connection, record, secret_sha256)
            values = (record.key_id, old_until, old_until, workspace_id, key_id)
            connection.execute(update, values)
        return record

    def note_key_uses(self, used_at: Mapping[str, str]) -> None:
        update = """
            UPDATE keys SET last_used_at = max(coalesce(last_used_at, ''), ?) WHERE key_id = ?
        """
        with self._database.write() as connection:
            connection.executemany(update, [(at, key_id) for key_id, at in used_at.items()])

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        answers = self._select(SavedAnswer, _ANSWER, workspace_id, key, time.time())
        return next(iter(answers), None)

    def forgettings(self, workspace_id: str) -> int:
        with self._database.read() as connection:
            row = connection.execute(_FORGETTINGS, (workspace_id,)).fetchone()
        return 0 if row is None else int(row["forgettings"])

    def claim_answer(
        self, workspace_id: str, key: str, request_sha256: str, *, owner: str, lease_s: float
    ) -> AnswerClaim:
        require_text(key, "an Idempotency-Key")
        # Claimed before the answer is looked for: one that is saved in between is found.
        is_mine = self._answer_leases.take((workspace_id, key), owner, lease_s=lease_s)
        try:
            with self._database.read() as connection:
                require_workspace(connection, workspace_id)
                count = connection.execute(_FORGETTINGS, (workspace_id,)).fetchone()[0]
                row = connection.execute(_ANSWER, (workspace_id, key, time.time())).fetchone()
            saved = None if row is None else decode(SavedAnswer, row)
        except BaseException:
            self.release_answer(workspace_id, key, owner)
            raise
        if saved is not None:
            self.release_answer(workspace_id, key, owner)
        return AnswerClaim(saved, is_mine and saved is None, int(count))

    def release_answer(self, workspace_id: str, key: str, owner: str) -> None:
        self._answer_leases.release((workspace_id, key), owner)

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
        require_text(key, "an Idempotency-Key")
        moment = time.time()
        scope = {"workspace_id": workspace_id, "key": key, "expires_at": moment + keep_s}
        unless = "ON CONFLICT (workspace_id, key) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            connection.execute("DELETE FROM answers WHERE expires_at <= ?", (moment,))
            count = connection.execute(_FORGETTINGS, (workspace_id,)).fetchone()[0]
            is_mine = owner in (None, self._answer_leases.holder((workspace_id, key)))
            if is_mine and forgettings in (None, count):
                insert(connection, "answers", scope | to_columns(answer), unless)
        if owner is not None:  # after the commit: the next to claim the key finds the answer
            self.release_answer(workspace_id, key, owner)


def _require_key(connection: sqlite3.Connection, workspace_id: str, key_id: str) -> KeyRecord:
    select = f"{_KEYS} WHERE k.workspace_id = ? AND k.key_id = ?"
    missing = "no such key in this workspace"
    return decode(KeyRecord, require_row(connection, missing, select, workspace_id, key_id))


def _insert_key(connection: sqlite3.Connection, record: KeyRecord, secret_sha256: str) -> None:
    values = to_columns(record) | {"secret_sha256": secret_sha256}
    del values["policy_version"]  # of another table
    if insert(connection, "keys", values, "ON CONFLICT (secret_sha256) DO NOTHING") is None:
        raise Conflict("a key with this secret exists already")
