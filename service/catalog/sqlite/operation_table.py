"""Long work and its progress in SQLite, which outlives the process.

Leases and turns are in memory, because one process uses the file: what an earlier process left
running is held by nobody.
"""

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from service.catalog.codec import encode_json, to_columns
from service.catalog.ids import new_id, now, timestamp
from service.catalog.interface import Admit
from service.catalog.leases import Leases
from service.catalog.operation_records import (
    ENDED,
    KEEP_ENDED,
    NAMELESS,
    NamedItems,
    Operation,
    State,
)
from service.catalog.records import Page, new_page
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    json_list,
    require_row,
    require_workspace,
)
from service.catalog.validation import require_limit
from service.errors import LeaseLost

_DROP = "DELETE FROM operations WHERE updated_at < ? AND state IN ('done', 'failed', 'cancelled')"
_WAITING = "SELECT operation_id, workspace_id FROM operations WHERE state = 'waiting'"
_UNFINISHED = """
    SELECT operation_id, workspace_id FROM operations
    WHERE state IN ('waiting', 'running') AND kind IN (SELECT value FROM json_each(?))
    AND workspace_id IN (SELECT workspace_id FROM workspaces WHERE status = 'active')
    ORDER BY seq
"""
_PAUSED = "SELECT 1 FROM workspaces WHERE workspace_id = ? AND status <> 'active'"
_BEGIN = """
    UPDATE operations SET state = 'running', attempts = attempts + 1, updated_at = ?
    WHERE operation_id = ?
"""
# A request may name subjects: it is deleted once it is not needed to start again.
_END = """
    UPDATE operations SET state = ?, result = ?, problem = ?, request = '{}', updated_at = ?
    WHERE operation_id = ? AND state IN ('waiting', 'running')
"""


class OperationQueue:
    """Who works on which operation, and whose turn it is; in memory.

    Attributes:
        leases: by operation id.
        for_service: ids of operations that take turns of the service.
        served: number of the last claim of each turn; change it only while writing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.leases = Leases(clock)
        self.for_service: set[str] = set()
        self.served: dict[str, int] = {}
        self.numbers = itertools.count()
        self._news = threading.Condition()

    def turn(self, row: sqlite3.Row) -> str:
        """``Operation.turn`` of a row."""
        return "" if row["operation_id"] in self.for_service else str(row["workspace_id"])

    def wake(self) -> None:
        """Let workers look for work."""
        with self._news:
            self._news.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Return at the next ``wake``, or when the time is over."""
        with self._news:
            self._news.wait(timeout_s)


