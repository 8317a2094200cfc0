"""Storing and changing scans in SQLite.

Shape suffixes: D embedding width.
"""

import sqlite3
from collections.abc import Sequence

from service.catalog.codec import to_columns
from service.catalog.copying.copied_rows import in_place
from service.catalog.erasure_digests import unless_erased as without_erased
from service.catalog.ids import now
from service.catalog.policies.intake_rules import IntakeRules
from service.catalog.policies.policy_records import AdmitUsage
from service.catalog.policies.sqlite_policies import admit_usage
from service.catalog.records import NewScan, Scan, ScanPatch, StoredScan
from service.catalog.scan_changes import (
    MAX_COPIES,
    PATCHABLE,
    PreparedScan,
    encoded,
    has_copy,
    ignored,
    name_taken,
    patched,
    prepare,
    removes,
    require_encoder,
)
from service.catalog.sqlite.erasure import erasure_times, forget_answers
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    require_collection,
    require_scan,
)
from service.catalog.validation import require_fields, require_version
from service.errors import InputError, ServiceError

# The same image: the same file, or other bytes of the same pixels.
_SAME_FILE = """
    SELECT * FROM scan_records
    WHERE collection_id = ? AND sha256 = ? AND coalesce(subject_id, '') = coalesce(?, '')
"""
_SAME_PIXELS = """
    SELECT * FROM scan_records
    WHERE collection_id = ? AND content_sha256 = ? AND coalesce(subject_id, '') = coalesce(?, '')
"""
_COPIES = """
    SELECT row_id, scan_id FROM scans WHERE collection_id = ? AND sha256 = ? AND row_id <> ?
    UNION
    SELECT row_id, scan_id FROM scans WHERE collection_id = ? AND content_sha256 = ? AND row_id <> ?
    ORDER BY row_id LIMIT ?
"""


class SqliteScanWrites(SqliteTable):
    """The part of the catalog that changes scans."""

    def add_scans(
        self,
        workspace_id: str,
        collection: str,
        scans: Sequence[NewScan],
        *,
        encoder_id: str,
        unless_erased: bool = False,
    ) -> list[StoredScan | ServiceError]:
        rules, admit = self._rules.intake(workspace_id), self._rules.admission(workspace_id)
        payer = self._rules.payer()
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            require_encoder(parent["encoder_id"], encoder_id)
            choices: list[NewScan | ServiceError] = list(scans)
            if unless_erased:
                times = erasure_times(connection, workspace_id)
                choices = without_erased(scans, times, workspace_id, rules.named)
            left = [choice for choice in choices if isinstance(choice, NewScan)]
            return in_place(choices, store_scans(connection, parent, left, rules, admit, payer))

    def patch_scan(
        self,
        workspace_id: str,
        collection: str,
        scan_id: str,
        patch: ScanPatch,
        *,
        if_version: int | None = None,
    ) -> Scan:
        require_fields(patch.set_fields, PATCHABLE)
        patch = self._rules.intake(workspace_id).patch(patch)
        update = """
            UPDATE scans
            SET subject_id = ?, study_id = ?, labels = ?, attributes = ?, updated_at = ?,
                version = version + 1
            WHERE row_id = ?
        """
        with self._database.write() as connection:
            scan = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
            require_version(scan.version, if_version)
            changes = patched(scan, patch)
            _require_no_copy(connection, scan, changes["subject_id"])
            connection.execute(update, (*encoded(changes), now(), scan.row_id))
            removed = removes(scan, changes)
            if removed:
                forget_answers(connection, workspace_id)
            changed = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
        if removed:
            self._database.forget_deleted()
        return changed


