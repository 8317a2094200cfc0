"""Workspaces, API keys and the answers saved under an Idempotency-Key, in PostgreSQL.

Workspaces and keys are in the directory, answers in the database where the workspace lives. The
clock of the database counts the time of claims and answers, because those of replicas may differ.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from psycopg.rows import DictRow

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
from service.catalog.postgres.postgres_database import DIRECTORY, Connection
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    first,
    insert,
    require_row,
    require_workspace,
    select,
)
from service.catalog.validation import require_text
from service.errors import Conflict, NameTaken, UnknownItem, WorkspaceMoving

# One statement for a key and the version of its workspace's policy: each request asks for both.
_KEYS = """
    SELECT k.*, coalesce(p.version, 0) AS policy_version, w.status AS workspace_status
    FROM keys AS k JOIN directory AS w USING (workspace_id)
    LEFT JOIN workspace_policies AS p USING (workspace_id)
"""
_NOW_S = "extract(epoch FROM clock_timestamp())::double precision"
_KEEP_DEAD_S = 86_400  # a claim whose process died, and whose request nobody repeats
_MADE = f"""
    SELECT * FROM answers
    WHERE workspace_id = %s AND key = %s AND status IS NOT NULL AND expires_at > {_NOW_S}
"""  # noqa: S608 - the expression is ours
# A claim is taken if nobody has it, by whoever has it already, and after its lease has run out.
_CLAIM = f"""
    INSERT INTO answers AS a (workspace_id, key, request_sha256, owner, lease_until, expires_at)
    VALUES (%(workspace_id)s, %(key)s, %(request_sha256)s, %(owner)s,
        {_NOW_S} + %(lease_s)s, {_NOW_S} + %(lease_s)s + {_KEEP_DEAD_S})
    ON CONFLICT (workspace_id, key) DO UPDATE
    SET request_sha256 = excluded.request_sha256, owner = excluded.owner,
        lease_until = excluded.lease_until, expires_at = excluded.expires_at,
        status = NULL, body = NULL, headers = NULL
    WHERE CASE WHEN a.status IS NULL
        THEN a.owner = excluded.owner OR a.lease_until <= {_NOW_S}
        ELSE a.expires_at <= {_NOW_S} END
    RETURNING owner
"""  # noqa: S608
_SAVE = f"""
    INSERT INTO answers AS a (workspace_id, key, request_sha256, status, body, headers, expires_at)
    VALUES (%(workspace_id)s, %(key)s, %(request_sha256)s, %(status)s, %(body)s, %(headers)s,
        {_NOW_S} + %(keep_s)s)
    ON CONFLICT (workspace_id, key) DO UPDATE
    SET request_sha256 = excluded.request_sha256, status = excluded.status, body = excluded.body,
        headers = excluded.headers, expires_at = excluded.expires_at,
        owner = NULL, lease_until = NULL
    WHERE a.status IS NULL
"""  # noqa: S608
# Of a request that began before its workspace was closed for a move.
_LIVE = f"""
    SELECT 1 FROM answers WHERE workspace_id = %s AND key = %s AND owner = %s
    AND status IS NULL AND lease_until > {_NOW_S} FOR UPDATE
