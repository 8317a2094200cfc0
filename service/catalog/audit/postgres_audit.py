"""The audit log in PostgreSQL, which replicas share."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg

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
from service.catalog.ids import now
from service.catalog.postgres.postgres_database import Connection, Mode, PostgresDatabase
from service.catalog.postgres.postgres_rows import first, select
from service.errors import AuditDiffers, AuditFailure, AuditFull, CatalogFailure, NotSupported

KEY_BYTES = 32
_LOCKS = 0x41756469  # first half of the advisory locks of chains: "Audi"
_LOCK = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
_HEAD = "SELECT workspace_id AS chain, seq, sha256, at FROM audit_chains"
_BEGINNING = "SELECT workspace_id AS chain, seq, sha256, at FROM audit_beginnings"
_ENTRY = "SELECT workspace_id AS chain, seq, text, sha256 FROM audit_entries"
_PUT_HEAD = """
    INSERT INTO audit_chains (workspace_id, seq, sha256, at) VALUES (%s, %s, %s, %s)
    ON CONFLICT (workspace_id) DO UPDATE
    SET seq = excluded.seq, sha256 = excluded.sha256, at = excluded.at
"""
_MAY_DELETE = "SELECT has_table_privilege('audit_entries', 'DELETE') AS may_delete"
_PUT_BEGINNING = _PUT_HEAD.replace("audit_chains", "audit_beginnings")
_ADD_ENTRY = "INSERT INTO audit_entries (workspace_id, seq, text, sha256) VALUES (%s, %s, %s, %s)"
_ADD_KEY = """
    INSERT INTO audit_digest_keys (workspace_id, key) VALUES (%s, %s)
    ON CONFLICT (workspace_id) DO NOTHING
