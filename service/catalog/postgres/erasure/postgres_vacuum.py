"""VACUUM after erasures: what deleted rows leave in the files of the database.

A deleted row is in no answer, but its bytes stay in table and index until a VACUUM passes over
them while no older transaction can see them. Each erasure therefore leaves a row in
``vacuums_owed``, in its own transaction, and any replica pays it later, also after a crash.

What a VACUUM leaves: it frees the place of a row without overwriting it, so that remains stay in
free places of pages until new rows need them. ``rewrite`` writes tables and indexes anew.
"""

import logging
import re
import threading
import time
from contextlib import suppress

import psycopg
from psycopg import sql

from service.catalog.postgres.postgres_database import Connection, PostgresDatabase, translated
from service.catalog.postgres.postgres_rows import require_row, select
from service.catalog.postgres.postgres_schema import MAINTAIN_SINCE
from service.errors import CatalogFailure

log = logging.getLogger(__name__)
CANCEL_S = 2.0
# Statistics hold values of the most frequent patients; ANALYZE replaces them.
ANALYZED = ("scans", "classifier_examples", "answers")
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('once vacuum', 0)) AS is_mine"
_OWED = "SELECT seq, xid::text AS xid FROM vacuums_owed ORDER BY seq"
_PAID = "DELETE FROM vacuums_owed WHERE seq = ANY(%s)"
_TABLES = """
    SELECT c.relname AS name, {permitted} AS is_permitted
    FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        AND (c.relname = ANY(%s) OR c.relname LIKE 'search\\_halves\\_%%')
    ORDER BY c.relname
"""
_OWNS = "pg_has_role(c.relowner, 'USAGE')"
_MAINTAINS = f"{_OWNS} OR has_table_privilege(c.oid, 'MAINTAIN')"
TABLES = (
    "answers",
    "classifier_examples",
    "classifier_outcomes",
    "classifier_usage",
    "classifier_versions",
    "classifiers",
    "collections",
    "scan_frames",
    "scan_images",
    "scan_places",
    "scan_thumbnails",
    "scan_vectors",
    "scans",
    "signing_keys",
    "staged_vectors",
    "version_examples",
)
# "removable cutoff: 745, which was 1 XIDs old when operation ended"
_CUTOFF = re.compile(r"removable cutoff: (\d+)")


class ErasureVacuum:
    """The VACUUM that erasures owe, of all databases of a catalog. Thread safe."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._one = threading.Lock()
        self._running: Connection | None = None
        self._is_closed = False
        self._owed: dict[str, int] = {}

    @property
    def owed(self) -> int:
        """Erasures whose rows were still in the files when this process looked last."""
        return sum(self._owed.values())

    def run(self, *, rewrite: bool = False) -> int:
        """Vacuum every database that owes it, unless another replica does; return what is owed.

        An erasure stays owed while an older transaction, such as a dump, may see its rows.

        Args:
            rewrite: write all tables and indexes anew, whether owed or not. Each is locked
                meanwhile, also for readers, and needs its size in free space.

        Raises:
            CatalogFailure: a database is lost, or the role may not vacuum.
        """
        with self._one:
            for shard in self._database.shards:
                if not self._is_closed:
                    self._owed[shard] = self._run(shard, rewrite)
        return self.owed

    def close(self) -> None:
        """Stop a VACUUM that runs; it stays owed."""
        self._is_closed = True
        running = self._running
        if running is not None:
            with translated():
                running.cancel_safe(timeout=CANCEL_S)

    def _run(self, shard: str, rewrite: bool) -> int:
        with self._database.everything(shard, "read") as connection:
            owed = select(connection, _OWED)
        if not owed and not rewrite:
            return 0
        with translated(), self._database.apart(shard) as connection:
            if not require_row(connection, "", _LOCK)["is_mine"]:
                return len(owed)
            self._running = connection
            try:
                # Once more: another replica may have paid between the two statements.
                owed = select(connection, _OWED)
                return self._pay(connection, {row["seq"]: int(row["xid"]) for row in owed}, rewrite)
            finally:
                self._running = None

    def _pay(self, connection: Connection, owed: dict[int, int], rewrite: bool) -> int:
        if not owed and not rewrite:
            return 0
        started = time.monotonic()
        cutoffs = [_snapshot_xmin(connection)]
        for table in _tables(connection):
            if self._is_closed:
                return len(owed)
            cutoffs += _vacuum(connection, table, rewrite)
        # VACUUM tells 32 bits of the number of the oldest transaction that it had to respect.
        paid = [seq for seq, xid in owed.items() if all(_precedes(xid, c) for c in cutoffs)]
        connection.execute(_PAID, (paid,))
        fields = {
            "erasures": len(paid),
            "owed": len(owed) - len(paid),
            "vacuum_s": round(time.monotonic() - started, 3),
        }
        log.info("erased rows vacuumed", extra=fields)
        return len(owed) - len(paid)


def _tables(connection: Connection) -> list[str]:
    """The tables that erasures leave rows in. Raises CatalogFailure: not permitted."""
    maintains = connection.info.server_version >= MAINTAIN_SINCE
    query = _TABLES.format(permitted=_MAINTAINS if maintains else _OWNS)
    rows = select(connection, query, list(TABLES))
    if not all(row["is_permitted"] for row in rows):  # VACUUM itself would only warn
        raise CatalogFailure("the role may not vacuum: run sonoprobe migrate with --service-role")
    return [row["name"] for row in rows]


def _vacuum(connection: Connection, table: str, rewrite: bool) -> list[int]:
    """Vacuum a table with its indexes; return the cutoffs that it told."""
    cutoffs: list[int] = []

    def read(notice: psycopg.errors.Diagnostic) -> None:
        cutoffs.extend(map(int, _CUTOFF.findall(notice.message_primary or "")))

    # Indexes always: by default VACUUM leaves the entries of a few deleted rows in them.
    options = "FULL, ANALYZE" if rewrite else "VERBOSE, INDEX_CLEANUP ON"
    if not rewrite and table in ANALYZED:
        options += ", ANALYZE"
    connection.add_notice_handler(read)
    try:
        statement = sql.SQL("VACUUM ({}) {}").format(sql.SQL(options), sql.Identifier(table))
        with suppress(psycopg.errors.UndefinedTable):  # a partition that was dropped meanwhile
            connection.execute(statement)
    finally:
        connection.remove_notice_handler(read)
    return cutoffs


def _snapshot_xmin(connection: Connection) -> int:
    """The oldest transaction that is still running, for a server that tells no cutoffs."""
    query = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin"
    return int(require_row(connection, "", query)["xmin"])


def _precedes(xid: int, cutoff: int) -> bool:
    """Whether a transaction is older than another, by the last 32 bits of their numbers."""
    return 0 < (cutoff - xid) % 2**32 < 2**31
