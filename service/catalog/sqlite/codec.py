"""Between records and rows: ids, times, JSON columns and vector blobs.

Whatever goes in is checked here (InputError); whatever comes out and cannot be ours is damage
(CatalogFailure). No message quotes a value.

Shape suffixes: D embedding width.
"""

import json
import math
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from service.catalog.records import (
    Author,
    ClassifierVersion,
    Collection,
    Page,
    Scalar,
    Scan,
    ScanImage,
)
from service.errors import CatalogFailure, InputError, PreconditionFailed, UnknownItem

INT64_MAX = 2**63 - 1
T = TypeVar("T")


def new_id(prefix: str) -> str:
    """``prefix`` and 20 random hexadecimal digits (80 bits), joined by an underscore."""
    return f"{prefix}_{secrets.token_hex(10)}"


def new_ids(prefix: str, count: int) -> list[str]:
    """Many of ``new_id``, drawn at once: asking the system for each takes longer than all else."""
    digits = secrets.token_hex(10 * count)
    return [f"{prefix}_{digits[start : start + 20]}" for start in range(0, 20 * count, 20)]


def now() -> str:
    """The UTC time, ISO 8601 with microseconds and a trailing ``Z``."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_storable(text: str) -> bool:
    """Whether text survives SQLite's JSON: no NUL, where it truncates, and valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def require_text(text: object, what: str) -> str:
    """Return the text. Raises InputError: not a string, or not storable; ``what`` names it."""
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {type(text).__name__}")
    if not is_storable(text):
        raise InputError(f"{what} must be valid Unicode without NUL characters")
    return text


def require_limit(limit: int) -> int:
    """Return the page size. Raises InputError: smaller than 1."""
    if limit < 1:
        raise InputError(f"a page must hold at least 1 item, got {limit}")
    return limit


def require_version(current: int, if_version: int | None) -> None:
    """Raises PreconditionFailed: the caller named a version and it is not the current one."""
    if if_version is not None and if_version != current:
        raise PreconditionFailed(f"expected version {if_version}, the current one is {current}")


