"""The audit log in a SQLite file of its own.

Apart from the catalog, so that predictions wait neither for its writer nor for an erasure, and a
restore of the catalog does not turn back the log. The newest state of each chain is kept twice, in
its last entry and in ``chains``, so that a tail that is lost is noticed.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.catalog.audit.audit_records import (
    AuditFilter,
    AuditHead,
    AuditStore,
    ChainedEntry,
    Draft,
    as_value,
    by_chain,
    chained,
    continues,
    empty_head,
)
from service.catalog.data_folder import make_private, make_private_folder
from service.catalog.ids import now
from service.catalog.sqlite.database import BUSY_TIMEOUT_S, connect
from service.errors import AuditDiffers, AuditFailure, AuditFull

AUDIT_FILE = "audit.sqlite"
SCHEMA_VERSION = 1
KEY_BYTES = 32
_APPLICATION_ID = 0x536E4175  # "SnAu"
_SCHEMA = f"""
    PRAGMA application_id = {_APPLICATION_ID};
    PRAGMA user_version = {SCHEMA_VERSION};
    CREATE TABLE chains (
        chain TEXT PRIMARY KEY,
        seq INTEGER NOT NULL, -- of the last entry
        sha256 TEXT NOT NULL, -- of the last entry
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE entries (
        chain TEXT NOT NULL,
        seq INTEGER NOT NULL,
        text TEXT NOT NULL, -- canonical JSON, which is what the digest is of
        sha256 TEXT NOT NULL,
        -- Taken from the text, so that they cannot say anything else.
        at TEXT AS (json_extract(text, '$.at')),
        action TEXT AS (json_extract(text, '$.action')),
        author TEXT AS (json_extract(text, '$.who.id')),
        outcome TEXT AS (json_extract(text, '$.outcome')),
        PRIMARY KEY (chain, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE beginnings (
        chain TEXT PRIMARY KEY,
        seq INTEGER NOT NULL, -- of the last entry that was moved into a file
        sha256 TEXT NOT NULL, -- of that entry: the next one continues it
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_action ON entries (chain, action, seq);
    CREATE INDEX entries_by_author ON entries (chain, author, seq);
    CREATE INDEX entries_by_time ON entries (chain, at);
    -- Keys of the digests of ids: what is deleted here is overwritten.
    CREATE TABLE digest_keys (chain TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT, WITHOUT ROWID;
    -- Against mistakes of this program; whoever can write the file can drop them.
    CREATE TRIGGER entries_stay BEFORE DELETE ON entries
        WHEN OLD.seq > coalesce((SELECT seq FROM beginnings WHERE chain = OLD.chain), 0)
        BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries
        BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""  # noqa: S608 - the numbers are ours
_PUT_HEAD = """
    INSERT INTO chains (chain, seq, sha256, at) VALUES (?, ?, ?, ?)
    ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, sha256 = excluded.sha256, at = excluded.at
"""
_PUT_BEGINNING = _PUT_HEAD.replace("INTO chains", "INTO beginnings")
_ADD_ENTRY = "INSERT INTO entries (chain, seq, text, sha256) VALUES (?, ?, ?, ?)"
_PUT_KEY = """
    INSERT INTO digest_keys (chain, key) VALUES (?, ?)
    ON CONFLICT (chain) DO UPDATE SET key = excluded.key
"""
_CONDITIONS = (("action", "action = ?"), ("author", "author = ?"), ("outcome", "outcome = ?"))
_TIMES = (("since", "at >= ?"), ("until", "at < ?"))


class SqliteAudit(AuditStore):
    """The store in one file, which several processes may use; created if there is none.

    Args:
        is_archive: it lies where only one process writes, now and then, perhaps over a network:
            without a log that processes share.

    Raises:
        AuditFailure: not an audit log, of another version, damaged, or not writable.
    """

    def __init__(self, file: Path, *, is_archive: bool = False) -> None:
        self._file = file.absolute()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        with _translated():
            make_private_folder(self._file.parent)
            make_private(self._file)
            self._writer = connect(self._file, mode="rwc")
            try:
                _prepare(self._writer, "DELETE" if is_archive else "WAL")
                self._reader = connect(self._file, mode="rw")
                self._reader.execute("PRAGMA query_only = ON")
            except BaseException:
                self._writer.close()
                raise

    def append(self, drafts: Sequence[Draft]) -> None:
        with self._write() as connection:
            for chain, own in by_chain(drafts).items():
                _put(connection, chained(_head(connection, chain), own))

    def heads(self) -> tuple[AuditHead, ...]:
        with self._read() as connection:
            rows = connection.execute("SELECT chain, seq, sha256, at FROM chains ORDER BY chain")
            return tuple(AuditHead(*row) for row in rows)

    def head(self, chain: str) -> AuditHead:
        with self._read() as connection:
            return _head(connection, chain)

    def read(self, chain: str, *, after: int, limit: int) -> tuple[ChainedEntry, ...]:
        query = """
            SELECT chain, seq, text, sha256 FROM entries WHERE chain = ? AND seq > ?
            ORDER BY seq LIMIT ?
        """
        with self._read() as connection:
            rows = connection.execute(query, (chain, after, limit))
            return tuple(ChainedEntry(*row) for row in rows)

    def find(
        self, chain: str, wanted: AuditFilter, *, limit: int, before: int | None = None
    ) -> tuple[ChainedEntry, ...]:
        conditions, values = ["chain = ?"], [chain]
        for name, condition in (*_CONDITIONS, *_TIMES):
            value = getattr(wanted, name)
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if wanted.named:
            conditions.append(" OR ".join(["instr(text, ?)"] * len(wanted.named)).join("()"))
            values += map(as_value, wanted.named)
        if before is not None:
            conditions.append("seq < CAST(? AS INTEGER)")
            values.append(str(before))
        query = f"""
            SELECT chain, seq, text, sha256 FROM entries WHERE {" AND ".join(conditions)}
            ORDER BY seq DESC LIMIT {limit:d}
        """  # noqa: S608 - the conditions are ours
        with self._read() as connection:
            return tuple(ChainedEntry(*row) for row in connection.execute(query, values))

    def digest_key(self, chain: str) -> bytes:
        query = "SELECT key FROM digest_keys WHERE chain = ?"
        with self._read() as connection:
            row = connection.execute(query, (chain,)).fetchone()
        if row is None:
            add = "INSERT INTO digest_keys (chain, key) VALUES (?, ?) ON CONFLICT DO NOTHING"
            with self._write() as connection:  # another process may be faster
                connection.execute(add, (chain, secrets.token_bytes(KEY_BYTES)))
                row = connection.execute(query, (chain,)).fetchone()
        return bytes(row[0])

    def destroy_digest_key(self, chain: str) -> None:
        with self._write() as connection:
            connection.execute("DELETE FROM digest_keys WHERE chain = ?", (chain,))
        with self._lock, _translated():  # the log still holds the key
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def digest_keys(self) -> dict[str, bytes]:
        with self._read() as connection:
            return dict(connection.execute("SELECT chain, key FROM digest_keys").fetchall())

    def copy_in(self, entries: Sequence[ChainedEntry], keys: Mapping[str, bytes]) -> None:
        with self._write() as connection:
            if entries:
                if not continues(_head(connection, entries[0].chain), entries):
                    raise AuditDiffers("the entries do not continue the audit chain")
                _put(connection, entries)
            connection.executemany(_PUT_KEY, list(keys.items()))

    def beginnings(self) -> dict[str, AuditHead]:
        with self._read() as connection:
            rows = connection.execute("SELECT chain, seq, sha256, at FROM beginnings")
            return {row[0]: AuditHead(*row) for row in rows}

    def beginning(self, chain: str) -> AuditHead | None:
        query = "SELECT chain, seq, sha256, at FROM beginnings WHERE chain = ?"
        with self._read() as connection:
            row = connection.execute(query, (chain,)).fetchone()
        return None if row is None else AuditHead(*row)

    def begin_after(self, moved: AuditHead) -> None:
        with self._write() as connection:
            if _head(connection, moved.chain).seq == 0:
                connection.execute(_PUT_BEGINNING, (moved.chain, moved.seq, moved.sha256, moved.at))
                connection.execute(_PUT_HEAD, (moved.chain, moved.seq, moved.sha256, moved.at))

    def require_movable(self) -> None:
        """Nothing: whoever writes the file may."""

    def move_out(self, moved: AuditHead, said: Draft) -> None:
        query = "SELECT sha256 FROM entries WHERE chain = ? AND seq = ?"
        with self._write() as connection:
            row = connection.execute(query, (moved.chain, moved.seq)).fetchone()
            if row is None or row[0] != moved.sha256:
                raise AuditDiffers("the last entry to be moved is not the one that was copied")
            _put(connection, chained(_head(connection, moved.chain), [said]))
            # The trigger lets go only what lies before the beginning.
            connection.execute(_PUT_BEGINNING, (moved.chain, moved.seq, moved.sha256, now()))
            drop = "DELETE FROM entries WHERE chain = ? AND seq <= ?"
            connection.execute(drop, (moved.chain, moved.seq))

    def close(self) -> None:
        with self._lock, self._reading, _translated():
            self._reader.close()
            self._writer.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """Lend the writer in a transaction, which is on disk at a normal exit."""
        with self._lock, _translated():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading, _translated():
            yield self._reader


def open_to_read(file: Path) -> SqliteAudit:
    """An existing log. Raises AuditFailure: there is none, or it cannot be read."""
    if not file.is_file():
        raise AuditFailure(f"there is no {file.name} in the folder")
    return SqliteAudit(file)


def _prepare(connection: sqlite3.Connection, journal_mode: str) -> None:
    connection.execute("BEGIN IMMEDIATE")  # of two that create it, the second finds it made
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        made_by = connection.execute("PRAGMA application_id").fetchone()[0]
        if (version, made_by) not in ((0, 0), (SCHEMA_VERSION, _APPLICATION_ID)):
            raise AuditFailure(
                f"expected an audit log of version {SCHEMA_VERSION}, got {version} or another file"
            )
        if version == 0:
            for statement in _statements():
                connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # destroyed keys are overwritten
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_TIMEOUT_S)}")


def _statements() -> list[str]:
    """The statements of the schema; ``executescript`` would end the transaction."""
    statements, begun = [], ""
    for part in _SCHEMA.split(";"):
        begun += f"{part};"
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return [statement for statement in statements if statement.strip(" \n;")]


def _head(connection: sqlite3.Connection, chain: str) -> AuditHead:
    """Where the chain ends."""
    query = "SELECT chain, seq, sha256, at FROM chains WHERE chain = ?"
    row = connection.execute(query, (chain,)).fetchone()
    return empty_head(chain) if row is None else AuditHead(*row)


def _put(connection: sqlite3.Connection, entries: Sequence[ChainedEntry]) -> None:
    rows = [(entry.chain, entry.seq, entry.text, entry.sha256) for entry in entries]
    connection.executemany(_ADD_ENTRY, rows)
    last = entries[-1]
    connection.execute(_PUT_HEAD, (last.chain, last.seq, last.sha256, now()))


@contextmanager
def _translated() -> Iterator[None]:
    """Translate errors of SQLite, without their text."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        kind = AuditFull if name == "SQLITE_FULL" else AuditFailure
        raise kind(f"the audit log failed with {name}") from error
    except OSError as error:
        raise AuditFailure("the folder of the audit log cannot be made") from error
