"""Storing and changing scans in SQLite.

Shape suffixes: D embedding width.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.catalog.codec import (
    encode_json,
    encode_vector,
    plain_attributes,
    plain_labels,
    to_columns,
)
from service.catalog.ids import new_id, now
from service.catalog.plain_text import name_of, require_name, require_optional_name
from service.catalog.records import IgnoredField, NewScan, Scalar, Scan, ScanPatch, StoredScan
from service.catalog.sqlite.erasure import forget_answers
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
from service.errors import Conflict, EncoderMismatch, InputError, NameTaken, ServiceError

PATCHABLE = frozenset({"subject_id", "study_id"})
MAX_COPIES = 100  # that an answer names

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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A NewScan that passed every check, with its encoded columns."""

    new: NewScan
    columns: dict[str, Any]
    labels: Mapping[str, str]
    attributes: Mapping[str, Scalar]
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
            patched = _patched(scan, patch)
            _require_no_copy(connection, scan, patched["subject_id"])
            connection.execute(update, (*_encoded(patched), now(), scan.row_id))
            removes = _removes(scan, patched)
            if removes:
                forget_answers(connection, workspace_id)
            changed = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
        if removes:
            self._database.forget_deleted()
        return changed


def _answer(
    connection: sqlite3.Connection, collection: sqlite3.Row, new: NewScan
) -> StoredScan | ServiceError:
    collection_id, image = collection["collection_id"], new.image
    taken = "SELECT 1 FROM scans WHERE collection_id = ? AND scan_id = ?"
    try:
        prepared = _prepare(new, collection["dim"])
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
        return StoredScan(scan, False, tuple(_ignored(prepared, scan)))
    if connection.execute(taken, (collection_id, scan_id)).fetchone() is not None:
        return NameTaken("another image, or this one of another subject, has this scan id")
    row_id = _insert(connection, collection, prepared)
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


def _ignored(prepared: _Prepared, scan: Scan) -> Iterator[IgnoredField]:
    """What a repeated upload says otherwise than the stored scan."""
    new, columns = prepared.new, prepared.columns
    if new.image.content_sha256 != scan.image.content_sha256:  # other frames or another region
        sent, kept = new.image.content_sha256, scan.image.content_sha256
        yield IgnoredField("image.content_sha256", sent, kept)
    if new.scan_id is not None and columns["scan_id"] != scan.scan_id:
        yield IgnoredField("scan_id", columns["scan_id"], scan.scan_id)
    if new.study_id is not None and columns["study_id"] != scan.study_id:
        yield IgnoredField("study_id", columns["study_id"], scan.study_id)
    for field, sent_values, kept_values in (
        ("labels", prepared.labels, scan.labels),
        ("attributes", prepared.attributes, scan.attributes),
    ):
        for name, value in sent_values.items():
            # 1 and true are equal in Python, and not in JSON.
            known = name in kept_values and encode_json(kept_values[name]) == encode_json(value)
            if not known:
                yield IgnoredField(f"{field}.{name}", value, kept_values.get(name))


def _prepare(new: NewScan, dim: int) -> _Prepared:
    require_text(new.image.sha256, "a sha256")
    require_text(new.image.content_sha256, "a content_sha256")
    require_optional_text(new.created_at, "a time")
    labels, attributes = plain_labels(new.labels), plain_attributes(new.attributes)
    scan_id = new_id("scn") if new.scan_id is None else require_name(new.scan_id, "a scan id")
    columns = to_columns(new.image) | {
        "scan_id": scan_id,
        "subject_id": require_optional_name(new.subject_id, "a subject id"),
        "study_id": require_optional_name(new.study_id, "a study id"),
        "labels": encode_json(labels),
        "attributes": encode_json(attributes),
    }
    vector = encode_vector(new.embedding_D, dim)
    frames = tuple(encode_vector(frame.embedding_D, dim) for frame in new.frames)
    return _Prepared(new, columns, labels, attributes, vector, frames)


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


def _patched(scan: Scan, patch: ScanPatch) -> dict[str, Any]:
    """The new values of all fields that can change, in their stored form."""
    owners = {
        field: require_optional_name(getattr(patch, field), f"a {field.removesuffix('_id')} id")
        if field in patch.set_fields
        else getattr(scan, field)
        for field in sorted(PATCHABLE)
    }
    labels: dict[str, str] = dict(scan.labels)
    _apply(labels, patch.labels, plain_labels)
    # Only a None of the patch removes an attribute; a stored null stays.
    attributes: dict[str, Scalar] = dict(scan.attributes)
    _apply(attributes, patch.attributes, plain_attributes)
    return owners | {"labels": labels, "attributes": attributes}


def _apply(stored: dict[str, Any], changes: Mapping[str, Any], plain: Any) -> None:
    for name in [name_of(name) for name, value in changes.items() if value is None]:
        stored.pop(name, None)
    stored |= plain({name: value for name, value in changes.items() if value is not None})


def _encoded(patched: Mapping[str, Any]) -> tuple[str | None, str | None, str, str]:
    labels, attributes = encode_json(patched["labels"]), encode_json(patched["attributes"])
    return patched["subject_id"], patched["study_id"], labels, attributes


def _removes(scan: Scan, patched: Mapping[str, Any]) -> bool:
    """Whether something that was stored is replaced or removed."""
    for field in PATCHABLE:
        if getattr(scan, field) not in (None, patched[field]):
            return True
    pairs = ((scan.labels, patched["labels"]), (scan.attributes, patched["attributes"]))
    return any(
        name not in after or encode_json(after[name]) != encode_json(value)
        for before, after in pairs
        for name, value in before.items()
    )


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
            raise Conflict(
                "the collection has this image under this subject already: delete one of the two"
            )
