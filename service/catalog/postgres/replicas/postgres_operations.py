"""Long work and its progress in PostgreSQL, where workers of all replicas claim it.

A claim is a lease by the clock of the database. Whoever claims an operation writes its own
``worker_id`` into the row, and every later write of a worker asks for it: a worker that was
thought dead changes nothing any more.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import count
from typing import Any

from psycopg.rows import DictRow

from service.catalog.codec import encode_json, to_columns
from service.catalog.ids import new_id, now, timestamp
from service.catalog.interface import Admit
from service.catalog.operation_records import (
    ENDED,
    KEEP_ENDED,
    NAMELESS,
    NamedItems,
    Operation,
    State,
)
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import once
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    first,
    insert,
    require_row,
    require_workspace,
    select,
)
from service.catalog.postgres.replicas.postgres_news import CHANNEL, PostgresNews
from service.catalog.records import Page, new_page
from service.catalog.validation import require_limit
from service.errors import CatalogFailure, LeaseLost

_LOCK = 0x4F7065  # of whoever counts what waits before it adds to it: "Ope"
_NOW_S = "extract(epoch FROM clock_timestamp())::double precision"
_DROP = """
    DELETE FROM operations
    WHERE workspace_id = %s AND updated_at < %s AND state IN ('done', 'failed', 'cancelled')
"""
_COUNT = """
    SELECT count(*) AS of_all, count(*) FILTER (WHERE turn = %s) AS of_turn
    FROM operations WHERE state = 'waiting'
"""
# A workspace that is being moved, or was, is left to its next database.
_NEXT = f"""
    SELECT o.operation_id, o.turn
    FROM operations AS o
    JOIN workspaces AS w ON w.workspace_id = o.workspace_id AND w.state = 'active'
        AND NOT w.is_paused
    LEFT JOIN operation_turns AS t ON t.turn = o.turn
    WHERE o.kind = ANY(%(kinds)s) AND NOT o.turn = ANY(%(busy)s) AND (
        o.state = 'waiting' OR (
            o.state = 'running' AND (o.worker_id IS NULL OR o.lease_until <= {_NOW_S})
        )
    )
    ORDER BY t.served_at NULLS FIRST, o.seq
    LIMIT 1
    FOR NO KEY UPDATE OF o SKIP LOCKED
    FOR KEY SHARE OF w SKIP LOCKED
"""  # noqa: S608 - the expression is ours
_BEGIN = f"""
    UPDATE operations
    SET state = 'running', attempts = attempts + 1, updated_at = %s,
        worker_id = %s, lease_until = {_NOW_S} + %s
    WHERE operation_id = %s RETURNING *
"""  # noqa: S608
_SERVE = f"""
    INSERT INTO operation_turns (turn, served_at) VALUES (%s, {_NOW_S})
    ON CONFLICT (turn) DO UPDATE SET served_at = excluded.served_at
"""  # noqa: S608
_OF_WORKER = " WHERE workspace_id = %s AND operation_id = %s AND worker_id = %s RETURNING *"
# Of a paused workspace no lease is renewed: the worker stops, and the operation waits.
_RENEW = f"""
    UPDATE operations SET lease_until = {_NOW_S} + %s
    WHERE workspace_id = %s AND operation_id = %s AND worker_id = %s AND NOT EXISTS (
        SELECT 1 FROM workspaces AS w
        WHERE w.workspace_id = operations.workspace_id AND w.is_paused
    ) RETURNING *
"""  # noqa: S608
_REPORT = f"UPDATE operations SET done = %s, total = %s, updated_at = %s{_OF_WORKER}"  # noqa: S608
# It stays 'running': whoever claims it next is told that it was begun before.
_RELEASE = f"""
    UPDATE operations SET attempts = greatest(attempts - 1, 1), worker_id = NULL,
        lease_until = NULL {_OF_WORKER}
"""  # noqa: S608
# A request may name subjects: it is deleted once it is not needed to start again.
_OUTCOME = """
    UPDATE operations SET state = %s, result = %s, problem = %s, request = '{}', updated_at = %s,
        worker_id = NULL, lease_until = NULL