"""  # noqa: S608
_IS_OWNER = "SELECT 1 FROM answers WHERE workspace_id = %s AND key = %s AND owner = %s FOR UPDATE"
_RELEASE = "DELETE FROM answers WHERE workspace_id = %s AND key = %s AND owner = %s"
# SKIP LOCKED: two requests may drop expired answers at the same time, in any order.
_DROP_EXPIRED = f"""
    DELETE FROM answers WHERE (workspace_id, key) IN (
        SELECT workspace_id, key FROM answers
        WHERE workspace_id = %s AND expires_at <= {_NOW_S} FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608
_FORGETTINGS = "SELECT forgettings FROM workspaces WHERE workspace_id = %s"
_AT_DOOR = """
    SELECT w.*, coalesce(p.version, 0) AS policy_version
    FROM directory AS w LEFT JOIN workspace_policies AS p USING (workspace_id) WHERE w.name = %s
"""
_DIRECTORY_ROW = "SELECT * FROM directory WHERE name = %s"


class PostgresWorkspaces(PostgresTable):
    """The part of the catalog for access."""

    def ensure_workspace(self, name: str) -> Workspace:
        require_text(name, "a workspace name")
        with self._database.directory("read") as connection:
            row = first(connection, _DIRECTORY_ROW, name)
        if row is None:
            row = self._enter(Workspace(new_id("ws"), name, now()), DIRECTORY)
        return decode(Workspace, row)

    def create_workspace(self, name: str, shard: str = DIRECTORY) -> Workspace:
        """Create a workspace in a shard.

        Raises:
            UnknownItem: no such shard.
            NameTaken: there is a workspace of this name.
        """
        require_text(name, "a workspace name")
        if shard not in self._database.shards:
            raise UnknownItem("the settings name no such shard")
        new = Workspace(new_id("ws"), name, now())
        if self._enter(new, shard)["workspace_id"] != new.workspace_id:
            raise NameTaken("there is a workspace of this name")
        return new

    def find_workspace(self, name: str) -> Workspace | None:
        require_text(name, "a workspace name")
        with self._database.directory("read") as connection:
            row = first(connection, _DIRECTORY_ROW, name)
        return None if row is None else decode(Workspace, row)

    def workspace_at_door(self, name: str) -> tuple[Workspace, int] | None:
        require_text(name, "a workspace name")
        with self._database.door("read") as connection:
            row = first(connection, _AT_DOOR, name)
        return None if row is None else (decode(Workspace, row), row["policy_version"])

    def get_workspace(self, workspace_id: str) -> Workspace:
        query = "SELECT * FROM directory WHERE workspace_id = %s"
        with self._database.directory("read") as connection:
            row = first(connection, query, workspace_id)
        if row is None:
            raise UnknownItem("no such workspace")
        return decode(Workspace, row)

    def list_workspaces(self) -> tuple[Workspace, ...]:
        return tuple(workspace for workspace, _ in self.placed_workspaces())

    def placed_workspaces(self) -> tuple[tuple[Workspace, str], ...]:
        """(workspace, shard), oldest first."""
        with self._database.directory("read") as connection:
            rows = select(connection, "SELECT * FROM directory ORDER BY seq")
        return tuple((decode(Workspace, row), row["shard"]) for row in rows)

    def create_key(
        self, workspace_id: str, name: str, secret_sha256: str, grant: KeyGrant = FULL_GRANT
    ) -> KeyRecord:
        require_text(name, "a key name")
        require_text(secret_sha256, "the digest of a key")
        record = KeyRecord(new_id("key"), workspace_id, name, now(), grant)
        known = "SELECT 1 FROM directory WHERE workspace_id = %s"
        with self._database.directory("write") as connection:
            require_row(connection, "no such workspace", known, workspace_id)
            _insert_key(connection, record, secret_sha256)
        return record

    def find_key(self, secret_sha256: str) -> KeyRecord | None:
        query = f"""{_KEYS} WHERE k.secret_sha256 = %s AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > %s)
        """
        with self._database.door("read") as connection:
            row = first(connection, query, secret_sha256, now())
        if row is None or not is_open(row["workspace_status"]):
            return None
        return decode(KeyRecord, row)

    def list_keys(self, workspace_id: str) -> tuple[KeyRecord, ...]:
        query = f"{_KEYS} WHERE k.workspace_id = %s ORDER BY k.seq"
        with self._database.directory("read") as connection:
            return tuple(decode(KeyRecord, row) for row in select(connection, query, workspace_id))

    def revoke_key(self, workspace_id: str, key_id: str) -> KeyRecord:
        update = """
            UPDATE keys SET revoked_at = coalesce(revoked_at, %s)
            WHERE workspace_id = %s AND key_id = %s RETURNING *, 0 AS policy_version
        """
        missing = "no such key in this workspace"
        with self._database.directory("write") as connection:
            row = require_row(connection, missing, update, now(), workspace_id, key_id)
        return decode(KeyRecord, row)

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
        # FOR UPDATE: of two rotations at once, the second finds the key replaced.
        query = f"{_KEYS} WHERE k.workspace_id = %s AND k.key_id = %s FOR UPDATE OF k"
        update = """
            UPDATE keys SET replaced_by = %s, expires_at = least(expires_at, %s)
            WHERE workspace_id = %s AND key_id = %s
        """
        missing = "no such key in this workspace"
        with self._database.directory("write") as connection:
            row = require_row(connection, missing, query, workspace_id, key_id)
            record = successor_of(decode(KeyRecord, row), new_id("key"), expires_at)
            _insert_key(connection, record, secret_sha256)
            connection.execute(update, (record.key_id, old_until, workspace_id, key_id))
        return record

    def note_key_uses(self, used_at: Mapping[str, str]) -> None:
        update = "UPDATE keys SET last_used_at = greatest(last_used_at, %s) WHERE key_id = %s"
        # In the order of the ids: two replicas would wait for each other otherwise.
        with self._database.directory("write") as connection:
            for key_id, moment in sorted(used_at.items()):
                connection.execute(update, (moment, key_id))

    # answers ----------------------------------------------------------------------------------

    def find_answer(self, workspace_id: str, key: str) -> SavedAnswer | None:
        answers = self._select(SavedAnswer, workspace_id, _MADE, workspace_id, key)
        return next(iter(answers), None)

    def forgettings(self, workspace_id: str) -> int:
        with self._database.read(workspace_id) as connection:
            row = first(connection, _FORGETTINGS, workspace_id)
        return 0 if row is None else int(row["forgettings"])

    def claim_answer(
        self, workspace_id: str, key: str, request_sha256: str, *, owner: str, lease_s: float
    ) -> AnswerClaim:
        require_text(key, "an Idempotency-Key")
        claim = {
            "workspace_id": workspace_id,
            "key": key,
            "request_sha256": request_sha256,
            "owner": owner,
            "lease_s": lease_s,
        }
        with self._answering(workspace_id, key, owner) as connection:
            require_workspace(connection, workspace_id)
            # It waits for an erasure that drops the answer, so the count is read afterwards.
            is_mine = connection.execute(_CLAIM, claim).fetchone() is not None
            count = require_row(connection, "", _FORGETTINGS, workspace_id)["forgettings"]
            row = None if is_mine else first(connection, _MADE, workspace_id, key)
        saved = None if row is None else decode(SavedAnswer, row)
        return AnswerClaim(saved, is_mine, int(count))

    def release_answer(self, workspace_id: str, key: str, owner: str) -> None:
        with self._answering(workspace_id, key, owner) as connection:
            connection.execute(_RELEASE, (workspace_id, key, owner))

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
        scope = {"workspace_id": workspace_id, "key": key, "keep_s": keep_s}
        with self._answering(workspace_id, key, owner) as connection:
            require_workspace(connection, workspace_id)
            # First: an erasure that counts now waits for this answer, and then drops it.
            counted = first(connection, f"{_FORGETTINGS} FOR SHARE", workspace_id)
            connection.execute(_DROP_EXPIRED, (workspace_id,))
            is_mine = owner is None or bool(first(connection, _IS_OWNER, workspace_id, key, owner))
            if not is_mine:
                return
            if counted is None or forgettings not in (None, counted["forgettings"]):
                connection.execute(_RELEASE, (workspace_id, key, owner))
            else:
                connection.execute(_SAVE, scope | to_columns(answer))

    # --------------------------------------------------------------------------------------------

    @contextmanager
    def _answering(self, workspace_id: str, key: str, owner: str | None) -> Iterator[Connection]:
        """As ``write``; a move that has closed the workspace waits for requests with a claim.

        Otherwise one that has done its work could not keep its answer, and would be done again.
        """
        state = "SELECT state FROM workspaces WHERE workspace_id = %s"
        with self._database.finishing(workspace_id) as connection:
            row = first(connection, state, workspace_id)
            is_closed = row is not None and row["state"] != "active"
            if is_closed and first(connection, _LIVE, workspace_id, key, owner) is None:
                raise WorkspaceMoving("the workspace is being moved: try again later")
            yield connection

    def _enter(self, new: Workspace, shard: str) -> DictRow:
        """Write a workspace into the directory; return the row that has its name then."""
        values = to_columns(new) | {"shard": shard}
        with ExitStack() as stack:
            connection = stack.enter_context(self._database.everything(shard, "write"))
            # First: whoever finds it in the directory must find it in its shard.
            insert(connection, "workspaces", {"workspace_id": new.workspace_id})
            if shard != DIRECTORY:
                stack.close()
                connection = stack.enter_context(self._database.directory("write"))
            unless = "ON CONFLICT (name) DO NOTHING"
            insert(connection, "directory", values, otherwise=unless)
            row = require_row(connection, "no such workspace", _DIRECTORY_ROW, new.name)
        if row["workspace_id"] != new.workspace_id:  # another process was faster
            with self._database.everything(shard, "write") as connection:
                drop = "DELETE FROM workspaces WHERE workspace_id = %s"
                connection.execute(drop, (new.workspace_id,))
        return row


def _insert_key(connection: Connection, record: KeyRecord, secret_sha256: str) -> None:
    values = to_columns(record) | {"secret_sha256": secret_sha256}
    del values["policy_version"]  # of another table
    unless = "ON CONFLICT (secret_sha256) DO NOTHING"
    if insert(connection, "keys", values, otherwise=unless, returning="seq") is None:
        raise Conflict("a key with this secret exists already")
