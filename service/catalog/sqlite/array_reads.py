"""Vectors, labels and kept frames of many scans, in SQLite.

Shape suffixes: N scans or frames, D embedding width.
"""

import math
import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.codec import decode_json, decode_vector, decode_vectors
from service.catalog.filter_records import ScanFilter
from service.catalog.ids import content_hash
from service.catalog.plain_text import name_of
from service.catalog.records import KeptFrames, LabelledScans
from service.catalog.sqlite.rows import SqliteTable, json_list, require_collection
from service.catalog.sqlite.sql_filter import condition, of_collection
from service.errors import TooManyItems, UnknownItem

_ROWS_AT_ONCE = 1000


class SqliteArrays(SqliteTable):
    """The part of the catalog that fills indexes and hands labelled vectors to fits."""

    def content_hashes(
        self, workspace_id: str, collection: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        # SQLite answers from the index over (collection_id, sha256) and reads no row.
        sql = "SELECT row_id, sha256 FROM scans WHERE collection_id = ?"
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (parent["collection_id"],))
            pairs = ((row[0], content_hash(row[1])) for row in rows)
            table = np.fromiter(pairs, dtype=[("row", "<i8"), ("hash", "<u8")])
        order = np.argsort(table["row"])
        return table["row"][order], table["hash"][order]

    def row_vectors(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        sql = """
            SELECT s.row_id, v.vector
            FROM scans AS s LEFT JOIN scan_vectors AS v USING (row_id)
            WHERE +s.collection_id = ? AND s.row_id IN (SELECT value FROM json_each(?))
            ORDER BY s.row_id
        """
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (parent["collection_id"], json_list(row_ids))).fetchall()
        embeddings_ND = decode_vectors([row["vector"] for row in rows], parent["dim"])
        return np.array([row["row_id"] for row in rows], np.int64), embeddings_ND

    def embeddings(
        self, workspace_id: str, collection: str, scan_ids: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        sql = """
            SELECT s.scan_id, v.vector
            FROM scans AS s LEFT JOIN scan_vectors AS v USING (row_id)
            WHERE s.collection_id = ? AND s.scan_id IN (SELECT value FROM json_each(?))
        """
        scan_ids = [name_of(scan_id) for scan_id in scan_ids]
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (parent["collection_id"], json_list(scan_ids)))
            vectors = {row["scan_id"]: decode_vector(row["vector"], parent["dim"]) for row in rows}
        missing = len(set(scan_ids) - vectors.keys())
        if missing:
            raise UnknownItem(f"{missing} of {len(scan_ids)} scans are not in the collection")
        rows_D = [vectors[scan_id] for scan_id in scan_ids]
        return np.array(rows_D, np.float32).reshape(len(rows_D), parent["dim"])

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
        scans = f"FROM scans WHERE {of_collection(where)} AND {passes}"
        vector, join = "v.vector", "LEFT JOIN scan_vectors AS v USING (row_id)"
        if not vectors:
            vector, join = "x''", ""
        select = f"""
            SELECT s.scan_id, s.sha256, s.subject_id, s.study_id, s.labels, {vector}
            FROM (SELECT * {scans}) AS s {join}
            ORDER BY s.row_id
        """  # noqa: S608 - all parts are constants
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            bound = (workspace_id, parent["collection_id"], *variables)
            count = int(connection.execute(f"SELECT count(*) {scans}", bound).fetchone()[0])
            if count > most:
                raise TooManyItems(f"expected at most {most} scans in one request, got {count}")
            dim = parent["dim"] if vectors else 0
            return _columns(connection.execute(select, bound), count, dim)

    def kept_frames(
        self, workspace_id: str, collection: str, row_ids: Sequence[int] | None = None
    ) -> KeptFrames:
        sql = "SELECT row_id, place, time_s, vector FROM scan_frames WHERE collection_id = ?"
        if row_ids is not None:
            sql += " AND row_id IN (SELECT value FROM json_each(?))"
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            ids = [] if row_ids is None else [json_list(int(row_id) for row_id in row_ids)]
            variables = (parent["collection_id"], *ids)
            rows = connection.execute(f"{sql} ORDER BY frame_id", variables).fetchall()
        return _arrays(rows, parent["dim"])

    def frames_stamp(self, workspace_id: str, collection: str) -> str:
        # No frame id is given twice, so a deletion changes the count and an addition the maximum.
        sql = "SELECT count(*), coalesce(max(frame_id), 0) FROM scan_frames WHERE collection_id = ?"
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            count, newest = connection.execute(sql, (parent["collection_id"],)).fetchone()
        return f"{count}:{newest}"


def _columns(rows: sqlite3.Cursor, count: int, dim: int) -> LabelledScans:
    embeddings_ND = np.empty((count, dim), np.float32)
    scans = LabelledScans([], [], [], [], [], embeddings_ND)
    parsed: dict[str, Mapping[str, str]] = {}  # thousands of scans have the same few labels
    rows.row_factory = None  # tuples take half the time of rows with names
    while block := rows.fetchmany(_ROWS_AT_ONCE):
        start = len(scans.scan_ids)
        scan_ids, sha256s, subject_ids, study_ids, labels, vectors = zip(*block, strict=True)
        scans.scan_ids.extend(scan_ids)
        scans.sha256s.extend(sha256s)
        scans.subject_ids.extend(subject_ids)
        scans.study_ids.extend(study_ids)
        parsed |= {text: decode_json(text, dict) for text in set(labels) - parsed.keys()}
        scans.labels.extend(parsed[text] for text in labels)
        embeddings_ND[start : start + len(block)] = decode_vectors(vectors, dim)
    return scans


def _arrays(rows: list[sqlite3.Row], dim: int) -> KeptFrames:
    times = [math.nan if row["time_s"] is None else row["time_s"] for row in rows]
    return KeptFrames(
        np.array([row["row_id"] for row in rows], np.int64),
        np.array([row["place"] for row in rows], np.int64),
        np.array(times, np.float64),
        decode_vectors([row["vector"] for row in rows], dim),
    )
