"""Storing and changing scans in SQLite.

Shape suffixes: D embedding width.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.catalog.codec import (
    encode_attributes,
    encode_labels,
    encode_vector,
    to_columns,
)
from service.catalog.ids import new_id, now
from service.catalog.records import NewScan, Scan, ScanPatch, StoredScan
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    require_collection,
    require_scan,
)
from service.catalog.validation import (
    require_fields,
    require_optional_text,
    require_text,
    require_version,
)
from service.errors import EncoderMismatch, InputError, NameTaken, ServiceError

PATCHABLE = frozenset({"subject_id", "study_id"})


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A NewScan that passed every check, with its encoded columns."""

    new: NewScan
    columns: dict[str, Any]
    vector: bytes
    frames: tuple[bytes, ...]


class SqliteScanWrites(SqliteTable):
    """The part of the catalog that changes scans."""

    def add_scans(
        self, workspace_id: str, collection: str, scans: Sequence[NewScan], *, encoder_id: str
    ) -> list[StoredScan | ServiceError]:
        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            if parent["encoder_id"] != encoder_id:
                raise EncoderMismatch(
                    f"the collection is bound to encoder {parent['encoder_id']}, got {encoder_id}"
                )
            return [_answer(connection, parent, new) for new in scans]

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
        update = """
            UPDATE scans
            SET subject_id = ?, study_id = ?, labels = ?, attributes = ?, updated_at = ?,
                version = version + 1
            WHERE row_id = ?
        """
        with self._database.write() as connection:
            scan = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
            require_version(scan.version, if_version)
            connection.execute(update, (*_patched(scan, patch), now(), scan.row_id))
            return decode(Scan, require_scan(connection, workspace_id, collection, scan_id))


def _answer(
    connection: sqlite3.Connection, collection: sqlite3.Row, new: NewScan
) -> StoredScan | ServiceError:
    collection_id = collection["collection_id"]
    same_bytes = "SELECT * FROM scan_records WHERE collection_id = ? AND sha256 = ?"
    same_pixels = "SELECT * FROM scan_records WHERE collection_id = ? AND content_sha256 = ?"
    taken = "SELECT 1 FROM scans WHERE collection_id = ? AND scan_id = ?"
    try:
        prepared = _prepare(new, collection["dim"])
    except InputError as error:
        return error
    row = (
        connection.execute(same_bytes, (collection_id, new.image.sha256)).fetchone()
        or connection.execute(same_pixels, (collection_id, new.image.content_sha256)).fetchone()
    )
    if row is not None:
        return StoredScan(decode(Scan, row), created=False)
    if connection.execute(taken, (collection_id, new.scan_id)).fetchone() is not None:
        return NameTaken("another image of the collection has this scan id")
    row_id = _insert(connection, collection, prepared)
    row = connection.execute("SELECT * FROM scan_records WHERE row_id = ?", (row_id,)).fetchone()
    return StoredScan(decode(Scan, row), created=True)


def _prepare(new: NewScan, dim: int) -> _Prepared:
    require_text(new.image.sha256, "a sha256")
    require_text(new.image.content_sha256, "a content_sha256")
    require_optional_text(new.scan_id, "a scan id")
    require_optional_text(new.subject_id, "a subject id")
    require_optional_text(new.study_id, "a study id")
    require_optional_text(new.created_at, "a time")
    columns = to_columns(new.image) | {
        "scan_id": new_id("scn") if new.scan_id is None else new.scan_id,
        "subject_id": new.subject_id,
        "study_id": new.study_id,
        "labels": encode_labels(new.labels),
        "attributes": encode_attributes(new.attributes),
    }
    frames = tuple(encode_vector(frame.embedding_D, dim) for frame in new.frames)
    return _Prepared(new, columns, encode_vector(new.embedding_D, dim), frames)


def _insert(connection: sqlite3.Connection, collection: sqlite3.Row, prepared: _Prepared) -> int:
    new, moment = prepared.new, now()
    owner = {"workspace_id": collection["workspace_id"]}
    parent = owner | {"collection_id": collection["collection_id"]}
    times = {"created_at": new.created_at or moment, "updated_at": moment, "version": 1}
    row_id = insert(connection, "scans", parent | prepared.columns | times)
    row = {"row_id": row_id} | owner
    insert(connection, "scan_vectors", row | {"vector": prepared.vector})
    insert(connection, "scan_thumbnails", row | {"jpeg": new.thumbnail_jpeg})
    if collection["keep_images"] and new.image_png is not None:
        insert(connection, "scan_images", row | {"png": new.image_png})
    for frame, vector in zip(new.frames, prepared.frames, strict=True):
        insert(connection, "scan_frames", parent | row | to_columns(frame) | {"vector": vector})
    return int(row_id or 0)


def _patched(scan: Scan, patch: ScanPatch) -> tuple[str | None, str | None, str, str]:
    subject_id = patch.subject_id if "subject_id" in patch.set_fields else scan.subject_id
    study_id = patch.study_id if "study_id" in patch.set_fields else scan.study_id
    require_optional_text(subject_id, "a subject id")
    require_optional_text(study_id, "a study id")
    labels = {
        name: value for name, value in {**scan.labels, **patch.labels}.items() if value is not None
    }
    # Only a None of the patch removes an attribute; a stored null stays.
    attributes = {n: value for n, value in scan.attributes.items() if n not in patch.attributes}
    attributes |= {n: value for n, value in patch.attributes.items() if value is not None}
    return subject_id, study_id, encode_labels(labels), encode_attributes(attributes)
