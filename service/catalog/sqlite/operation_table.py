"""Long work and its progress in SQLite, which outlives the process."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from service.catalog.codec import encode_json, to_columns
from service.catalog.ids import new_id, now, timestamp
from service.catalog.operation_records import ENDED, Operation, State
from service.catalog.records import Page, new_page
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    require_row,
    require_workspace,
)
from service.catalog.validation import require_limit

KEEP_ENDED = timedelta(days=30)

# A request may name subjects: it is deleted once it is not needed to start again.
_END = """
    UPDATE operations SET state = ?, result = ?, problem = ?, request = '{}', updated_at = ?
    WHERE operation_id = ? AND state IN ('waiting', 'running')
"""


class SqliteOperations(SqliteTable):
    """The part of the catalog for long work."""

    def create_operation(
        self, workspace_id: str, kind: str, request: Mapping[str, Any]
    ) -> Operation:
        moment = now()
        new = Operation(new_id("op"), workspace_id, kind, "waiting", request, moment, moment)
        values = to_columns(new)
        cutoff = timestamp(datetime.now(UTC) - KEEP_ENDED)
        drop = "DELETE FROM operations WHERE updated_at < ? AND state IN (?, ?, ?)"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            connection.execute(drop, (cutoff, *sorted(ENDED)))
            insert(connection, "operations", values)
            return _require(connection, workspace_id, new.operation_id)

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        with self._database.read() as connection:
            return _require(connection, workspace_id, operation_id)

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
        items = [decode(Operation, row) for row in rows]
        return new_page(items, limit, lambda item: str(seqs[item.operation_id]))

    def unfinished_operations(self) -> tuple[Operation, ...]:
        sql = "SELECT * FROM operations WHERE state IN ('waiting', 'running') ORDER BY seq"
        return tuple(self._select(Operation, sql))

    def begin_operation(self, workspace_id: str, operation_id: str) -> Operation:
        update = """
            UPDATE operations SET state = 'running', attempts = attempts + 1, updated_at = ?
            WHERE operation_id = ? AND state IN ('waiting', 'running')
        """
        with self._database.write() as connection:
            connection.execute(update, (now(), operation_id))
            return _require(connection, workspace_id, operation_id)

    def report_operation(
        self, workspace_id: str, operation_id: str, *, done: int, total: int
    ) -> Operation:
        update = "UPDATE operations SET done = ?, total = ?, updated_at = ? WHERE operation_id = ?"
        with self._database.write() as connection:
            connection.execute(update, (done, total, now(), operation_id))
            return _require(connection, workspace_id, operation_id)

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        outcome = [part if part is None else encode_json(part) for part in (result, problem)]
        with self._database.write() as connection:
            connection.execute(_END, (state, *outcome, now(), operation_id))
            return _require(connection, workspace_id, operation_id)

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        update = "UPDATE operations SET cancel_asked = 1 WHERE operation_id = ?"
        with self._database.write() as connection:
            operation = _require(connection, workspace_id, operation_id)
            if operation.state not in ENDED:
                connection.execute(update, (operation_id,))
            if operation.state == "waiting":
                connection.execute(_END, ("cancelled", None, None, now(), operation_id))
            return _require(connection, workspace_id, operation_id)


def _require(connection: sqlite3.Connection, workspace_id: str, operation_id: str) -> Operation:
    sql = "SELECT * FROM operations WHERE workspace_id = ? AND operation_id = ?"
    missing = "no such operation in this workspace"
    return decode(Operation, require_row(connection, missing, sql, workspace_id, operation_id))
