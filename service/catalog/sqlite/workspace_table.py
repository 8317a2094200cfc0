"""Workspaces, API keys and the answers remembered under an Idempotency-Key, in SQLite."""

import time

from service.catalog.records import KeyRecord, SavedAnswer, Workspace
from service.catalog.sqlite.codec import decode_json, encode_object, new_id, now, require_workspace
from service.catalog.sqlite.database import Database
from service.errors import Conflict, UnknownItem


class Tenants:
    """The part of the catalog that knows who may ask."""

    _database: Database

    def ensure_workspace(self, name: str) -> Workspace:
        """Return the workspace of this name, creating it if there is none."""
        insert = """
            INSERT INTO workspaces (workspace_id, name, created_at) VALUES (?, ?, ?)
            ON CONFLICT (name) DO NOTHING
        """
        with self._database.write() as connection:
            connection.execute(insert, (new_id("ws"), name, now()))
            row = connection.execute(
                "SELECT workspace_id, name, created_at FROM workspaces WHERE name = ?", (name,)
            ).fetchone()
        return Workspace(*row)

    def list_workspaces(self) -> tuple[Workspace, ...]:
        """All workspaces, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT workspace_id, name, created_at FROM workspaces ORDER BY seq"
            ).fetchall()
        return tuple(Workspace(*row) for row in rows)

    def create_key(self, workspace_id: str, name: str, secret_sha256: str) -> KeyRecord:
        """Store the hash of a new key.

        Raises:
            UnknownItem: no such workspace.
            Conflict: a key with this hash exists, here or in another workspace.
        """
        record = KeyRecord(new_id("key"), workspace_id, name, now(), None)
        insert = """
            INSERT INTO keys (workspace_id, key_id, name, secret_sha256, created_at)
            VALUES (?, ?, ?, ?, ?) ON CONFLICT (secret_sha256) DO NOTHING
        """
        values = (workspace_id, record.key_id, name, secret_sha256, record.created_at)
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if connection.execute(insert, values).rowcount == 0:
                raise Conflict("a key with this secret exists already")
        return record

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        """Return the key with this hash if it exists and is not revoked."""
        sql = """
            SELECT key_id, workspace_id, name, created_at, revoked_at FROM keys
            WHERE secret_sha256 = ? AND revoked_at IS NULL
        """
        with self._database.read() as connection:
            row = connection.execute(sql, (secret_sha256,)).fetchone()
        return None if row is None else KeyRecord(*row)

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones included, oldest first."""
        sql = """
            SELECT key_id, workspace_id, name, created_at, revoked_at FROM keys
            WHERE workspace_id = ? ORDER BY seq
        """
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id,)).fetchall()
        return tuple(KeyRecord(*row) for row in rows)

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        """Revoke at once and for ever; the first time stays. Raises UnknownItem."""
        update = """
            UPDATE keys SET revoked_at = coalesce(revoked_at, ?)
            WHERE workspace_id = ? AND key_id = ?
        """
        select = """
            SELECT key_id, workspace_id, name, created_at, revoked_at FROM keys WHERE key_id = ?
        """
        with self._database.write() as connection:
            if connection.execute(update, (now(), workspace_id, key_id)).rowcount == 0:
                raise UnknownItem("no such key in this workspace")
            row = connection.execute(select, (key_id,)).fetchone()
        return KeyRecord(*row)

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer saved under this Idempotency-Key, unless it has expired."""
        sql = """
            SELECT request_sha256, status, body, headers FROM answers
            WHERE workspace_id = ? AND key = ? AND expires_at > ?
        """
        with self._database.read() as connection:
            row = connection.execute(sql, (workspace_id, key, time.time())).fetchone()
        if row is None:
            return None
        return SavedAnswer(
            request_sha256=row["request_sha256"],
            status=row["status"],
            body=row["body"],
            headers=decode_json(row["headers"], dict),
        )

    def save_answer(
        self, workspace_id: str, key: str, answer: SavedAnswer, *, keep_s: float
    ) -> None:
        """Keep the first answer under this key for ``keep_s`` seconds; drops expired ones.

        Raises:
            UnknownItem: no such workspace.
        """
        moment = time.time()
        insert = """
            INSERT INTO answers
                (workspace_id, key, request_sha256, status, body, headers, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workspace_id, key) DO NOTHING
        """
        values = (
            workspace_id,
            key,
            answer.request_sha256,
            answer.status,
            answer.body,
            encode_object(answer.headers),
            moment + keep_s,
        )
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            connection.execute("DELETE FROM answers WHERE expires_at <= ?", (moment,))
            connection.execute(insert, values)
