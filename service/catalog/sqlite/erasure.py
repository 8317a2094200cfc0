"""Erasing scans, studies and subjects in SQLite, on request or by age.

The row numbers of erased scans and a digest of each erased subject are kept, so that the same
data can be deleted from older backups (``backup``).
"""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from service.catalog.ids import now, subject_digest, timestamp
from service.catalog.records import ErasedSubject, Scan
from service.catalog.sqlite.rows import SqliteTable, decode, require_scan
from service.catalog.validation import require_version
from service.errors import UnknownItem

EXPIRE_AT_ONCE = 500  # rows of one transaction, so that other writers wait only milliseconds

# The temporary table ``going`` lists the rows to delete; it is dropped in the same transaction.
_COLLECT = "CREATE TEMP TABLE going AS SELECT row_id FROM scans WHERE {which}"
_SCANS = """
    SELECT collection, scan_id, row_id FROM scan_records
    WHERE row_id IN (SELECT row_id FROM going) ORDER BY row_id
"""
_LEARNT = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.scan_row_id IN (SELECT row_id FROM going)
"""
_LEARNT_UPLOADS = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.workspace_id = ? AND e.{column} = ?
"""
_FORGET_EXAMPLES = """
    UPDATE classifier_examples SET sha256 = NULL
    WHERE scan_row_id IN (SELECT row_id FROM going)
"""
_FORGET_UPLOADS = """
    UPDATE classifier_examples
    SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL
    WHERE workspace_id = ? AND {column} = ?
"""
_NOTE = """
    INSERT OR IGNORE INTO erased_scans (row_id, workspace_id, erased_at)
    SELECT row_id, workspace_id, ? FROM scans WHERE row_id IN (SELECT row_id FROM going)
"""
_NOTE_SUBJECT = """
    INSERT INTO erased_subjects (workspace_id, subject_sha256, erased_at) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET erased_at = excluded.erased_at
"""
_DELETE = "DELETE FROM scans WHERE row_id IN (SELECT row_id FROM going)"


class SqliteErasure(SqliteTable):
    """The part of the catalog that erases data."""

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        with self._database.write() as connection:
            scan = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
            require_version(scan.version, if_version)
            _collect(connection, "row_id = ?", scan.row_id)
            receipt = _receipt(connection)
            _finish(connection, forget_examples=False)
        return scan, receipt

    def erase_study(self, workspace_id: str, study_id: str) -> ErasedSubject:
        return self._erase(workspace_id, "study_id", study_id)

    def erase_subject(self, workspace_id: str, subject_id: str) -> ErasedSubject:
        return self._erase(workspace_id, "subject_id", subject_id)

    def _erase(self, workspace_id: str, column: str, value: str) -> ErasedSubject:
        with self._database.write() as connection:
            _collect(connection, f"workspace_id = ? AND {column} = ?", workspace_id, value)
            learnt = _LEARNT_UPLOADS.format(column=column)
            uploads = connection.execute(learnt, (workspace_id, value)).fetchall()
            erased = _receipt(connection, uploads)
            if not erased.scans and not erased.uploads:
                owner = column.removesuffix("_id")
                raise UnknownItem(f"no scan of this workspace is of this {owner}")
            if column == "subject_id":
                digest = subject_digest(workspace_id, value)
                connection.execute(_NOTE_SUBJECT, (workspace_id, digest, now()))
            connection.execute(_FORGET_UPLOADS.format(column=column), (workspace_id, value))
            _finish(connection, forget_examples=True)
            connection.execute("DELETE FROM answers WHERE workspace_id = ?", (workspace_id,))
        self._database.forget_deleted()
        return erased

    def expire(self, *, moment: datetime | None = None) -> tuple[tuple[str, ErasedSubject], ...]:
        sql = "SELECT * FROM collections WHERE retention_days IS NOT NULL"
        with self._database.read() as connection:
            limited = connection.execute(sql).fetchall()
        present = moment or datetime.now(UTC)
        receipts = [self._expire(row, present) for row in limited]
        # Always: scans that were deleted one by one are still in the log as well.
        self._database.forget_deleted()
        return tuple((owner, receipt) for owner, receipt in receipts if receipt.scans)

    def _expire(self, collection: sqlite3.Row, present: datetime) -> tuple[str, ErasedSubject]:
        cutoff = timestamp(present - timedelta(days=collection["retention_days"]))
        which = "collection_id = ? AND created_at < ? ORDER BY created_at LIMIT ?"
        with self._database.write() as connection:
            _collect(connection, which, collection["collection_id"], cutoff, EXPIRE_AT_ONCE)
            receipt = _receipt(connection)
            _finish(connection, forget_examples=True)
        return collection["workspace_id"], receipt


def _collect(connection: sqlite3.Connection, which: str, *variables: str | int) -> None:
    connection.execute(_COLLECT.format(which=which), variables)


def _finish(connection: sqlite3.Connection, *, forget_examples: bool) -> None:
    connection.execute(_NOTE, (now(),))
    if forget_examples:
        connection.execute(_FORGET_EXAMPLES)
    connection.execute(_DELETE)
    connection.execute("DROP TABLE going")


def _receipt(connection: sqlite3.Connection, uploads: Sequence[sqlite3.Row] = ()) -> ErasedSubject:
    scans = connection.execute(_SCANS).fetchall()
    examples = connection.execute(_LEARNT).fetchall()
    return ErasedSubject(
        scans=tuple((row["collection"], row["scan_id"]) for row in scans),
        row_ids=tuple((row["collection"], row["row_id"]) for row in scans),
        classifiers=tuple(sorted({row["name"] for row in (*examples, *uploads)})),
        uploads=sum(row["is_upload"] for row in uploads),
    )