"""
_END = _OUTCOME + _OF_WORKER


class PostgresOperations(PostgresTable):
    """The part of the catalog for long work."""

    _news: PostgresNews
    _rounds: "count[int]"

    def create_operation(
        self,
        workspace_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        names: NamedItems = NAMELESS,
        for_service: bool = False,
        admit: Admit | None = None,
    ) -> Operation:
        moment = now()
        new = Operation(
            new_id("op"), workspace_id, kind, "waiting", request, moment, moment, names=names
        )
        values = to_columns(new) | {"for_service": for_service}
        cutoff = timestamp(datetime.now(UTC) - KEEP_ENDED)
        with self._database.write(workspace_id) as connection:
            require_workspace(connection, workspace_id)
            if admit is not None:
                admit(*_waiting(connection, workspace_id, "" if for_service else workspace_id))
            connection.execute(_DROP, (workspace_id, cutoff))
            insert(connection, "operations", values)
            connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
            return _require(connection, workspace_id, new.operation_id)

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        with self._database.read(workspace_id) as connection:
            return _require(connection, workspace_id, operation_id)

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        query = """
            SELECT * FROM operations
            WHERE workspace_id = %s AND (%s::bigint IS NULL OR seq < %s)
            ORDER BY seq DESC LIMIT %s
        """
        variables = (workspace_id, before, before, require_limit(limit) + 1)
        with self._database.read(workspace_id) as connection:
            rows = select(connection, query, *variables)
        seqs = {row["operation_id"]: row["seq"] for row in rows}
        items = [decode(Operation, row) for row in rows]
        return new_page(items, limit, lambda item: str(seqs[item.operation_id]))

    def waiting_operations(self) -> tuple[int, float]:
        query = """
            SELECT count(*) AS n, min(o.created_at) AS oldest
            FROM operations AS o
            JOIN workspaces AS w ON w.workspace_id = o.workspace_id
            WHERE o.state = 'waiting' AND w.state IN ('active', 'read_only')
        """
        waiting, oldest_s = 0, 0.0
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                row = require_row(connection, "", query)
            waiting += row["n"]
            if row["oldest"] is not None:
                age = datetime.now(UTC) - datetime.fromisoformat(row["oldest"])
                oldest_s = max(oldest_s, age.total_seconds())
        return waiting, oldest_s

    def wait_for_work(self, timeout_s: float) -> None:
        self._news.wait(timeout_s)

    # of workers -------------------------------------------------------------------------------

    def claim_operation(
        self,
        worker_id: str,
        *,
        lease_s: float,
        kinds: Collection[str],
        busy: Collection[str] = (),
    ) -> Operation | None:
        wanted = {"kinds": list(kinds), "busy": list(busy)}
        shards = self._database.shards
        start = next(self._rounds)  # shards take turns as well
        failure: CatalogFailure | None = None
        for n in range(len(shards)):
            try:
                claimed = self._claim(shards[(start + n) % len(shards)], wanted, worker_id, lease_s)
            except CatalogFailure as error:  # the others have work, too
                failure = error
                continue
            if claimed is not None:
                return claimed
        if failure is not None:
            raise failure
        return None

    def _claim(
        self, shard: str, wanted: Mapping[str, Any], worker_id: str, lease_s: float
    ) -> Operation | None:
        with self._database.everything(shard, "write") as connection:
            chosen = connection.execute(_NEXT, wanted).fetchone()
            if chosen is None:
                return None
            connection.execute(_SERVE, (chosen["turn"],))
            begin = (now(), worker_id, lease_s, chosen["operation_id"])
            return decode(Operation, require_row(connection, "", _BEGIN, *begin))

    def renew_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, lease_s: float
    ) -> Operation:
        return self._change(_RENEW, [lease_s], workspace_id, operation_id, worker_id)

    def report_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, done: int, total: int
    ) -> Operation:
        return self._change(_REPORT, [done, total, now()], workspace_id, operation_id, worker_id)

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        worker_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        outcome = [part if part is None else encode_json(part) for part in (result, problem)]
        values = [state, *outcome, now()]
        return self._change(_END, values, workspace_id, operation_id, worker_id)

    def release_operation(self, workspace_id: str, operation_id: str, worker_id: str) -> Operation:
        return self._change(_RELEASE, [], workspace_id, operation_id, worker_id, is_news=True)

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        ask = "UPDATE operations SET cancel_asked = true WHERE operation_id = %s"
        end = _OUTCOME + " WHERE operation_id = %s"
        with self._database.write(workspace_id) as connection:
            # Locked: a worker may claim it at this moment.
            operation = _require(connection, workspace_id, operation_id, lock=True)
            if operation.state not in ENDED:
                connection.execute(ask, (operation_id,))
            if operation.state == "waiting":
                connection.execute(end, ("cancelled", None, None, now(), operation_id))
            return _require(connection, workspace_id, operation_id)

    def once(self, name: str) -> AbstractContextManager[bool]:
        """See ``Catalog``; the lock of ``postgres_locks``."""
        return once(self._database, name)

    # --------------------------------------------------------------------------------------------

    def _change(
        self,
        update: str,
        values: list[Any],
        workspace_id: str,
        operation_id: str,
        worker_id: str,
        *,
        is_news: bool = False,
    ) -> Operation:
        """The operation after a write of its worker. Raises UnknownItem, LeaseLost."""
        with self._database.write(workspace_id) as connection:
            row = first(connection, update, *values, workspace_id, operation_id, worker_id)
            if row is None:
                _require(connection, workspace_id, operation_id)
                raise LeaseLost("the operation has ended, or another worker has taken it over")
            if is_news:
                connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
            return decode(Operation, row)


def _waiting(connection: Connection, workspace_id: str, turn: str) -> tuple[int, int]:
    """How many operations wait in this database, and of a turn; one caller counts at a time."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    enter = "SELECT set_config('app.workspace', %s, true)"
    connection.execute(enter, ("*",))
    row = require_row(connection, "", _COUNT, turn)
    connection.execute(enter, (workspace_id,))
    return row["of_all"], row["of_turn"]


def _require(
    connection: Connection, workspace_id: str, operation_id: str, *, lock: bool = False
) -> Operation:
    query = "SELECT * FROM operations WHERE workspace_id = %s AND operation_id = %s"
    if lock:
        query += " FOR NO KEY UPDATE"
    row: DictRow = require_row(
        connection, "no such operation in this workspace", query, workspace_id, operation_id
    )
    return decode(Operation, row)
