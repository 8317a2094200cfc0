"""Long work that was asked for, and how far it is, in SQLite: it outlives the process."""

import sqlite3
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service.catalog.lifecycle_records import ENDED, Operation, State
from service.catalog.records import Page
from service.catalog.sqlite.codec import (
    decode_json,
    encode_object,
    new_id,
    new_page,
    now,
    require_limit,
    require_workspace,
)
from service.catalog.sqlite.database import Database
from service.errors import UnknownItem

KEEP_ENDED_S = 30 * 86_400.0

_INSERT = """
    INSERT INTO operations (
        workspace_id, operation_id, kind, state, request, done, total, cancel_asked, attempts,
        created_at, updated_at
    )
    VALUES (?, ?, ?, 'waiting', ?, 0, 0, 0, 0, ?, ?)
"""
_ONE = "SELECT * FROM operations WHERE workspace_id = ? AND operation_id = ?"
# What was asked may name subjects: it goes as soon as it is not needed to begin anew.
_END = """
    UPDATE operations SET state = ?, result = ?, problem = ?, request = '{}', updated_at = ?
    WHERE operation_id = ? AND state IN ('waiting', 'running')
"""


class OperationStore:
    """The part of the catalog that remembers long work."""

    _database: Database

    def create_operation(
        self, workspace_id: str, kind: str, request: Mapping[str, Any]
    ) -> Operation:
        """A waiting operation; those that ended over 30 days ago are dropped.

        Raises:
            UnknownItem: no such workspace.
            InputError: the request holds what JSON cannot hold.
        """
        operation_id, moment = new_id("op"), now()
        values = (workspace_id, operation_id, kind, encode_object(request), moment, moment)
        old = datetime.fromtimestamp(time.time() - KEEP_ENDED_S, UTC)
        drop = "DELETE FROM operations WHERE updated_at < ? AND state IN (?, ?, ?)"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            cutoff = old.isoformat(timespec="microseconds").replace("+00:00", "Z")
            connection.execute(drop, (cutoff, *sorted(ENDED)))
            connection.execute(_INSERT, values)
            return _require(connection, workspace_id, operation_id)

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Raises UnknownItem."""
        with self._database.read() as connection:
            return _require(connection, workspace_id, operation_id)

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        """Newest first, starting below the number ``before`` of an earlier page."""
        sql = """
            SELECT * FROM operations
            WHERE workspace_id = ? AND (? IS NULL OR seq < ?) ORDER BY seq DESC LIMIT ?
        """
        variables = (workspace_id, before, before, require_limit(limit) + 1)
        with self._database.read() as connection:
            rows = connection.execute(sql, variables).fetchall()
        numbers = {row["operation_id"]: row["seq"] for row in rows}
        found = [_decode(row) for row in rows]
        return new_page(found, limit, lambda item: str(numbers[item.operation_id]))

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """Those of every workspace that have not ended, oldest first."""
        sql = "SELECT * FROM operations WHERE state IN ('waiting', 'running') ORDER BY seq"
        with self._database.read() as connection:
            return tuple(_decode(row) for row in connection.execute(sql))

    def begin_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Note that it runs, and one attempt more. Raises UnknownItem."""
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
        """Note how far it is; the answer tells whether it is to stop. Raises UnknownItem."""
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
        """Note how it ended; one that has ended already stays as it is. Raises UnknownItem."""
        said = [None if found is None else encode_object(found) for found in (result, problem)]
        with self._database.write() as connection:
            connection.execute(_END, (state, *said, now(), operation_id))
            return _require(connection, workspace_id, operation_id)

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Ask it to stop: a waiting one ends at once, a running one at its next report.

        Raises:
            UnknownItem: no such operation in this workspace.
        """
        update = "UPDATE operations SET cancel_asked = 1 WHERE operation_id = ?"
        with self._database.write() as connection:
            found = _require(connection, workspace_id, operation_id)
            if found.state not in ENDED:
                connection.execute(update, (operation_id,))
            if found.state == "waiting":
                connection.execute(_END, ("cancelled", None, None, now(), operation_id))
            return _require(connection, workspace_id, operation_id)


def _require(connection: sqlite3.Connection, workspace_id: str, operation_id: str) -> Operation:
    row = connection.execute(_ONE, (workspace_id, operation_id)).fetchone()
    if row is None:
        raise UnknownItem("no such operation in this workspace")
    return _decode(row)


def _decode(row: sqlite3.Row) -> Operation:
    return Operation(
        operation_id=row["operation_id"],
        workspace_id=row["workspace_id"],
        kind=row["kind"],
        state=row["state"],
        request=decode_json(row["request"], dict),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        done=row["done"],
        total=row["total"],
        cancel_asked=bool(row["cancel_asked"]),
        attempts=row["attempts"],
        result=_object(row["result"]),
        problem=_object(row["problem"]),
    )


def _object(text: str | None) -> dict[str, Any] | None:
    return None if text is None else decode_json(text, dict)
