"""Many rows of one collection in PostgreSQL, by COPY, as the catalog would store them.

COPY does not work under row-level security, so the database must be opened as a superuser.

Shape suffixes: N rows, D embedding width.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pgvector import HalfVector, Vector

from service.catalog.postgres.postgres_database import DIRECTORY, PostgresDatabase
from service.catalog.postgres.postgres_rows import require_collection

_TIME = "2026-01-01T00:00:00.000000Z"
_SCANS = """
    COPY scans (workspace_id, collection_id, scan_id, sha256, kind, format, width_px, height_px,
    content_sha256, frames, frames_used, analysis, subject_id, labels, attributes, created_at,
    updated_at, version) FROM STDIN
"""
_VECTORS = "COPY scan_vectors (row_id, workspace_id, collection_id, half, vector) FROM STDIN"


def add_workspace(database: PostgresDatabase, workspace_id: str) -> None:
    """Create a workspace in the database of the directory."""
    with database.directory("write") as connection:
        connection.execute(
            "INSERT INTO directory (workspace_id, name, shard, created_at) VALUES (%s, %s, %s, %s)",
            (workspace_id, workspace_id, DIRECTORY, _TIME),
        )
        connection.execute("INSERT INTO workspaces (workspace_id) VALUES (%s)", (workspace_id,))


def add_collection(
    database: PostgresDatabase, workspace_id: str, name: str, *, dim: int, encoder_id: str
) -> None:
    """Create an empty collection."""
    with database.write(workspace_id) as connection:
        connection.execute(
            "INSERT INTO collections (workspace_id, name, encoder_id, dim, description, "
            "created_at, version, keep_images, intake) VALUES (%s, %s, %s, %s, '', %s, 1, false, "
            "'{}')",
            (workspace_id, name, encoder_id, dim, _TIME),
        )


def copy_rows(
    database: PostgresDatabase,
    workspace_id: str,
    name: str,
    rows_ND: npt.NDArray[np.float32],
    attributes: Sequence[dict[str, Any]],
    *,
    subjects: Sequence[str] | None = None,
) -> list[int]:
    """Store unit vectors with attributes and subjects; return the row ids, in their order."""
    with database.write(workspace_id) as connection:
        row = require_collection(connection, workspace_id, name, lock=True)
        collection_id, before = row["collection_id"], row["scans"]
        newest = "SELECT coalesce(max(row_id), 0) AS id FROM scans WHERE collection_id = %s"
        last = connection.execute(newest, (collection_id,)).fetchone()
        assert last is not None
        with connection.cursor().copy(_SCANS) as copy:
            for i, values in enumerate(attributes):
                n = f"{name}-{before + i}-{last['id']}"
                subject = None if subjects is None else subjects[i]
                fixed = (n, "image", "png", 640, 480, n, 1, 1, "{}", subject, "{}")
                scan = (workspace_id, collection_id, n, *fixed)
                copy.write_row((*scan, json.dumps(values), _TIME, _TIME, 1))
        stored = connection.execute(
            "SELECT row_id FROM scans WHERE collection_id = %s AND row_id > %s ORDER BY row_id",
            (collection_id, last["id"]),
        ).fetchall()
        row_ids = [stored_row["row_id"] for stored_row in stored]
        with connection.cursor().copy(_VECTORS + " (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "text", "int8", "halfvec", "vector"])
            for row_id, row_D in zip(row_ids, rows_ND, strict=True):
                half = HalfVector(row_D.astype(np.float16))
                copy.write_row((row_id, workspace_id, collection_id, half, Vector(row_D)))
        connection.execute(
            "UPDATE collections SET scans = scans + %s WHERE collection_id = %s",
            (len(row_ids), collection_id),
        )
    return row_ids