class SqliteOperations(SqliteTable):
    """The part of the catalog for long work."""

    _queue: OperationQueue

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
        values = to_columns(new)
        del values["for_service"]
        cutoff = timestamp(datetime.now(UTC) - KEEP_ENDED)
        turn = "" if for_service else workspace_id
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if admit is not None:
                turns = [self._queue.turn(row) for row in connection.execute(_WAITING)]
                admit(len(turns), turns.count(turn))
            connection.execute(_DROP, (cutoff,))
            insert(connection, "operations", values)
            if for_service:  # while writing, so that nobody claims it as the workspace's
                self._queue.for_service.add(new.operation_id)
            operation = self._require(connection, workspace_id, new.operation_id)
        self._queue.wake()
        return operation

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        with self._database.read() as connection:
            return self._require(connection, workspace_id, operation_id)

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        sql = """
            SELECT * FROM operations
            WHERE workspace_id = ? AND (? IS NULL OR seq < ?) ORDER BY seq DESC LIMIT ?
        """
        variables = (workspace_id, before, before, require_limit(limit) + 1)
        with self._database.read() as connection:
            rows = connection.execute(sql, variables).fetchall()
        seqs = {row["operation_id"]: row["seq"] for row in rows}
        items = [self._operation(row) for row in rows]
        return new_page(items, limit, lambda item: str(seqs[item.operation_id]))

    def waiting_operations(self) -> tuple[int, float]:
        sql = "SELECT count(*), min(created_at) FROM operations WHERE state = 'waiting'"
        with self._database.read() as connection:
            count, oldest = connection.execute(sql).fetchone()
        if oldest is None:
            return 0, 0.0
        age = datetime.now(UTC) - datetime.fromisoformat(oldest)
        return int(count), max(0.0, age.total_seconds())

    def wait_for_work(self, timeout_s: float) -> None:
        with self._database.read():  # refuses a closed catalog
            pass
        self._queue.wait(timeout_s)

    def claim_operation(
        self,
        worker_id: str,
        *,
        lease_s: float,
        kinds: Collection[str],
        busy: Collection[str] = (),
    ) -> Operation | None:
        queue = self._queue
        with self._database.read() as connection:
            if self._next(connection, kinds, busy) is None:
                return None  # idle workers must not keep writers waiting
        with self._database.write() as connection:
            row = self._next(connection, kinds, busy)
            if row is None:
                return None
            operation_id, turn = row["operation_id"], queue.turn(row)
            # If the write fails, the lease has to run out first: a full disk is not tried again
            # without end.
            queue.leases.take(operation_id, worker_id, lease_s=lease_s)
            queue.served[turn] = next(queue.numbers)
            connection.execute(_BEGIN, (now(), operation_id))
            return self._require(connection, row["workspace_id"], operation_id)

    def _next(
        self, connection: sqlite3.Connection, kinds: Collection[str], busy: Collection[str]
    ) -> sqlite3.Row | None:
        """The operation to claim."""
        queue = self._queue
        rows = [
            row
            for row in connection.execute(_UNFINISHED, (json_list(kinds),))
            if queue.turn(row) not in busy and queue.leases.is_free(row["operation_id"])
        ]
        # Of equals, ``min`` takes the first, which is the oldest.
        return min(rows, key=lambda row: queue.served.get(queue.turn(row), -1), default=None)

    def renew_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, lease_s: float
    ) -> Operation:
        with self._database.read() as connection:
            operation = self._held(connection, workspace_id, operation_id, worker_id)
            if connection.execute(_PAUSED, (workspace_id,)).fetchone() is not None:
                raise LeaseLost("the workspace is suspended or being deleted")
        if not self._queue.leases.renew(operation_id, worker_id, lease_s=lease_s):
            raise _lost()
        return operation

    def report_operation(
        self, workspace_id: str, operation_id: str, worker_id: str, *, done: int, total: int
    ) -> Operation:
        update = "UPDATE operations SET done = ?, total = ?, updated_at = ? WHERE operation_id = ?"
        with self._database.write() as connection:
            self._held(connection, workspace_id, operation_id, worker_id)
            connection.execute(update, (done, total, now(), operation_id))
            return self._require(connection, workspace_id, operation_id)

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
        with self._database.write() as connection:
            self._held(connection, workspace_id, operation_id, worker_id)
            connection.execute(_END, (state, *outcome, now(), operation_id))
            operation = self._require(connection, workspace_id, operation_id)
        self._queue.leases.release(operation_id, worker_id)
        self._queue.for_service.discard(operation_id)
        return operation

    def release_operation(self, workspace_id: str, operation_id: str, worker_id: str) -> Operation:
        update = "UPDATE operations SET attempts = max(attempts - 1, 1) WHERE operation_id = ?"
        with self._database.write() as connection:
            self._held(connection, workspace_id, operation_id, worker_id)
            connection.execute(update, (operation_id,))
            operation = self._require(connection, workspace_id, operation_id)
        self._queue.leases.release(operation_id, worker_id)
        self._queue.wake()
        return operation

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        update = "UPDATE operations SET cancel_asked = 1 WHERE operation_id = ?"
        with self._database.write() as connection:
            operation = self._require(connection, workspace_id, operation_id)
            if operation.state not in ENDED:
                connection.execute(update, (operation_id,))
            if operation.state == "waiting":
                connection.execute(_END, ("cancelled", None, None, now(), operation_id))
            return self._require(connection, workspace_id, operation_id)

    def _require(
        self, connection: sqlite3.Connection, workspace_id: str, operation_id: str
    ) -> Operation:
        sql = "SELECT * FROM operations WHERE workspace_id = ? AND operation_id = ?"
        missing = "no such operation in this workspace"
        row = require_row(connection, missing, sql, workspace_id, operation_id)
        return self._operation(row)

    def _operation(self, row: sqlite3.Row) -> Operation:
        return decode(Operation, row, for_service=row["operation_id"] in self._queue.for_service)

    def _held(
        self, connection: sqlite3.Connection, workspace_id: str, operation_id: str, worker_id: str
    ) -> Operation:
        """The operation of a worker. Claims are written, so none happens while one writes."""
        operation = self._require(connection, workspace_id, operation_id)
        if operation.state in ENDED or self._queue.leases.holder(operation_id) != worker_id:
            raise _lost()
        return operation


def _lost() -> LeaseLost:
    return LeaseLost("the operation has ended, or another worker has taken it over")
