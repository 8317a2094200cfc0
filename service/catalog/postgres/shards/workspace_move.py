"""Moving a workspace to another database, while it can be read and not written.

The state of each copy says how far a move is, so whoever runs it again after a crash continues:

    1. read_only   the old copy; running writers are waited for
    2. arriving    the new copy, table by table in the order of the keys
    3. (compared)  every table of both copies
    4. moved       the old copy: nobody reads it any more
    5. active      the new copy, which nobody finds yet
    6. directory   now says where the new copy is: replicas go there
    7. (deleted)   the rows of the old copy; its state stays, for replicas that remember it

Between 4 and 6 the workspace cannot be reached; replicas wait a second for 6 and then answer
workspace_moving, until the move is run again.
"""

import time

from service.catalog.postgres.postgres_catalog import PostgresCatalog
from service.catalog.postgres.postgres_database import PostgresDatabase
from service.catalog.postgres.postgres_rows import first, require_row
from service.catalog.postgres.shards.row_deletion import OnStep as OnStep
from service.catalog.postgres.shards.row_deletion import delete_rows
from service.catalog.postgres.shards.row_numbers import NUMBERED, count_above
from service.catalog.postgres.shards.table_rows import (
    KEYS,
    Digest,
    PostgresRows,
    add_rows,
    all_rows,
    digests,
    newest_key,
    table_of,
)
from service.errors import CatalogFailure, Conflict, UnknownItem

WAIT_S = 60.0  # for operations and requests that run in the workspace
POLL_S = 0.5
_RUNNING = """
    SELECT count(*) AS n FROM operations
    WHERE workspace_id = %s AND state = 'running'
        AND lease_until > extract(epoch FROM clock_timestamp())
"""
_CLAIMS = """
    SELECT count(*) AS n FROM answers
    WHERE workspace_id = %s AND status IS NULL
        AND lease_until > extract(epoch FROM clock_timestamp())
"""
_STATE = "SELECT state FROM workspaces WHERE workspace_id = %s"


def move_workspace(
    catalog: PostgresCatalog, name: str, to: str, *, on_step: OnStep, wait_s: float = WAIT_S
) -> int:
    """Move a workspace; return the number of its rows in the other database.

    To the shard where it is: an earlier move is given up, or its end is tidied up.

    Args:
        on_step: called after each commit with what was done, and of how many rows.

    Raises:
        UnknownItem: no such workspace or shard.
        Conflict: operations or requests run in the workspace, or another command moves it.
        CatalogFailure: a database failed, or the copies differ; the workspace stays where it was.
    """
    database = catalog.database
    if to not in database.shards:
        raise UnknownItem("the settings name no such shard")
    placed = {
        workspace.name: (workspace, shard) for workspace, shard in catalog.placed_workspaces()
    }
    if name not in placed:
        raise UnknownItem("no workspace of this name")
    workspace_id = placed[name][0].workspace_id
    with catalog.once(f"move {workspace_id}") as is_mine:
        if not is_mine:
            raise Conflict("another command is moving this workspace")
        home = _home(database, workspace_id)
        if home == to:
            _settle(database, workspace_id, home, on_step)
            return 0
        move = WorkspaceMove(database, workspace_id, home, to, on_step)
        move.close_old(wait_s)
        rows = move.copy()
        move.switch()
        _settle(database, workspace_id, to, on_step)
        return rows


