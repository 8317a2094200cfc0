"""One SQLite file: one writer behind a lock, a pool of readers, and the translation of errors.

Every ``sqlite3.Error`` leaves this room as a CatalogFailure with SQLite's name of the error,
never with its text, which may quote stored data.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.catalog.data_folder import make_private
from service.catalog.sqlite import migration, schema
from service.errors import CatalogFailure, InputError

BUSY_TIMEOUT_S = 10.0
EMPTYING_TIMEOUT_S = 0.1  # writers wait meanwhile
EMPTYING_EVERY_S = 0.5  # after readers prevented it
MAX_IDLE_READERS = 8
_VERSION_IN_HEADER = slice(60, 64)  # user_version, big endian (sqlite.org/fileformat2.html)


class Database:
    """Transactions over one file, from any thread.

    Args:
        path: absolute path of the file; created if there is none, and migrated from older schemas.

    Raises:
        CatalogFailure: not a catalog, damaged, of another schema, or not writable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._readers = threading.Condition()
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0
        self._closed = False
        self._empty_log_at_s: float | None = None  # monotonic; None = it holds nothing deleted
        make_private(path)  # first: SQLite gives its log the mode of the file
        with translated():
            self._writer = connect(path, mode="rwc")
            try:
                _prepare_writer(self._writer)
            except BaseException:
                self._writer.close()
                raise

    @property
    def path(self) -> Path:
        """Of the file, absolute."""
        return self._path

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend the writer in a transaction: committed at a normal exit, undone at an exception."""
        with self._write_lock, translated():
            self._refuse_closed()
            # IMMEDIATE takes the lock now; a deferred transaction may fail later with SQLITE_BUSY.
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            if self._empty_log_at_s is not None and time.monotonic() >= self._empty_log_at_s:
                self._empty_log(wait_s=0)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a reader that sees one moment: all writes before it, none after it."""
        with translated():
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                self._give_back(connection)

    @contextmanager
    def glance(self) -> Iterator[sqlite3.Connection]:
        """Lend a reader for one statement, which sees one moment without a transaction of its own.

        Each request does so at the door; beginning and ending a transaction would take longer.
        """
        with translated():
            connection = self._borrow()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def check(self) -> None:
        """Write and sync one page. Raises CatalogFailure: the file is gone or not writable."""
        with self.write() as connection:
            # A deleted file with an open connection still accepts writes, and loses them.
            if not self._path.exists():
                raise CatalogFailure("the catalog file is no longer in its folder")
            schema.stamp(connection)

    def forget_deleted(self) -> None:
        """Empty the write-ahead log, which holds deleted rows until it is reused.

        Best effort, because the deletion is durable already: writers wait meanwhile, so a long
        reader (such as a backup) postpones this to a write soon after it.
        """
        with self._write_lock:
            if not self._closed:
                self._empty_log(wait_s=EMPTYING_TIMEOUT_S)

    def _empty_log(self, *, wait_s: float) -> None:
        self._empty_log_at_s = time.monotonic() + EMPTYING_EVERY_S
        with suppress(sqlite3.Error):
            self._wait_at_most(wait_s)
            try:
                row = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not row[0]:
                    self._empty_log_at_s = None
            finally:
                self._wait_at_most(BUSY_TIMEOUT_S)

    def _wait_at_most(self, seconds: float) -> None:
        self._writer.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")

    def close(self) -> None:
        """Wait for running transactions, then release the file. Closing twice is allowed."""
        with self._write_lock, self._readers, translated():
            if self._closed:
                return
            self._closed = True
            self._readers.wait_for(lambda: self._lent == 0)
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()  # last, because the last connection moves the log into the file

    def _borrow(self) -> sqlite3.Connection:
        with self._readers:
            self._refuse_closed()
            connection = self._idle.pop() if self._idle else None
            self._lent += 1
        if connection is not None:
            return connection
        try:
            connection = connect(self._path, mode="rw")
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            self._count_returned()
            raise
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        healthy = False
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            healthy = True
        finally:
            with self._readers:
                if healthy and not self._closed and len(self._idle) < MAX_IDLE_READERS:
                    self._idle.append(connection)
                else:
                    connection.close()
            self._count_returned()

    def _count_returned(self) -> None:
        with self._readers:
            self._lent -= 1
            self._readers.notify_all()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise CatalogFailure("the catalog is closed")


def needs_migration(file: Path) -> bool:
    """Whether the file is a catalog of an older schema. Raises CatalogFailure: not readable."""
    try:
        with file.open("rb") as stream:  # SQLite would leave a log beside it
            header = stream.read(_VERSION_IN_HEADER.stop)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CatalogFailure("the catalog cannot be read") from error
    return int.from_bytes(header[_VERSION_IN_HEADER]) in schema.READABLE - {schema.SCHEMA_VERSION}


@contextmanager
def opened_to_read(file: Path, *, immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """Lend a new read-only connection, which may run beside a service.

    Args:
        immutable: nothing else has the file open, so there is no log to read.

    Raises:
        CatalogFailure: no such file, not a catalog, of another schema, or damaged.
    """
    with translated():
        connection = connect(file.resolve(), mode="ro&immutable=1" if immutable else "ro")
        try:
            schema.refuse_foreign(connection)
            yield connection
        finally:
            connection.close()


def connect(path: Path, *, mode: str) -> sqlite3.Connection:
    """A connection with the settings of this room; ``mode`` is that of SQLite's URI."""
    # A reader must not create the file: an empty file would hide the loss of the real one.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    # Sorting must not spill patient data into temporary files.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _prepare_writer(connection: sqlite3.Connection) -> None:
    schema.refuse_foreign(connection)  # first: a foreign file must not change
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise CatalogFailure(f"the catalog's file system gives journal mode {mode}, expected wal")
    connection.execute("PRAGMA synchronous = FULL")
    # Overwrite deleted rows with zeros: an erased patient's bytes must not stay in the file.
    connection.execute("PRAGMA secure_delete = ON")
    # It cannot be turned off inside the transaction that rebuilds a table.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.create(connection)
        is_old = schema.version_of(connection) < schema.SCHEMA_VERSION
        if is_old:
            migration.migrate(connection)
        schema.add_index(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    connection.execute("PRAGMA foreign_keys = ON")
    if is_old:  # into the file, whose header tells others the schema
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


@contextmanager
def translated() -> Iterator[None]:
    """Translate errors of SQLite, without their text."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise CatalogFailure(f"the catalog failed with {name}") from error
    except UnicodeEncodeError as error:
        raise InputError("text must be valid Unicode, got a lone surrogate") from error
    except OverflowError as error:
        raise InputError("an integer must fit in 64 bits") from error
