"""The databases of one catalog: connection pools, transactions and the translation of errors.

One database is the directory: it knows all workspaces and keys, and in which database (shard) the
rest of each workspace lives. Without shards it is the only one. No transaction spans two.

Every ``psycopg.Error`` leaves this room as a CatalogFailure with the SQLSTATE of the error, never
with its text, which may quote stored data.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Literal, TypeAlias

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from service.catalog.postgres.postgres_schema import require_schema
from service.errors import CatalogFailure, InputError, UnknownItem, WorkspaceMoving

log = logging.getLogger(__name__)
Connection: TypeAlias = psycopg.Connection[DictRow]
ALL_WORKSPACES = "*"
DIRECTORY = ""  # name of the shard that is the database of the directory
MAX_CONNECTIONS = 16  # of one process to one database
WAIT_S = 1.5  # for a free connection; a lost database is told after so long
OPEN_S = 5.0  # for the first connection, which no request waits for; a busy server takes a second
MIN_WAIT_S = 0.1  # for it, after the wait for a place
CONNECT_S = 2
CHECK_S = 1.8  # readiness falls within two seconds
POOL_LINE_EVERY_S = 30.0
SWITCH_S, SWITCHES = 1.0, 20  # wait for the end of a move, and how often it is looked for
DOOR_CONNECTIONS = 2  # only for keys and readiness, which wait for no work of a workspace
STALE = 3  # connections that may turn out to be broken before a request gives up
# A server that is gone without a word must not hold a request for the minutes of TCP's defaults.
_OPTIONS: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "application_name": "sonoprobe",
    # Compiling a statement takes longer than any of ours runs.
    "options": "-c synchronous_commit=on -c timezone=UTC -c lock_timeout=10s -c jit=off"
    " -c idle_in_transaction_session_timeout=60s",
    "row_factory": dict_row,
}
_ENTER = """
    SELECT set_config('app.workspace', %(workspace_id)s, true), (
        SELECT state FROM workspaces WHERE workspace_id = %(workspace_id)s
    ) AS state
"""
# A move waits for running writers: FOR UPDATE conflicts with FOR KEY SHARE.
_ENTER_TO_WRITE = _ENTER.replace(") AS state", "FOR KEY SHARE ) AS state")
ENTER_ALL = "SELECT set_config('app.workspace', '*', true)"
_PLACE = """
    SELECT s.shard, r.rolsuper OR r.rolbypassrls AS is_above,
        EXISTS (SELECT 1 FROM arrivals WHERE ended_at IS NULL) AS arrives
    FROM catalog_schema AS s, pg_roles AS r WHERE r.rolname = current_user
