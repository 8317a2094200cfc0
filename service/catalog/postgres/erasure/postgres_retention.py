"""Deleting scans past their retention, on clocks that may be wrong, in PostgreSQL.

The rules are those of the SQLite engine. The clock is that of the replica that sweeps, because the
replicas wrote the times of the scans, and because only a machine can tell how long it has been
running: the database shows no time that nobody can set. A proof (``clock``) holds for one run of
one machine, so each has its row in ``retention_clock``. A machine without one starts from the
newest sweep of any other, which proves nothing: then the limits of an unproven clock hold.

Two sweeps at the same time are right, too: the rows are chosen under the lock of the collection.
"""

import logging
from datetime import timedelta

from psycopg.rows import DictRow

from service.catalog.clock import (
    FUTURE,
    MAX_GAP,
    Clock,
    LastSweep,
    SweepMoment,
    SystemClock,
    minus,
    moment_of,
)
from service.catalog.erasure_records import ErasedSubject, SweepLimits
from service.catalog.ids import timestamp
from service.catalog.postgres.erasure.postgres_erasure import erase_rows, receipt_of
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    first,
    forget_answers,
    lock_collections,
    require_collection,
    require_row,
    select,
)
from service.errors import WorkspaceMoving

log = logging.getLogger(__name__)
EXPIRE_AT_ONCE = 500  # rows of one transaction, so that other writers wait only milliseconds

_COUNTS = """
    SELECT count(*) AS scans, count(*) FILTER (WHERE created_at < %s) AS due,
        count(*) FILTER (WHERE created_at < %s) AS unexplained
    FROM scans WHERE collection_id = %s
"""
# Copies of workspaces that moved to another database are swept there.
_LIMITED = """
    SELECT c.* FROM collections AS c JOIN workspaces AS w USING (workspace_id)
    WHERE c.retention_days IS NOT NULL AND w.state = 'active' ORDER BY c.collection_id
"""
_SWEPT = "SELECT retention_days FROM collections WHERE collection_id = %s"
_DUE = """
    SELECT row_id FROM scans WHERE collection_id = %s AND created_at < %s
    ORDER BY created_at LIMIT %s
"""
_HOLD = """
    UPDATE collections SET retention_held = %s WHERE collection_id = %s AND retention_held <> %s
"""
# Nobody waits for a writer here, so a deadlock is not possible; what is skipped has the next sweep.
_NEWER = """
    UPDATE scans SET created_at = %(present)s WHERE row_id IN (
        SELECT s.row_id FROM scans AS s JOIN collections AS c USING (collection_id)
        JOIN workspaces AS w ON w.workspace_id = s.workspace_id AND w.state = 'active'
        WHERE c.retention_days IS NOT NULL AND s.created_at > %(future)s
        FOR NO KEY UPDATE OF s SKIP LOCKED FOR KEY SHARE OF w SKIP LOCKED
    )
"""
_LAST = """
    SELECT swept_at, boot_id, boot_s FROM retention_clock
    ORDER BY boot_id = %s AND boot_id <> '' DESC, swept_at DESC LIMIT 1
"""
_STORE = """
    INSERT INTO retention_clock (boot_id, swept_at, boot_s) VALUES (%s, %s, %s)
    ON CONFLICT (boot_id) DO UPDATE SET swept_at = excluded.swept_at, boot_s = excluded.boot_s
    WHERE retention_clock.boot_id = '' OR retention_clock.boot_s <= excluded.boot_s
"""
_FORGET_MACHINES = "DELETE FROM retention_clock WHERE swept_at < %s"


