"""Reading, filtering, listing and exporting scans in SQLite.

Only ``thumbnail``, ``kept_image`` and ``whole_rows`` touch the tables of blobs.

Shape suffixes: N scans, D embedding width.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.catalog.codec import decode_vector
from service.catalog.filter_records import ScanFilter
from service.catalog.ids import subject_digest
from service.catalog.monitoring.sqlite_monitoring import HELD_OUTCOMES
from service.catalog.plain_text import name_of
from service.catalog.records import ClipFrame, ExportRow, Page, Scan, new_page
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    json_list,
    require_collection,
    require_scan,
)
from service.catalog.sqlite.sql_filter import condition, of_collection
from service.catalog.subject_records import HeldExamples, HeldScans, HeldSubject
from service.catalog.validation import require_limit, require_thumbnail, row_of_cursor
from service.errors import CatalogFailure, UnknownItem

_WHOLE = """
    SELECT r.*, v.vector, t.jpeg, i.png
    FROM scan_records AS r
    LEFT JOIN scan_vectors AS v ON v.row_id = r.row_id
    LEFT JOIN scan_thumbnails AS t ON t.row_id = r.row_id
    LEFT JOIN scan_images AS i ON i.row_id = r.row_id
    WHERE r.workspace_id = ? AND r.collection_id = ? AND {passes}
"""
_FRAMES = """
    SELECT row_id, place, time_s, copies, vector FROM scan_frames
    WHERE row_id IN (SELECT value FROM json_each(?)) ORDER BY frame_id
"""
_OF_SUBJECT = """
    SELECT * FROM scan_records WHERE workspace_id = ? AND subject_id = ? AND row_id > ?
    ORDER BY row_id LIMIT ?
"""
_HELD_SCANS = """
    SELECT c.name, count(*) AS scans
    FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id
    WHERE s.workspace_id = ? AND s.subject_id = ? GROUP BY c.name ORDER BY c.name
"""
_HELD_STUDIES = """
    SELECT study_id FROM scans
    WHERE workspace_id = ? AND subject_id = ? AND study_id IS NOT NULL
    UNION
    SELECT study_id FROM classifier_examples
    WHERE workspace_id = ? AND subject_id = ? AND study_id IS NOT NULL ORDER BY study_id
"""
# The two halves have an index each.
_HELD_EXAMPLES = """
    WITH mine AS (
        SELECT e.seq, e.classifier_seq, 0 AS is_upload
        FROM scans AS s JOIN classifier_examples AS e ON e.scan_row_id = s.row_id
        WHERE s.workspace_id = ? AND s.subject_id = ?
        UNION
        SELECT seq, classifier_seq, collection IS NULL FROM classifier_examples
        WHERE workspace_id = ? AND subject_id = ?
    )
    SELECT k.name, count(*) AS examples, sum(mine.is_upload) AS uploads, (
        SELECT json_group_array(DISTINCT v.number)
        FROM mine AS m JOIN version_examples AS x ON x.example_seq = m.seq
        JOIN classifier_versions AS v ON v.seq = x.version_seq
        WHERE m.classifier_seq = k.seq
    ) AS versions
    FROM mine JOIN classifiers AS k ON k.seq = mine.classifier_seq
    GROUP BY k.seq ORDER BY k.name
