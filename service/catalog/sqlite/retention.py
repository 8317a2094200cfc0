"""Deleting scans past their retention, on a clock that may be wrong.

A clock that jumps ahead makes whole collections look old. So a sweep believes only what it can
explain: scans that came of age since the last sweep, while the clock of the machine agreed with
the time since its start (``Clock``). Of the others it deletes a share of a collection at most; if
more are due, it deletes none of that collection, notes how many, and waits for a person.

A clock that jumps back extends nothing: the sweep goes on from the time of the last one.
"""

import logging
import sqlite3
from datetime import timedelta

from service.catalog.clock import (
    FUTURE,
    Clock,
    LastSweep,
    SweepMoment,
    SystemClock,
    minus,
    moment_of,
)
from service.catalog.erasure_records import ErasedSubject, SweepLimits
from service.catalog.ids import timestamp
from service.catalog.sqlite.erasure import collect, erase_collected, forget_answers, receipt_of
from service.catalog.sqlite.rows import SqliteTable, require_collection

log = logging.getLogger(__name__)
EXPIRE_AT_ONCE = 500  # rows of one transaction, so that other writers wait only milliseconds

_DUE = "collection_id = ? AND created_at < ?"
_COUNTS = """
    SELECT count(*) AS scans, count(*) FILTER (WHERE created_at < ?) AS due,
        count(*) FILTER (WHERE created_at < ?) AS unexplained
    FROM scans WHERE collection_id = ?
"""
_LIMITED = "SELECT * FROM collections WHERE retention_days IS NOT NULL ORDER BY collection_id"
_RETENTION = "SELECT retention_days FROM collections WHERE collection_id = ?"
_HOLD = "UPDATE collections SET retention_held = ? WHERE collection_id = ? AND retention_held <> ?"
_NEWER = """
    UPDATE scans SET created_at = ? WHERE created_at > ? AND collection_id IN (
        SELECT collection_id FROM collections WHERE retention_days IS NOT NULL
    )
"""
_STORE = """
    INSERT OR REPLACE INTO retention_clock (only_row, swept_at, boot_id, boot_s) VALUES (1, ?, ?, ?)
"""


class SqliteRetention(SqliteTable):
    """The part of the catalog that deletes by age."""

    def expire(
        self,
        *,
        limits: SweepLimits = SweepLimits(),  # noqa: B008 - it is frozen
        clock: Clock | None = None,
    ) -> tuple[tuple[str, ErasedSubject], ...]:
        clock = clock or SystemClock()
        with self._database.read() as connection:
            limited = connection.execute(_LIMITED).fetchall()
            moment = _moment(connection, clock, is_confirmed=limits.is_confirmed)
        receipts = [(row["workspace_id"], self._sweep(row, moment, limits)) for row in limited]
        deleted = tuple((owner, receipt) for owner, receipt in receipts if receipt is not None)
        if not deleted and moment.is_believed:  # the last call of a sweep
            with self._database.write() as connection:
                _believe(connection, moment, clock)
        # Always: an earlier deletion may have met a long reader.
        self._database.forget_deleted()
        return deleted

    def expire_collection(
        self, workspace_id: str, collection: str, *, clock: Clock | None = None
    ) -> ErasedSubject | None:
        clock = clock or SystemClock()
        with self._database.read() as connection:
            row = require_collection(connection, workspace_id, collection)
            moment = _moment(connection, clock, is_confirmed=True)
        if row["retention_days"] is None:
            return None
        return self._sweep(row, moment, SweepLimits(is_confirmed=True))

    def _sweep(
        self, collection: sqlite3.Row, moment: SweepMoment, limits: SweepLimits
    ) -> ErasedSubject | None:
        """Delete some scans of a collection that are due; None = none is, or they are held."""
        collection_id = collection["collection_id"]
        with self._database.write() as connection:
            # Read in the transaction: somebody may have changed the retention meanwhile.
            row = connection.execute(_RETENTION, (collection_id,)).fetchone()
            if row is None or row["retention_days"] is None:
                return None
            age = timedelta(days=row["retention_days"])
            due = timestamp(minus(moment.present, age))
            unproven = due if moment.since is None else timestamp(minus(moment.since, age))
            counts = connection.execute(_COUNTS, (due, unproven, collection_id)).fetchone()
            unexplained = min(counts["unexplained"], counts["due"])
            most = max(limits.min_scans, int(limits.max_share * counts["scans"]))
            held = counts["due"] if unexplained > most and not limits.is_confirmed else 0
            connection.execute(_HOLD, (held, collection_id, held))
            if held or not counts["due"]:
                if held:
                    fields = {"due": held, "scans": counts["scans"], "most_at_once": most}
                    log.error("retention refused: too many scans at once", extra=fields)
                return None
            which = f"{_DUE} ORDER BY created_at LIMIT ?"
            collect(connection, which, collection_id, due, EXPIRE_AT_ONCE)
            receipt = receipt_of(connection, copies=False)
            noted = erase_collected(connection, self._redact, forget_examples=True)
            forget_answers(connection, collection["workspace_id"])
        return self._finished(receipt, noted)


def _moment(connection: sqlite3.Connection, clock: Clock, *, is_confirmed: bool) -> SweepMoment:
    """What time it is, by the clock and by the last sweep."""
    row = connection.execute("SELECT swept_at, boot_id, boot_s FROM retention_clock").fetchone()
    last = None if row is None or is_confirmed else LastSweep(*row)
    return moment_of(clock, last)


def _believe(connection: sqlite3.Connection, moment: SweepMoment, clock: Clock) -> None:
    """Start the next sweep from this one, unless scans are held because the clock is in doubt."""
    held = "SELECT 1 FROM collections WHERE retention_held > 0 LIMIT 1"
    if not moment.is_near and connection.execute(held).fetchone() is not None:
        return
    present = timestamp(moment.present)
    connection.execute(_STORE, (present, *clock.since_boot()))
    newer = connection.execute(_NEWER, (present, timestamp(moment.present + FUTURE))).rowcount
    if newer:
        log.warning("scans from the future begin to age now", extra={"scans": newer})