"""
Mode: TypeAlias = Literal["read", "write"]


class PostgresDatabase:
    """Transactions over the databases of one catalog, from any thread.

    Args:
        url: of the directory.
        shards: name -> url of further databases.
        max_connections: of this process to each database.
        may_arrive: open a catalog of which a part is not copied yet.

    Raises:
        CatalogFailure: a database is not reachable, or has another schema.
    """

    def __init__(
        self,
        url: str,
        shards: Mapping[str, str] | None = None,
        *,
        max_connections: int = MAX_CONNECTIONS,
        may_arrive: bool = False,
    ) -> None:
        self._places: dict[str, str] = {}  # workspace_id -> shard, as last read
        self._lock = threading.Lock()
        self._closed = False
        self._checked: Future[None] | None = None
        logging.getLogger("psycopg.pool").addFilter(_pool_lines)
        self._urls = urls = {DIRECTORY: url, **(shards or {})}
        self._pools: dict[str, ConnectionPool[Connection]] = {}
        kept = min(DOOR_CONNECTIONS, max_connections // 4)
        self._work = {name: threading.BoundedSemaphore(max_connections - kept) for name in urls}
        with ExitStack() as opened:
            for name, of_shard in urls.items():
                self._pools[name] = _pool(of_shard, max_connections)
                opened.callback(self._pools[name].close)
                with translated():
                    self._pools[name].wait(OPEN_S)
                with self.everything(name, "read") as connection:
                    require_schema(connection)
                    _require_place(connection, name, may_arrive=may_arrive)
            opened.pop_all()

    # of one workspace -----------------------------------------------------------------------

    @contextmanager
    def write(self, workspace_id: str) -> Iterator[Connection]:
        """Lend a connection in a transaction: committed at a normal exit, else undone.

        Raises:
            WorkspaceMoving: the workspace is on its way to another shard.
        """
        with self._of_workspace(workspace_id, "write") as connection:
            yield connection

    @contextmanager
    def read(self, workspace_id: str) -> Iterator[Connection]:
        """Lend a connection that sees one moment: all writes before it, none after it."""
        with self._of_workspace(workspace_id, "read") as connection:
            yield connection

    @contextmanager
    def finishing(self, workspace_id: str) -> Iterator[Connection]:
        """As ``write``, also in a workspace that is closed for a move, which waits for it.

        Only for what ends work that began before: the caller asks for its lease.
        """
        with self._of_workspace(workspace_id, "write", is_finishing=True) as connection:
            yield connection

    # of all workspaces ----------------------------------------------------------------------

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of all databases; the first is the directory."""
        return tuple(self._pools)

    @contextmanager
    def everything(self, shard: str, mode: Mode) -> Iterator[Connection]:
        """Lend a connection to one database that sees all workspaces, in a transaction."""
        with translated(), self._transaction(shard, mode, ENTER_ALL, {}) as (connection, _):
            yield connection

    @contextmanager
    def directory(self, mode: Mode) -> Iterator[Connection]:
        """As ``everything``, of the database that knows workspaces and keys."""
        with self.everything(DIRECTORY, mode) as connection:
            yield connection

    @contextmanager
    def door(self, mode: Mode) -> Iterator[Connection]:
        """As ``directory``, of the connections that work never takes; for a moment only."""
        begun = self._transaction(DIRECTORY, mode, ENTER_ALL, {}, is_at_door=True)
        with translated(), begun as (connection, _):
            yield connection

    @contextmanager
    def outside(self, shard: str) -> Iterator[Connection]:
        """Lend a connection in autocommit mode, for VACUUM, LISTEN and locks of a session."""
        with translated(), self._lent(shard) as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                try:
                    connection.execute("SELECT pg_advisory_unlock_all()")
                    connection.execute("UNLISTEN *")
                    connection.autocommit = False
                except psycopg.Error:  # the block has done its work; the locks end with this
                    connection.close()

    @contextmanager
    def apart(self, shard: str) -> Iterator[Connection]:
        """A connection of its own in autocommit mode, for work that lasts as long as the process.

        Raises:
            psycopg.Error: not reachable.
        """
        self.require_open()
        options = _OPTIONS | {"autocommit": True}
        with closing(psycopg.connect(self._urls[shard], **options)) as connection:
            yield connection

    def shard_of(self, workspace_id: str) -> str:
        """Where a workspace lives as far as this process knows; unknown ones: the directory."""
        shard = self._places.get(workspace_id)
        if shard is None:
            shard = self._look_up(workspace_id)
        return shard

    def check(self) -> None:
        """Commit a write in the directory. Raises CatalogFailure: it does not answer in time.

        A lost shard is no reason to turn away the workspaces of the others.
        """
        with self._lock:
            checked = self._checked
            if checked is None or checked.done():
                # In a thread, because a server that is gone without a word answers nothing.
                checked = self._checked = Future()
                threading.Thread(target=self._check, args=[checked], daemon=True).start()
        try:
            checked.result(CHECK_S)
        except TimeoutError as error:
            raise CatalogFailure("the database does not answer") from error

    def _check(self, checked: "Future[None]") -> None:
        try:
            with self.door("write") as connection:
                # A transaction without changes writes nothing, so it would prove nothing.
                connection.execute("SELECT pg_current_xact_id()")
            checked.set_result(None)
        except BaseException as error:
            checked.set_exception(error)

    def close(self) -> None:
        """Close all connections. Closing twice is allowed."""
        with self._lock:
            self._closed = True
        for pool in self._pools.values():
            pool.close()

    # ------------------------------------------------------------------------------------------

    @contextmanager
    def _of_workspace(
        self, workspace_id: str, mode: Mode, *, is_finishing: bool = False
    ) -> Iterator[Connection]:
        if workspace_id == ALL_WORKSPACES:
            raise UnknownItem("no such workspace")
        enter = _ENTER_TO_WRITE if mode == "write" else _ENTER
        variables = {"workspace_id": workspace_id}
        with translated(), ExitStack() as lent:
            for _attempt in range(SWITCHES):
                shard = self.shard_of(workspace_id)
                begun = self._transaction(shard, mode, enter, variables)
                connection, state = lent.enter_context(begun)
                if state in ("active", "read_only"):
                    break
                # It moved since this process looked, or was created by another one.
                self._places.pop(workspace_id, None)
                if self.shard_of(workspace_id) == shard:
                    if state is None:
                        break  # there is no such workspace
                    # Between two commits of a move its old copy is closed, and the next is
                    # not in the directory yet.
                    time.sleep(SWITCH_S / SWITCHES)
                lent.close()
            is_open = state == "read_only" and (mode == "read" or is_finishing)
            if state not in (None, "active") and not is_open:
                raise WorkspaceMoving("the workspace is being moved: try again later")
            yield connection

    def _look_up(self, workspace_id: str) -> str:
        select = "SELECT shard FROM directory WHERE workspace_id = %s"
        with self.directory("read") as connection:
            row = connection.execute(select, (workspace_id,)).fetchone()
        if row is None:
            return DIRECTORY
        if row["shard"] not in self._pools:
            raise CatalogFailure("the workspace lives in a shard that the settings do not name")
        self._places[workspace_id] = row["shard"]
        return str(row["shard"])

    @contextmanager
    def _transaction(
        self,
        shard: str,
        mode: Mode,
        enter: str,
        variables: Mapping[str, str],
        *,
        is_at_door: bool = False,
    ) -> Iterator[tuple[Connection, str | None]]:
        """Lend a connection after its first statement; also the state that this one answers."""
        with ExitStack() as lent:
            for attempt in range(STALE + 1):
                connection = lent.enter_context(self._lent(shard, is_at_door=is_at_door))
                connection.read_only = mode == "read"
                connection.isolation_level = (
                    psycopg.IsolationLevel.REPEATABLE_READ
                    if mode == "read"
                    else psycopg.IsolationLevel.READ_COMMITTED
                )
                try:
                    row = connection.execute(enter, variables).fetchone()
                    break
                except psycopg.OperationalError:
                    # The server went away while the connection was idle: nothing was done yet.
                    if not connection.broken or attempt == STALE:
                        raise
                    lent.close()
            yield connection, None if row is None else row.get("state")

    @contextmanager
    def _lent(self, shard: str, *, is_at_door: bool = False) -> Iterator[Connection]:
        """Lend a connection of the pool. Raises PoolTimeout."""
        end_s, pool = time.monotonic() + WAIT_S, self._pool(shard)
        with ExitStack() as held:
            if not is_at_door:
                if not self._work[shard].acquire(timeout=WAIT_S):
                    raise PoolTimeout("all connections for work are in use")
                held.callback(self._work[shard].release)
            left_s = max(MIN_WAIT_S, end_s - time.monotonic())
            yield held.enter_context(pool.connection(timeout=left_s))

    def require_open(self) -> None:
        """Raises CatalogFailure: it was closed."""
        if self._closed:
            raise CatalogFailure("the catalog is closed")

    def _pool(self, shard: str) -> "ConnectionPool[Connection]":
        self.require_open()
        return self._pools[shard]