"""


class SqliteScanReads(SqliteTable):
    """The part of the catalog that reads scans."""

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        with self._database.read() as connection:
            return decode(Scan, require_scan(connection, workspace_id, collection, scan_id))

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        sql = """
            SELECT * FROM scan_records
            WHERE +workspace_id = ? AND +collection = ?
                AND row_id IN (SELECT value FROM json_each(?))
        """  # the plus signs keep SQLite from walking the workspace instead of the rows
        ids = json_list(int(row_id) for row_id in row_ids)
        return {
            scan.row_id: scan for scan in self._select(Scan, sql, workspace_id, collection, ids)
        }

    def find_known(
        self, workspace_id: str, collection: str, sha256s: Sequence[str]
    ) -> tuple[Scan, ...]:
        sql = """
            SELECT * FROM scan_records
            WHERE collection_id = ? AND sha256 IN (SELECT value FROM json_each(?)) ORDER BY row_id
        """
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (parent["collection_id"], json_list(sha256s)))
            return tuple(decode(Scan, row) for row in rows)

    def list_scans(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        limit: int,
        after: str | None = None,
    ) -> Page[Scan]:
        passes, variables = condition(where)
        sql = f"""
            SELECT * FROM scan_records
            WHERE {of_collection(where, is_page=True)} AND {passes}
            ORDER BY row_id LIMIT ?
        """  # noqa: S608 - ``passes`` is made of constants
        start = 0 if after is None else row_of_cursor(after)
        bounds = (start, *variables, require_limit(limit) + 1)
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (workspace_id, parent["collection_id"], *bounds))
            scans = [decode(Scan, row) for row in rows]
        return new_page(scans, limit, lambda scan: str(scan.row_id))

    def subject(
        self, workspace_id: str, subject_id: str, *, limit: int, after: str | None = None
    ) -> tuple[HeldSubject, Page[Scan]]:
        owner = (workspace_id, name_of(subject_id))
        start = 0 if after is None else row_of_cursor(after)
        with self._database.read() as connection:
            rows = connection.execute(_OF_SUBJECT, (*owner, start, require_limit(limit) + 1))
            scans = [decode(Scan, row) for row in rows]
            collections = connection.execute(_HELD_SCANS, owner).fetchall()
            studies = connection.execute(_HELD_STUDIES, owner * 2).fetchall()
            examples = connection.execute(_HELD_EXAMPLES, owner * 2).fetchall()
            digest = subject_digest(*owner)
            outcomes = connection.execute(HELD_OUTCOMES, (workspace_id, digest)).fetchall()
        uploads = any(row["uploads"] for row in examples)
        if not collections and not uploads and not outcomes:
            raise UnknownItem("no scan of this workspace is of this subject")
        held = HeldSubject(
            collections=tuple(HeldScans(row["name"], row["scans"]) for row in collections),
            study_ids=tuple(row["study_id"] for row in studies),
            classifiers=tuple(_held_examples(row) for row in examples),
            outcomes_of={row["name"]: row["outcomes"] for row in outcomes},
        )
        return held, new_page(scans, limit, lambda scan: str(scan.row_id))

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        passes, variables = condition(where)
        # Not ORDER BY: for an order of its own SQLite would read the rows instead of an index.
        sql = f"SELECT row_id FROM scans WHERE {of_collection(where)} AND {passes}"  # noqa: S608
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(sql, (workspace_id, parent["collection_id"], *variables))
            rows.row_factory = None  # tuples take half the time of rows with names
            return np.sort(np.fromiter((row_id for (row_id,) in rows), dtype=np.int64))

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        sql = "SELECT jpeg FROM scan_thumbnails WHERE row_id = ?"
        with self._database.read() as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            row = connection.execute(sql, (scan["row_id"],)).fetchone()
        if row is None:
            raise CatalogFailure("a stored scan has no thumbnail")
        return require_thumbnail(row["jpeg"])

    def kept_image(self, workspace_id: str, collection: str, scan_id: str) -> bytes | None:
        sql = "SELECT png FROM scan_images WHERE row_id = ?"
        with self._database.read() as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            row = connection.execute(sql, (scan["row_id"],)).fetchone()
        return None if row is None else bytes(row["png"])

    def export_rows(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[ExportRow, ...]:
        passes = "r.row_id > ? ORDER BY r.row_id LIMIT ?"
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            return whole_rows(connection, parent, passes, after, require_limit(limit))


def whole_rows(
    connection: sqlite3.Connection, collection: sqlite3.Row, passes: str, *variables: Any
) -> tuple[ExportRow, ...]:
    """The scans of a collection that pass, with all their data.

    Raises:
        CatalogFailure: a vector or thumbnail is missing or damaged.
    """
    owner = (collection["workspace_id"], collection["collection_id"])
    rows = connection.execute(_WHOLE.format(passes=passes), (*owner, *variables)).fetchall()
    ids = json_list(row["row_id"] for row in rows)
    dim = collection["dim"]
    frames: defaultdict[int, list[ClipFrame]] = defaultdict(list)
    for frame in connection.execute(_FRAMES, (ids,)).fetchall():
        embedding_D = decode_vector(frame["vector"], dim)
        frames[frame["row_id"]].append(decode(ClipFrame, frame, embedding_D=embedding_D))
    if any(row["jpeg"] is None for row in rows):
        raise CatalogFailure("a stored scan has no thumbnail")
    return tuple(
        ExportRow(
            decode(Scan, row),
            decode_vector(row["vector"], dim),
            row["jpeg"],
            row["png"],
            tuple(frames[row["row_id"]]),
        )
        for row in rows
    )


def _held_examples(row: sqlite3.Row) -> HeldExamples:
    versions = tuple(sorted(json.loads(row["versions"])))
    return HeldExamples(row["name"], row["examples"], row["uploads"], versions)