def store_scans(
    connection: sqlite3.Connection,
    collection: sqlite3.Row,
    scans: Sequence[NewScan],
    rules: IntakeRules,
    admit: AdmitUsage | None,
    payer: str | None,
) -> list[StoredScan | ServiceError]:
    """Store scans in a collection of their encoder; as ``add_scans``, in the transaction."""
    rules = rules.of_encoder(collection["encoder_id"])
    answers = [_answer(connection, collection, new, rules, payer) for new in scans]
    if any(isinstance(answer, StoredScan) and answer.created for answer in answers):
        admit_usage(connection, collection["workspace_id"], admit)
    return answers


def _answer(
    connection: sqlite3.Connection,
    collection: sqlite3.Row,
    new: NewScan,
    rules: IntakeRules,
    payer: str | None,
) -> StoredScan | ServiceError:
    collection_id, image = collection["collection_id"], new.image
    taken = "SELECT 1 FROM scans WHERE collection_id = ? AND scan_id = ?"
    try:
        prepared = prepare(new, collection["dim"], rules)
    except InputError as error:
        return error
    columns = prepared.columns
    subject_id, scan_id = columns["subject_id"], columns["scan_id"]
    row = (
        connection.execute(_SAME_FILE, (collection_id, image.sha256, subject_id)).fetchone()
        or connection.execute(
            _SAME_PIXELS, (collection_id, image.content_sha256, subject_id)
        ).fetchone()
    )
    if row is not None:
        scan = decode(Scan, row)
        return StoredScan(scan, False, tuple(ignored(prepared, scan)))
    if connection.execute(taken, (collection_id, scan_id)).fetchone() is not None:
        return name_taken()
    row_id = _insert(connection, collection, prepared, payer)
    row = connection.execute("SELECT * FROM scan_records WHERE row_id = ?", (row_id,)).fetchone()
    copies = _copies(connection, row)
    return StoredScan(decode(Scan, row), True, copies=copies)


def _copies(connection: sqlite3.Connection, row: sqlite3.Row) -> tuple[str, ...]:
    """Other scans of the collection with the same file or pixels."""
    halves = [
        (row["collection_id"], row[column], row["row_id"])
        for column in ("sha256", "content_sha256")
    ]
    found = connection.execute(_COPIES, (*halves[0], *halves[1], MAX_COPIES))
    return tuple(scan_id for _, scan_id in found)


def _insert(
    connection: sqlite3.Connection,
    collection: sqlite3.Row,
    prepared: PreparedScan,
    payer: str | None,
) -> int:
    new, moment = prepared.new, now()
    owner = {"workspace_id": collection["workspace_id"]}
    parent = owner | {"collection_id": collection["collection_id"]}
    size = {"stored_bytes": prepared.stored_bytes(keep_image=bool(collection["keep_images"]))}
    times = {"created_at": new.created_at or moment, "updated_at": moment, "version": 1}
    row_id = insert(
        connection, "scans", parent | prepared.columns | times | size | {"key_id": payer}
    )
    row = {"row_id": row_id} | owner
    insert(connection, "scan_vectors", row | {"vector": prepared.vector})
    insert(connection, "scan_thumbnails", row | {"jpeg": new.thumbnail_jpeg})
    if collection["keep_images"] and new.image_png is not None:
        insert(connection, "scan_images", row | {"png": new.image_png})
    for frame, vector in zip(new.frames, prepared.frames, strict=True):
        insert(connection, "scan_frames", parent | row | to_columns(frame) | {"vector": vector})
    return int(row_id or 0)


def _require_no_copy(connection: sqlite3.Connection, scan: Scan, subject_id: str | None) -> None:
    """Raises Conflict: the subject has this image already, as another scan."""
    if subject_id == scan.subject_id:
        return
    sql = "SELECT collection_id FROM scans WHERE row_id = ?"
    collection_id = connection.execute(sql, (scan.row_id,)).fetchone()[0]
    for same, digest in (
        (_SAME_FILE, scan.image.sha256),
        (_SAME_PIXELS, scan.image.content_sha256),
    ):
        if connection.execute(same, (collection_id, digest, subject_id)).fetchone() is not None:
            raise has_copy()