def require_workspace(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Raises UnknownItem: no such workspace."""
    sql = "SELECT 1 FROM workspaces WHERE workspace_id = ?"
    if connection.execute(sql, (workspace_id,)).fetchone() is None:
        raise UnknownItem("no such workspace")


def require_collection(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    """Row of the table ``collections``. Raises UnknownItem."""
    sql = """
        SELECT * FROM collections
        WHERE workspace_id = ? AND name = ?
    """
    row: sqlite3.Row | None = connection.execute(sql, (workspace_id, name)).fetchone()
    if row is None:
        raise UnknownItem("no such collection in this workspace")
    return row


def require_scan(
    connection: sqlite3.Connection, workspace_id: str, collection: str, scan_id: str
) -> sqlite3.Row:
    """Row of the view ``scan_records``. Raises UnknownItem: no such collection or scan."""
    found = require_collection(connection, workspace_id, collection)
    sql = "SELECT * FROM scan_records WHERE collection_id = ? AND scan_id = ?"
    row: sqlite3.Row | None = connection.execute(sql, (found["collection_id"], scan_id)).fetchone()
    if row is None:
        raise UnknownItem("no such scan in this collection")
    return row


def new_page(items: list[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` from up to ``limit + 1`` items; one too many means: go on."""
    shown = items[:limit]
    return Page(tuple(shown), key(shown[-1]) if len(items) > limit else None)


def json_list(values: Iterable[str | int | float]) -> str:
    """A JSON array for ``IN (SELECT value FROM json_each(?))``: one variable, however long.

    Values that nothing stored can equal are left out, because SQLite would misread them.
    """
    return _json([value for value in values if _is_comparable(value)])


def encode_labels(labels: Mapping[str, str]) -> str:
    """JSON object with sorted keys. Raises InputError: a name or value is not storable text."""
    return _json(
        {
            require_text(name, "a label name"): require_text(value, "a label value")
            for name, value in labels.items()
        }
    )


def encode_attributes(attributes: Mapping[str, Scalar]) -> str:
    """JSON object with sorted keys. Raises InputError: not scalars, NaN, or over 64 bits."""
    return _json(
        {
            require_text(name, "an attribute name"): _require_scalar(value)
            for name, value in attributes.items()
        }
    )


def encode_object(value: Mapping[str, Any]) -> str:
    """JSON object with sorted keys. Raises InputError: holds NaN or what JSON cannot hold."""
    try:
        return _json(dict(value))
    except (TypeError, ValueError) as error:
        raise InputError("a stored object must hold nothing but finite JSON values") from error


def decode_json(text: str, expected: type[T]) -> T:
    """Parse a JSON column. Raises CatalogFailure: damaged, or not of the expected type."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError) as error:
        raise CatalogFailure("a stored JSON column does not parse") from error
    if not isinstance(value, expected):
        raise CatalogFailure(
            f"a stored JSON column holds {type(value).__name__}, expected {expected.__name__}"
        )
    return value


def encode_vector(embedding_D: npt.NDArray[np.float32], dim: int) -> bytes:
    """Little-endian float32, 4 * dim bytes. Raises InputError: other dtype, shape, not finite."""
    if embedding_D.dtype != np.float32 or embedding_D.shape != (dim,):
        raise InputError(
            f"an embedding must be float32 of shape ({dim},), "
            f"got {embedding_D.dtype} of shape {embedding_D.shape}"
        )
    if not np.isfinite(embedding_D).all():
        raise InputError("an embedding must be finite")
    return embedding_D.astype("<f4").tobytes()


def decode_vector(blob: object, dim: int) -> npt.NDArray[np.float32]:
    """embedding_D, float32 (dim,), read only. Raises CatalogFailure: missing or of other length."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dim:
        found = f"{len(blob)} bytes" if isinstance(blob, bytes) else "nothing"
        raise CatalogFailure(f"a stored vector has {found}, expected {4 * dim} bytes")
    return np.frombuffer(blob, "<f4").astype(np.float32, copy=False)


def decode_vectors(blobs: Sequence[object], dim: int) -> npt.NDArray[np.float32]:
    """float32 (N, dim) of many blobs. Raises CatalogFailure: as ``decode_vector``."""
    try:
        widths, joined = set(map(len, blobs)), b"".join(blobs)  # type: ignore[arg-type]
    except TypeError:
        widths, joined = {-1}, b""
    if widths - {4 * dim}:
        for blob in blobs:
            decode_vector(blob, dim)
    joined_ND = np.frombuffer(joined, "<f4").reshape(len(blobs), dim)
    return joined_ND.astype(np.float32, copy=False)


def decode_collection(row: sqlite3.Row) -> Collection:
    """From a row of the view ``collection_records``."""
    return Collection(
        name=row["name"],
        encoder_id=row["encoder_id"],
        dim=row["dim"],
        description=row["description"],
        created_at=row["created_at"],
        version=row["version"],
        scans=row["scans"],
        keep_images=bool(row["keep_images"]),
        retention_days=row["retention_days"],
        intake=decode_json(row["intake"], dict),
    )


def decode_scan(row: sqlite3.Row) -> Scan:
    """From a row of the view ``scan_records``. Raises CatalogFailure: damaged JSON."""
    return Scan(
        row_id=row["row_id"],
        scan_id=row["scan_id"],
        collection=row["collection"],
        encoder_id=row["encoder_id"],
        image=ScanImage(
            sha256=row["sha256"],
            kind=row["kind"],
            format=row["format"],
            width_px=row["width_px"],
            height_px=row["height_px"],
            content_sha256=row["content_sha256"] or "",
            frames=row["frames"],
            frames_used=row["frames_used"],
            frame_rate_hz=row["frame_rate_hz"],
            analysis=None if row["looked"] is None else decode_json(row["looked"], dict),
        ),
        subject_id=row["subject_id"],
        study_id=row["study_id"],
        labels=decode_json(row["labels"], dict),
        attributes=decode_json(row["attributes"], dict),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def decode_version(row: sqlite3.Row) -> ClassifierVersion:
    """From a row of the table ``classifier_versions``. Raises CatalogFailure: damaged JSON."""
    return ClassifierVersion(
        number=row["number"],
        encoder_id=row["encoder_id"],
        classes=tuple(decode_json(row["classes"], list)),
        artifact=row["artifact"],
        out_of_fold=row["out_of_fold"],
        report=decode_json(row["report"], dict),
        settings=decode_json(row["settings"], dict),
        author=Author(row["key_id"], row["key_name"]),
        created_at=row["created_at"],
        examples=row["example_count"],
        kind=row["kind"],
    )


def _json(value: object) -> str:
    # Not ASCII-escaped: SQLite then compares the characters themselves.
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _require_scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return require_text(value, "an attribute value")
    if isinstance(value, int | float) and _is_comparable(value):
        return value
    raise InputError(
        "an attribute value must be text, a boolean, null, a 64-bit integer or a finite number, "
        f"got {type(value).__name__}"
    )


def _is_comparable(value: str | int | float) -> bool:
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return -INT64_MAX - 1 <= value <= INT64_MAX
