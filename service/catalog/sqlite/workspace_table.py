"""Workspaces, API keys and the answers remembered under an Idempotency-Key, in SQLite."""

import time

from service.catalog.access_records import KeyRecord, SavedAnswer, Workspace
from service.catalog.codec import to_columns
from service.catalog.ids import new_id, now
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.rows import decode, insert, require_workspace
from service.errors import Conflict, UnknownItem


class SqliteWorkspaces:
    """The part of the catalog that knows who may ask."""

    _database: Database

    def ensure_workspace(self, name: str) -> Workspace:
        new = Workspace(new_id("ws"), name, now())
        with self._database.write() as connection:
            insert(connection, "workspaces", to_columns(new), "ON CONFLICT (name) DO NOTHING")
            row = connection.execute("SELECT * FROM workspaces WHERE name = ?", (name,)).fetchone()
        return decode(Workspace, row)

    def list_workspaces(self) -> tuple[Workspace, ...]:
        with self._database.read() as connection:
            rows = connection.execute("SELECT * FROM workspaces ORDER BY seq").fetchall()
        return tuple(decode(Workspace, row) for row in rows)

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
        sql = """
            SELECT * FROM keys WHERE secret_sha256 = ? AND revoked_at IS NULL
        """
        with self._database.read() as connection:
            row = connection.execute(sql, (secret_sha256,)).fetchone()
        return None if row is None else decode(KeyRecord, row)

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        sql = """
            SELECT * FROM keys WHERE workspace_id = ? ORDER BY seq
        """
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id,)).fetchall()
        return tuple(decode(KeyRecord, row) for row in rows)

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        update = """
            UPDATE keys SET revoked_at = coalesce(revoked_at, ?)
            WHERE workspace_id = ? AND key_id = ?
        """
        select = """
            SELECT * FROM keys WHERE key_id = ?
        """
        with self._database.write() as connection:
            if connection.execute(update, (now(), workspace_id, key_id)).rowcount == 0:
                raise UnknownItem("no such key in this workspace")
            row = connection.execute(select, (key_id,)).fetchone()
        return decode(KeyRecord, row)

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        sql = """
            SELECT * FROM answers
            WHERE workspace_id = ? AND key = ? AND expires_at > ?
        """
        with self._database.read() as connection:
            row = connection.execute(sql, (workspace_id, key, time.time())).fetchone()
        if row is None:
            return None
        return decode(SavedAnswer, row)

    def save_answer(
        self, workspace_id: str, key: str, answer: SavedAnswer, *, keep_s: float
    ) -> None:
        moment = time.time()
        scope = {"workspace_id": workspace_id, "key": key, "expires_at": moment + keep_s}
        unless = "ON CONFLICT (workspace_id, key) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            connection.execute("DELETE FROM answers WHERE expires_at <= ?", (moment,))
            insert(connection, "answers", scope | to_columns(answer), unless)