"""
_PUT_KEY = _ADD_KEY.replace("NOTHING", "UPDATE SET key = excluded.key")
_CONDITIONS = {
    "action": "action = %s",
    "author": "author = %s",
    "outcome": "outcome = %s",
    "since": "at >= %s",
    "until": "at < %s",
}


class PostgresAudit(AuditStore):
    """The store in the database of the directory; the catalog owns the connections."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def append(self, drafts: Sequence[Draft]) -> None:
        grouped = by_chain(drafts)
        with self._entered("write") as connection:
            for chain, own in grouped.items():
                # Until the commit: the next replica must see the head that this one leaves.
                connection.execute(_LOCK, (_LOCKS, chain))
                _put(connection, chained(_head(connection, chain), own))

    def heads(self) -> tuple[AuditHead, ...]:
        with self._entered("read") as connection:
            rows = select(connection, f"{_HEAD} ORDER BY workspace_id")
        return tuple(AuditHead(**row) for row in rows)

    def head(self, chain: str) -> AuditHead:
        with self._entered("read", chain) as connection:
            return _head(connection, chain)

    def read(self, chain: str, *, after: int, limit: int) -> tuple[ChainedEntry, ...]:
        query = f"{_ENTRY} WHERE workspace_id = %s AND seq > %s ORDER BY seq LIMIT %s"
        with self._entered("read", chain) as connection:
            rows = select(connection, query, chain, after, limit)
        return tuple(ChainedEntry(**row) for row in rows)

    def find(
        self, chain: str, wanted: AuditFilter, *, limit: int, before: int | None = None
    ) -> tuple[ChainedEntry, ...]:
        conditions, values = ["workspace_id = %s"], [chain]
        for name, condition in _CONDITIONS.items():
            value = getattr(wanted, name)
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if wanted.named:
            conditions.append("(" + " OR ".join(["strpos(text, %s) > 0"] * len(wanted.named)) + ")")
            values += map(as_value, wanted.named)
        if before is not None:
            conditions.append(f"seq < {before:d}")
        query = f"{_ENTRY} WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT {limit:d}"
        with self._entered("read", chain) as connection:
            rows = select(connection, query, *values)
        return tuple(ChainedEntry(**row) for row in rows)

    def digest_key(self, chain: str) -> bytes:
        query = "SELECT key FROM audit_digest_keys WHERE workspace_id = %s"
        with self._entered("read", chain) as connection:
            row = first(connection, query, chain)
        if row is None:
            with self._entered("write", chain) as connection:  # another replica may be faster
                connection.execute(_ADD_KEY, (chain, secrets.token_bytes(KEY_BYTES)))
                row = first(connection, query, chain)
        if row is None:
            raise AuditFailure("the key of an audit chain was destroyed meanwhile")
        return bytes(row["key"])

    def destroy_digest_key(self, chain: str) -> None:
        with self._entered("write", chain) as connection:
            connection.execute("DELETE FROM audit_digest_keys WHERE workspace_id = %s", (chain,))

    def digest_keys(self) -> dict[str, bytes]:
        with self._entered("read") as connection:
            rows = select(connection, "SELECT workspace_id, key FROM audit_digest_keys")
        return {row["workspace_id"]: bytes(row["key"]) for row in rows}

    def copy_in(self, entries: Sequence[ChainedEntry], keys: Mapping[str, bytes]) -> None:
        with self._entered("write") as connection:
            if entries:
                chain = entries[0].chain
                connection.execute(_LOCK, (_LOCKS, chain))
                if not continues(_head(connection, chain), entries):
                    raise AuditDiffers("the entries do not continue the audit chain")
                _put(connection, entries)
            for chain, key in sorted(keys.items()):
                connection.execute(_PUT_KEY, (chain, key))

    def beginnings(self) -> dict[str, AuditHead]:
        with self._entered("read") as connection:
            rows = select(connection, _BEGINNING)
        return {row["chain"]: AuditHead(**row) for row in rows}

    def beginning(self, chain: str) -> AuditHead | None:
        with self._entered("read", chain) as connection:
            row = first(connection, f"{_BEGINNING} WHERE workspace_id = %s", chain)
        return None if row is None else AuditHead(**row)

    def begin_after(self, moved: AuditHead) -> None:
        with self._entered("write") as connection:
            connection.execute(_LOCK, (_LOCKS, moved.chain))
            if _head(connection, moved.chain).seq == 0:
                values = (moved.chain, moved.seq, moved.sha256, moved.at)
                connection.execute(_PUT_BEGINNING, values)
                connection.execute(_PUT_HEAD, values)

    def require_movable(self) -> None:
        with self._entered("read") as connection:
            row = first(connection, _MAY_DELETE)
        if row is None or not row["may_delete"]:
            raise NotSupported(
                "this role of the database deletes no entry of the log: "
                "expected the address of the owner of the tables in SONOPROBE_CATALOG"
            )

    def move_out(self, moved: AuditHead, said: Draft) -> None:
        with self._entered("write") as connection:
            connection.execute(_LOCK, (_LOCKS, moved.chain))
            last = f"{_ENTRY} WHERE workspace_id = %s AND seq = %s"
            row = first(connection, last, moved.chain, moved.seq)
            if row is None or row["sha256"] != moved.sha256:
                raise AuditDiffers("the last entry to be moved is not the one that was copied")
            _put(connection, chained(_head(connection, moved.chain), [said]))
            values = (moved.chain, moved.seq, moved.sha256, now())
            connection.execute(_PUT_BEGINNING, values)
            drop = "DELETE FROM audit_entries WHERE workspace_id = %s AND seq <= %s"
            connection.execute(drop, (moved.chain, moved.seq))

    def close(self) -> None:
        """Nothing: the catalog closes its connections."""

    @contextmanager
    def _entered(self, mode: Mode, chain: str | None = None) -> Iterator[Connection]:
        """A transaction in the directory, which sees one chain; None = all."""
        try:
            with self._database.directory(mode) as connection:
                if chain is not None:
                    connection.execute("SELECT set_config('app.workspace', %s, true)", (chain,))
                yield connection
        except CatalogFailure as error:
            kind = AuditFull if isinstance(error.__cause__, psycopg.errors.DiskFull) else None
            raise (kind or AuditFailure)(str(error).replace("catalog", "audit log")) from error


def _head(connection: Connection, chain: str) -> AuditHead:
    row = first(connection, f"{_HEAD} WHERE workspace_id = %s", chain)
    return empty_head(chain) if row is None else AuditHead(**row)


def _put(connection: Connection, entries: Sequence[ChainedEntry]) -> None:
    rows = [(entry.chain, entry.seq, entry.text, entry.sha256) for entry in entries]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD_ENTRY, rows)
    last = entries[-1]
    connection.execute(_PUT_HEAD, (last.chain, last.seq, last.sha256, now()))
