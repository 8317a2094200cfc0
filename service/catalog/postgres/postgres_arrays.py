"""Vectors, labels and kept frames of many scans, in PostgreSQL.

Shape suffixes: N scans or frames, D embedding width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.rows import tuple_row

from service.catalog.codec import decode_json
from service.catalog.filter_records import ScanFilter
from service.catalog.ids import content_hash
from service.catalog.plain_text import name_of
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_filter import condition
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    comparable,
    require_collection,
    sent_vectors,
)
from service.catalog.records import KeptFrames, LabelledScans
from service.errors import TooManyItems, UnknownItem

_ROWS_AT_ONCE = 2000  # 8 MB of vectors with 1024 numbers

_HASHES = "SELECT row_id, sha256 FROM scans WHERE collection_id = %s::bigint ORDER BY row_id"
_BY_ROW = """
    SELECT s.row_id, vector_send(v.vector)
    FROM scans AS s LEFT JOIN scan_vectors AS v ON v.row_id = s.row_id
    WHERE s.collection_id = %s::bigint AND s.row_id = ANY(%s::bigint[]) ORDER BY s.row_id
"""
_BY_ID = """
    SELECT s.scan_id, vector_send(v.vector)
    FROM scans AS s LEFT JOIN scan_vectors AS v ON v.row_id = s.row_id
    WHERE s.collection_id = %s::bigint AND s.scan_id = ANY(%s::text[])
"""
_COUNT = "SELECT count(*) FROM filtered_scans WHERE collection_id = %s::bigint AND {passes}"
_LABELLED = """
    SELECT s.scan_id, s.sha256, s.subject_id, s.study_id, s.labels, {vector}
    FROM (
        SELECT row_id FROM filtered_scans WHERE collection_id = %s::bigint AND {passes}
    ) AS f JOIN scans AS s ON s.row_id = f.row_id {join}
    ORDER BY s.row_id
"""
_WITH_VECTOR = {
    "vector": "vector_send(v.vector)",
    "join": "LEFT JOIN scan_vectors AS v ON v.row_id = s.row_id",
}
_WITHOUT = {"vector": "NULL", "join": ""}
_FRAMES = """
    SELECT row_id, place, time_s, vector_send(vector) FROM scan_frames
    WHERE collection_id = %s::bigint AND {chosen} ORDER BY frame_id
"""


class PostgresArrays(PostgresTable):
    """The part of the catalog that hands out labelled vectors, and frames."""

    def content_hashes(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = _tuples(connection, _HASHES, parent["collection_id"])
        hashes = (content_hash(sha256) for _, sha256 in rows)
        row_ids_N = np.fromiter((row_id for row_id, _ in rows), np.int64, len(rows))
        return row_ids_N, np.fromiter(hashes, np.uint64, len(rows))

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        ids = comparable(int(row_id) for row_id in row_ids)
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = _tuples(connection, _BY_ROW, parent["collection_id"], ids)
        embeddings_ND = sent_vectors([vector for _, vector in rows], parent["dim"])
        return np.array([row_id for row_id, _ in rows], np.int64), embeddings_ND

    def embeddings(
        self, workspace_id: str, collection: str, scan_ids: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        scan_ids = [name_of(scan_id) for scan_id in scan_ids]
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = _tuples(connection, _BY_ID, parent["collection_id"], sorted(set(scan_ids)))
        stored_MD = sent_vectors([vector for _, vector in rows], parent["dim"])
        places = {scan_id: place for place, (scan_id, _) in enumerate(rows)}
        missing = len(set(scan_ids) - places.keys())
        if missing:
            raise UnknownItem(f"{missing} of {len(scan_ids)} scans are not in the collection")
        return stored_MD[[places[scan_id] for scan_id in scan_ids]]

    def labelled(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        most: int,
        vectors: bool = True,
    ) -> LabelledScans:
        passes, variables = condition(where)
        query = _LABELLED.format(passes=passes, **(_WITH_VECTOR if vectors else _WITHOUT))
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            bound = (parent["collection_id"], *variables)
            ((count,),) = _tuples(connection, _COUNT.format(passes=passes), *bound)
            if count > most:
                raise TooManyItems(f"expected at most {most} scans in one request, got {count}")
            dim = parent["dim"] if vectors else 0
            embeddings_ND = np.empty((count, dim), np.float32)
            scans = LabelledScans([], [], [], [], [], embeddings_ND)
            parsed: dict[str, Mapping[str, str]] = {}  # thousands of scans have the same few labels
            for block in _blocks(connection, query, bound):
                start = len(scans.scan_ids)
                scan_ids, sha256s, subject_ids, study_ids, labels, sent = zip(*block, strict=True)
                scans.scan_ids.extend(scan_ids)
                scans.sha256s.extend(sha256s)
                scans.subject_ids.extend(subject_ids)
                scans.study_ids.extend(study_ids)
                parsed |= {text: decode_json(text, dict) for text in set(labels) - parsed.keys()}
                scans.labels.extend(parsed[text] for text in labels)
                if vectors:
                    embeddings_ND[start : start + len(block)] = sent_vectors(sent, dim)
        return scans

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        chosen, ids = "TRUE", []
        if row_ids is not None:
            chosen = "row_id = ANY(%s::bigint[])"
            ids = [comparable(int(row_id) for row_id in row_ids)]
        facts: list[tuple[int, int, float | None]] = []
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            dim = parent["dim"]
            parts_ND = [np.empty((0, dim), np.float32)]
            bound = (parent["collection_id"], *ids)
            for block in _blocks(connection, _FRAMES.format(chosen=chosen), bound):
                facts.extend(row[:3] for row in block)
                parts_ND.append(sent_vectors([row[3] for row in block], dim))
        times = [math.nan if time_s is None else time_s for _, _, time_s in facts]
        return KeptFrames(
            np.array([row_id for row_id, _, _ in facts], np.int64),
            np.array([place for _, place, _ in facts], np.int64),
            np.array(times, np.float64),
            np.concatenate(parts_ND),
        )

    def frames_stamp(self, workspace_id: str, collection: str) -> str:
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
        # The number tells a collection from an earlier one of the same name.
        return f"{parent['collection_id']}:{parent['frames_stamp']}"


def _tuples(connection: Connection, query: str, *variables: Any) -> list[tuple[Any, ...]]:
    """All rows, in binary: a vector as text would have three times the size."""
    with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        return cursor.execute(query, variables, prepare=False).fetchall()


def _blocks(
    connection: Connection, query: str, variables: Sequence[Any]
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in blocks, so that those of a large collection are never in memory twice."""
    # A cursor is planned for its first rows unless it is told that all of them will be fetched.
    connection.execute("SET LOCAL cursor_tuple_fraction = 1")
    with connection.cursor("blocks", row_factory=tuple_row) as cursor:
        cursor.execute(query, variables, binary=True)
        while block := cursor.fetchmany(_ROWS_AT_ONCE):
            yield block