def _pool(url: str, max_connections: int) -> "ConnectionPool[Connection]":
    return ConnectionPool(
        url,
        kwargs=_OPTIONS,
        min_size=1,
        max_size=max_connections,
        timeout=WAIT_S,
        max_idle=300,
        reconnect_timeout=5,  # afterwards the next request starts the attempts anew
        configure=_configure,
        open=True,
    )


def _require_place(connection: Connection, name: str, *, may_arrive: bool) -> None:
    """Raises CatalogFailure: another database than the name says, or a catalog is on its way."""
    found = connection.execute(_PLACE).fetchone() or {}
    if found.get("shard") != name:
        raise CatalogFailure(
            "an address leads to the database of another shard, or to one that is no shard yet: "
            "compare SONOPROBE_SHARDS, and run sonoprobe migrate"
        )
    if found["arrives"] and not may_arrive:
        raise CatalogFailure("a catalog is being copied to here: let sonoprobe copy end")
    if found["is_above"]:
        log.warning(
            "row-level security does not hold for the role of the database: use one that is no "
            "superuser and has no BYPASSRLS",
            extra={"shard": name},
        )


class PoolLines(logging.Filter):
    """Lets each kind of line through once in a while: the pool tells of every attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        if record.created < self._next_s.get(record.msg, 0.0):
            return False
        self._next_s[record.msg] = record.created + POOL_LINE_EVERY_S
        return True


_pool_lines = PoolLines()


def _configure(connection: Connection) -> None:
    with suppress(psycopg.ProgrammingError):  # no extension, no catalog: told by its schema
        register_vector(connection)


@contextmanager
def translated() -> Iterator[None]:
    """Translate errors of the driver, without their text."""
    try:
        yield
    except PoolTimeout as error:
        raise CatalogFailure("the database does not answer") from error
    except psycopg.errors.NumericValueOutOfRange as error:
        raise InputError("an integer must fit in 64 bits") from error
    except psycopg.errors.ProgramLimitExceeded as error:
        raise InputError("a name is too long for an index of the database") from error
    except psycopg.DataError as error:
        if error.sqlstate is None:  # the driver refused it
            raise InputError("text must not contain NUL characters") from error
        raise CatalogFailure(f"the catalog failed with {error.sqlstate}") from error
    except psycopg.Error as error:
        name = error.sqlstate or type(error).__name__
        raise CatalogFailure(f"the catalog failed with {name}") from error
    except UnicodeEncodeError as error:
        raise InputError("text must be valid Unicode, got a lone surrogate") from error