class PostgresRetention(PostgresTable):
    """The part of the catalog that deletes by age."""

    def expire(
        self,
        *,
        limits: SweepLimits = SweepLimits(),  # noqa: B008 - it is frozen
        clock: Clock | None = None,
    ) -> tuple[tuple[str, ErasedSubject], ...]:
        clock = clock or SystemClock()
        deleted: list[tuple[str, ErasedSubject]] = []
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                limited = select(connection, _LIMITED)
                moment = _moment(connection, clock, is_confirmed=limits.is_confirmed)
            of_shard = [*self._sweep_all(limited, moment, limits)]
            deleted += of_shard
            if not of_shard and moment.is_believed:  # the last call of a sweep
                with self._database.everything(shard, "write") as connection:
                    _believe(connection, moment, clock)
        return tuple(deleted)

    def expire_collection(
        self, workspace_id: str, collection: str, *, clock: Clock | None = None
    ) -> ErasedSubject | None:
        clock = clock or SystemClock()
        with self._database.read(workspace_id) as connection:
            row = require_collection(connection, workspace_id, collection)
            moment = _moment(connection, clock, is_confirmed=True)
        if row["retention_days"] is None:
            return None
        return self._sweep(row, moment, SweepLimits(is_confirmed=True))

    def _sweep_all(
        self, limited: list[DictRow], moment: SweepMoment, limits: SweepLimits
    ) -> list[tuple[str, ErasedSubject]]:
        deleted: list[tuple[str, ErasedSubject]] = []
        for collection in limited:
            try:
                receipt = self._sweep(collection, moment, limits)
            except WorkspaceMoving:  # the next sweep finds it at its new place
                continue
            if receipt is not None:
                deleted.append((collection["workspace_id"], receipt))
        return deleted

    def _sweep(
        self, collection: DictRow, moment: SweepMoment, limits: SweepLimits
    ) -> ErasedSubject | None:
        """Delete some scans of a collection that are due; None = none is, or they are held."""
        workspace_id, collection_id = collection["workspace_id"], collection["collection_id"]
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            lock_collections(connection, [collection_id])
            # Read under the lock: somebody may have changed the retention or the scans meanwhile.
            row = first(connection, _SWEPT, collection_id)
            if row is None or row["retention_days"] is None:
                return None
            age = timedelta(days=row["retention_days"])
            due = timestamp(minus(moment.present, age))
            unproven = due if moment.since is None else timestamp(minus(moment.since, age))
            counts = require_row(connection, "", _COUNTS, due, unproven, collection_id)
            unexplained = min(counts["unexplained"], counts["due"])
            most = max(limits.min_scans, int(limits.max_share * counts["scans"]))
            held = counts["due"] if unexplained > most and not limits.is_confirmed else 0
            connection.execute(_HOLD, (held, collection_id, held))
            if held or not counts["due"]:
                if held:
                    fields = {"due": held, "scans": counts["scans"], "most_at_once": most}
                    log.error("retention refused: too many scans at once", extra=fields)
                return None
            rows = select(connection, _DUE, collection_id, due, EXPIRE_AT_ONCE)
            going = [row["row_id"] for row in rows]
            receipt = receipt_of(connection, going, copies=False)
            noted = erase_rows(connection, going, self._redact, forget_examples=True)
            forget_answers(connection, workspace_id)
        return self._finished(receipt, noted)


def _moment(connection: Connection, clock: Clock, *, is_confirmed: bool) -> SweepMoment:
    """What time it is, by the clock and by the last sweep of this machine, or of any other."""
    row = None if is_confirmed else first(connection, _LAST, clock.since_boot()[0])
    return moment_of(clock, None if row is None else LastSweep(**row))


def _believe(connection: Connection, moment: SweepMoment, clock: Clock) -> None:
    """Start the next sweep from this one, unless scans are held because the clock is in doubt."""
    held = "SELECT 1 FROM collections WHERE retention_held > 0 LIMIT 1"
    if not moment.is_near and first(connection, held) is not None:
        return
    present = timestamp(moment.present)
    boot_id, boot_s = clock.since_boot()
    connection.execute(_STORE, (boot_id, present, boot_s))
    connection.execute(_FORGET_MACHINES, (timestamp(minus(moment.present, MAX_GAP)),))
    future = timestamp(moment.present + FUTURE)
    newer = connection.execute(_NEWER, {"present": present, "future": future}).rowcount
    if newer:
        log.warning("scans from the future begin to age now", extra={"scans": newer})
