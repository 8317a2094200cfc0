"""Workspaces, API keys and the answers saved under an Idempotency-Key, in SQLite."""

import time

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.codec import to_columns
from service.catalog.ids import new_id, now
from service.catalog.sqlite.rows import SqliteTable, decode, insert, require_row, require_workspace
from service.errors import Conflict


class SqliteWorkspaces(SqliteTable):
    """The part of the catalog for access."""

    def ensure_workspace(self, name: str) -> Workspace:
        new = Workspace(new_id("ws"), name, now())
        with self._database.write() as connection:
            insert(connection, "workspaces", to_columns(new), "ON CONFLICT (name) DO NOTHING")
            row = connection.execute("SELECT * FROM workspaces WHERE name = ?", (name,)).fetchone()
        return decode(Workspace, row)

    def list_workspaces(self) -> tuple[Workspace, ...]:
        return tuple(self._select(Workspace, "SELECT * FROM workspaces ORDER BY seq"))

    def create_key(self, workspace_id: str, name: str, secret_sha256: str) -> KeyRecord:
        record = KeyRecord(new_id("key"), workspace_id, name, now(), None)
        values = to_columns(record) | {"secret_sha256": secret_sha256}
        unless = "ON CONFLICT (secret_sha256) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if insert(connection, "keys", values, unless) is None:
                raise Conflict("a key with this secret exists already")
        return record

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        sql = "SELECT * FROM keys WHERE secret_sha256 = ? AND revoked_at IS NULL"
        return next(iter(self._select(KeyRecord, sql, secret_sha256)), None)

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        sql = "SELECT * FROM keys WHERE workspace_id = ? ORDER BY seq"
        return tuple(self._select(KeyRecord, sql, workspace_id))

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        update = """
            UPDATE keys SET revoked_at = coalesce(revoked_at, ?)
            WHERE workspace_id = ? AND key_id = ?
        """
        select = "SELECT * FROM keys WHERE workspace_id = ? AND key_id = ?"
        missing = "no such key in this workspace"
        with self._database.write() as connection:
            connection.execute(update, (now(), workspace_id, key_id))
            row = require_row(connection, missing, select, workspace_id, key_id)
        return decode(KeyRecord, row)

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        sql = "SELECT * FROM answers WHERE workspace_id = ? AND key = ? AND expires_at > ?"
        answers = self._select(SavedAnswer, sql, workspace_id, key, time.time())
        return next(iter(answers), None)

    def forgettings(self, workspace_id: str) -> int:
        sql = "SELECT forgettings FROM workspaces WHERE workspace_id = ?"
        with self._database.read() as connection:
            row = connection.execute(sql, (workspace_id,)).fetchone()
        return 0 if row is None else int(row["forgettings"])

    def save_answer(
        self,
        workspace_id: str,
        key: str,
        answer: SavedAnswer,
        *,
        keep_s: float,
        forgettings: int | None = None,
    ) -> None:
        now_forgotten = "SELECT forgettings FROM workspaces WHERE workspace_id = ?"
        moment = time.time()
        scope = {"workspace_id": workspace_id, "key": key, "expires_at": moment + keep_s}
        unless = "ON CONFLICT (workspace_id, key) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            connection.execute("DELETE FROM answers WHERE expires_at <= ?", (moment,))
            count = connection.execute(now_forgotten, (workspace_id,)).fetchone()[0]
            if forgettings not in (None, count):
                return
            insert(connection, "answers", scope | to_columns(answer), unless)