class WorkspaceMove:
    """The steps of one move; each may be done again."""

    def __init__(
        self, database: PostgresDatabase, workspace_id: str, home: str, to: str, on_step: OnStep
    ) -> None:
        self._database = database
        self._workspace_id = workspace_id
        self._home = home
        self._to = to
        self._on_step = on_step

    def close_old(self, wait_s: float) -> None:
        """Refuse new writes and wait for those that run. Raises Conflict: operations run."""
        deadline = time.monotonic() + wait_s
        while running := self._try_to_close():
            _set_state(self._database, self._home, self._workspace_id, "active")
            if time.monotonic() >= deadline:
                raise Conflict(
                    f"{running} operations run in the workspace: wait for them, or cancel them"
                )
            time.sleep(POLL_S)
        # Whoever has claimed an Idempotency-Key may still keep its answer; new claims are refused.
        while claims := self._counted(_CLAIMS):
            if time.monotonic() >= deadline:
                _set_state(self._database, self._home, self._workspace_id, "active")
                raise Conflict(f"{claims} requests have not ended: try again later")
            time.sleep(POLL_S)

    def _try_to_close(self) -> int:
        """The number of operations that run, while the workspace is closed to new writers."""
        # This alone waits for nobody, so new writers cannot hold it up for ever.
        _set_state(self._database, self._home, self._workspace_id, "read_only")
        try:
            running = self._counted(_RUNNING)
        except CatalogFailure:  # such as a writer that takes too long
            _set_state(self._database, self._home, self._workspace_id, "active")
            raise
        self._on_step("read_only", 0)
        return running

    def _counted(self, query: str) -> int:
        """The answer of a query, once all transactions of writers have ended."""
        with self._database.everything(self._home, "write") as connection:
            # A writer holds its workspace FOR KEY SHARE until it ends.
            lock = f"{_STATE} FOR UPDATE"
            require_row(connection, "no such workspace", lock, self._workspace_id)
            return int(require_row(connection, "", query, self._workspace_id)["n"])

    def copy(self) -> int:
        """Copy all rows and compare them; return their number. Raises CatalogFailure."""
        for attempt in range(2):
            self._arrive()
            rows = sum(self._copy_table(name) for name in KEYS)
            if self._is_same():
                return rows
            # Rows of an earlier move that was given up, in another state.
            delete_rows(self._database, self._to, self._workspace_id, self._on_step)
            if attempt:
                break
        _set_state(self._database, self._home, self._workspace_id, "active")
        raise CatalogFailure("the copy of the workspace differs: it stays where it was")

    def switch(self) -> None:
        """Let all replicas find the new copy. The order of the commits matters."""
        moved = "UPDATE directory SET shard = %s WHERE workspace_id = %s"
        # Before the directory: no replica may read the old copy while others write to the new one.
        _set_state(self._database, self._home, self._workspace_id, "moved")
        self._on_step("closed", 0)
        _set_state(self._database, self._to, self._workspace_id, "active")
        self._on_step("opened", 0)
        with self._database.directory("write") as connection:
            connection.execute(moved, (self._to, self._workspace_id))
        self._on_step("switched", 0)

    def _arrive(self) -> None:
        select = "SELECT forgettings, is_paused FROM workspaces WHERE workspace_id = %s"
        arrive = """
            INSERT INTO workspaces (workspace_id, state, forgettings, is_paused)
            VALUES (%s, 'arriving', %s, %s)
            ON CONFLICT (workspace_id) DO UPDATE
            SET state = excluded.state, forgettings = excluded.forgettings,
                is_paused = excluded.is_paused
        """
        with self._database.everything(self._home, "read") as connection:
            old = require_row(connection, "no such workspace", select, self._workspace_id)
        if _state(self._database, self._to, self._workspace_id) == "moved":  # it lived there once
            delete_rows(self._database, self._to, self._workspace_id, self._on_step)
        with self._database.everything(self._to, "write") as connection:
            values = (self._workspace_id, old["forgettings"], old["is_paused"])
            connection.execute(arrive, values)
        self._on_step("arriving", 0)

    def _copy_table(self, name: str) -> int:
        with self._database.everything(self._to, "read") as connection:
            table = table_of(connection, name, *KEYS[name])
            after = newest_key(connection, table, self._workspace_id)
        copied = 0
        with self._database.everything(self._home, "read") as source:
            for batch in all_rows(PostgresRows(source, self._workspace_id), table, after):
                with self._database.everything(self._to, "write") as target:
                    add_rows(target, table, batch)
                copied += len(batch)
                self._on_step(name, len(batch))
        if name in NUMBERED:
            with self._database.everything(self._to, "write") as target:
                newest = newest_key(target, table, self._workspace_id)
                if newest is not None:
                    count_above(target, name, newest[0])
        return copied

    def _is_same(self) -> bool:
        return all(
            self._digests(self._home, name) == self._digests(self._to, name) for name in KEYS
        )

    def _digests(self, shard: str, name: str) -> dict[str, Digest]:
        with self._database.everything(shard, "read") as connection:
            rows = PostgresRows(connection, self._workspace_id)
            return digests(rows, table_of(connection, name, *KEYS[name]), self._compared)

    def _compared(self, rows: int) -> None:
        self._on_step("compared", rows)


def _settle(database: PostgresDatabase, workspace_id: str, home: str, on_step: OnStep) -> None:
    """Delete all copies but the one where the directory says, and open that one."""
    _set_state(database, home, workspace_id, "active")
    for shard in database.shards:
        if shard == home:
            continue
        state = _state(database, shard, workspace_id)
        if state is not None:
            _set_state(database, shard, workspace_id, "moved")
            on_step("left", 0)
            delete_rows(database, shard, workspace_id, on_step)


def _home(database: PostgresDatabase, workspace_id: str) -> str:
    query = "SELECT shard FROM directory WHERE workspace_id = %s"
    with database.directory("read") as connection:
        return str(require_row(connection, "no such workspace", query, workspace_id)["shard"])


def _state(database: PostgresDatabase, shard: str, workspace_id: str) -> str | None:
    with database.everything(shard, "read") as connection:
        row = first(connection, _STATE, workspace_id)
    return None if row is None else str(row["state"])


def _set_state(database: PostgresDatabase, shard: str, workspace_id: str, state: str) -> None:
    change = "UPDATE workspaces SET state = %s WHERE workspace_id = %s"
    with database.everything(shard, "write") as connection:
        connection.execute(change, (state, workspace_id))
