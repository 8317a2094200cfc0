"""Storing and changing scans, in SQLite.

Shape suffixes: D embedding width.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from service.catalog.records import NewScan, Scalar, Scan, ScanPatch, StoredScan
from service.catalog.sqlite.codec import (
    decode_scan,
    encode_attributes,
    encode_labels,
    encode_object,
    encode_vector,
    new_id,
    now,
    require_collection,
    require_scan,
    require_text,
    require_version,
)
from service.catalog.sqlite.database import Database
from service.errors import EncoderMismatch, InputError, NameTaken, ServiceError

PATCHABLE = frozenset({"subject_id", "study_id"})

_INSERT_SCAN = """
    INSERT INTO scans (
        workspace_id, collection_id, scan_id, sha256, kind, format, width_px, height_px,
        content_sha256, frames, frames_used, frame_rate_hz, looked,
        subject_id, study_id, labels, attributes, created_at, updated_at, version
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
"""
_INSERT_VECTOR = "INSERT INTO scan_vectors (row_id, workspace_id, vector) VALUES (?, ?, ?)"
_INSERT_FRAME = """
    INSERT INTO scan_frames (
        row_id, workspace_id, collection_id, place, time_s, copies, vector
    )
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_THUMBNAIL = "INSERT INTO scan_thumbnails (row_id, workspace_id, jpeg) VALUES (?, ?, ?)"
_INSERT_IMAGE = "INSERT INTO scan_images (row_id, workspace_id, png) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A NewScan that passed every check, with its columns encoded."""

    new: NewScan
    labels: str
    attributes: str
    vector: bytes
    frames: tuple[bytes, ...]
    analysis: str | None


class ScanWrites:
    """The part of the catalog that changes scans."""

    _database: Database

    def add_scans(
        self, workspace_id: str, collection: str, scans: Sequence[NewScan], *, encoder_id: str
    ) -> list[StoredScan | ServiceError]:
        """Store scans in one transaction; item i answers scan i.

        The same bytes (sha256) twice in one collection, or in one call, are one scan, and so are
        the same pixels (content_sha256) in other bytes: the stored
        one is returned unchanged with ``created=False``. In its place stands a NameTaken for a
        ``scan_id`` that another image has, and an InputError for a scan that cannot be stored
        (embedding not finite float32 of the collection's width; ids, labels or attributes of
        another type, with NUL, NaN or beyond 64 bits); the other items are stored.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection is bound to another encoder.
        """
        with self._database.write() as connection:
            found = require_collection(connection, workspace_id, collection)
            if found["encoder_id"] != encoder_id:
                raise EncoderMismatch(
                    f"the collection is bound to encoder {found['encoder_id']}, got {encoder_id}"
                )
            return [_answer(connection, found, new) for new in scans]

    def patch_scan(
        self,
        workspace_id: str,
        collection: str,
        scan_id: str,
        patch: ScanPatch,
        *,
        if_version: int | None = None,
    ) -> Scan:
        """Apply and bump ``version``, also when nothing differs.

        Raises:
            UnknownItem: no such collection or scan.
            PreconditionFailed: ``if_version`` is not the current one.
            InputError: a value cannot be stored, or ``set_fields`` names an unknown field.
        """
        unknown = len(patch.set_fields - PATCHABLE)
        if unknown:
            raise InputError(f"set_fields may name {sorted(PATCHABLE)}, got {unknown} others")
        update = """
            UPDATE scans
            SET subject_id = ?, study_id = ?, labels = ?, attributes = ?, updated_at = ?,
                version = version + 1
            WHERE row_id = ?
        """
        with self._database.write() as connection:
            scan = decode_scan(require_scan(connection, workspace_id, collection, scan_id))
            require_version(scan.version, if_version)
            connection.execute(update, (*_patched(scan, patch), now(), scan.row_id))
            return decode_scan(require_scan(connection, workspace_id, collection, scan_id))


def _answer(
    connection: sqlite3.Connection, collection: sqlite3.Row, new: NewScan
) -> StoredScan | ServiceError:
    collection_id = collection["collection_id"]
    known = "SELECT * FROM scan_records WHERE collection_id = ? AND sha256 = ?"
    taken = "SELECT 1 FROM scans WHERE collection_id = ? AND scan_id = ?"
    try:
        prepared = _prepare(new, collection["dim"])
    except InputError as error:
        return error
    same = "SELECT * FROM scan_records WHERE collection_id = ? AND content_sha256 = ?"
    row = connection.execute(known, (collection_id, new.image.sha256)).fetchone()
    if row is None and new.image.content_sha256:
        row = connection.execute(same, (collection_id, new.image.content_sha256)).fetchone()
    if row is not None:
        return StoredScan(decode_scan(row), created=False)
    if connection.execute(taken, (collection_id, new.scan_id)).fetchone() is not None:
        return NameTaken("another image of the collection has this scan id")
    row_id = _insert(connection, collection, prepared)
    row = connection.execute("SELECT * FROM scan_records WHERE row_id = ?", (row_id,)).fetchone()
    return StoredScan(decode_scan(row), created=True)


def _prepare(new: NewScan, dim: int) -> _Prepared:
    require_text(new.image.sha256, "a sha256")
    require_text(new.image.content_sha256, "a content_sha256")
    for value, what in (
        (new.scan_id, "a scan id"),
        (new.subject_id, "a subject id"),
        (new.study_id, "a study id"),
        (new.created_at, "a time"),
    ):
        if value is not None:
            require_text(value, what)
    return _Prepared(
        new,
        labels=encode_labels(new.labels),
        attributes=encode_attributes(new.attributes),
        vector=encode_vector(new.embedding_D, dim),
        frames=tuple(encode_vector(frame.embedding_D, dim) for frame in new.frames),
        analysis=None if new.image.analysis is None else encode_object(new.image.analysis),
    )


def _insert(connection: sqlite3.Connection, collection: sqlite3.Row, prepared: _Prepared) -> int:
    new, image, moment = prepared.new, prepared.new.image, now()
    workspace_id = collection["workspace_id"]
    row_id = connection.execute(
        _INSERT_SCAN,
        (
            workspace_id,
            collection["collection_id"],
            new_id("scn") if new.scan_id is None else new.scan_id,
            image.sha256,
            image.kind,
            image.format,
            image.width_px,
            image.height_px,
            image.content_sha256 or None,
            image.frames,
            image.frames_used,
            image.frame_rate_hz,
            prepared.analysis,
            new.subject_id,
            new.study_id,
            prepared.labels,
            prepared.attributes,
            new.created_at or moment,
            moment,
        ),
    ).lastrowid
    connection.execute(_INSERT_VECTOR, (row_id, workspace_id, prepared.vector))
    connection.execute(_INSERT_THUMBNAIL, (row_id, workspace_id, new.thumbnail_jpeg))
    if collection["keep_images"] and new.image_png is not None:
        connection.execute(_INSERT_IMAGE, (row_id, workspace_id, new.image_png))
    connection.executemany(
        _INSERT_FRAME,
        [
            (row_id, workspace_id, collection["collection_id"], f.place, f.time_s, f.copies, vector)
            for f, vector in zip(new.frames, prepared.frames, strict=True)
        ],
    )
    return int(row_id or 0)


def _patched(scan: Scan, patch: ScanPatch) -> tuple[str | None, str | None, str, str]:
    subject_id = patch.subject_id if "subject_id" in patch.set_fields else scan.subject_id
    study_id = patch.study_id if "study_id" in patch.set_fields else scan.study_id
    for value, what in ((subject_id, "a subject id"), (study_id, "a study id")):
        if value is not None:
            require_text(value, what)
    labels = {
        name: value for name, value in {**scan.labels, **patch.labels}.items() if value is not None
    }
    # Only the patch's own None removes: an attribute may be stored as null.
    attributes: dict[str, Scalar] = dict(scan.attributes)
    for name, scalar in patch.attributes.items():
        if scalar is None:
            attributes.pop(name, None)
        else:
            attributes[name] = scalar
    return subject_id, study_id, encode_labels(labels), encode_attributes(attributes)
