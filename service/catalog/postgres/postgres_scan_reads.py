"""Reading, filtering, listing and exporting scans in PostgreSQL.

Shape suffixes: N scans, D embedding width.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg.rows import DictRow

from service.catalog.filter_records import ScanFilter
from service.catalog.ids import subject_digest
from service.catalog.monitoring.postgres_monitoring import HELD_OUTCOMES
from service.catalog.plain_text import name_of
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_filter import condition
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    comparable,
    decode,
    require_collection,
    require_scan,
    select,
    sent_vectors,
)
from service.catalog.records import ClipFrame, ExportRow, Page, Scan, new_page
from service.catalog.subject_records import HeldExamples, HeldScans, HeldSubject
from service.catalog.validation import require_limit, require_thumbnail, row_of_cursor
from service.errors import CatalogFailure, UnknownItem

# The page first: a record is read for the rows of the page alone.
_LIST = """
    SELECT r.* FROM (
        SELECT row_id FROM filtered_scans
        WHERE collection_id = %s::bigint AND row_id > %s AND {passes}
        ORDER BY row_id LIMIT %s
    ) AS page JOIN scan_records AS r ON r.row_id = page.row_id ORDER BY r.row_id
"""
# One value instead of a row each: a hundred thousand rows would take longer to decode than to find.
_ROW_IDS = """
    SELECT string_agg(int8send(row_id), '' ORDER BY row_id) AS row_ids
    FROM filtered_scans WHERE collection_id = %s::bigint AND {passes}
"""
_WHOLE = """
    SELECT r.*, vector_send(v.vector) AS vector, t.jpeg, i.png
    FROM scan_records AS r
    LEFT JOIN scan_vectors AS v ON v.row_id = r.row_id
    LEFT JOIN scan_thumbnails AS t ON t.row_id = r.row_id
    LEFT JOIN scan_images AS i ON i.row_id = r.row_id
    WHERE r.collection_id = %s::bigint AND {passes}
"""
_FRAMES = """
    SELECT row_id, place, time_s, copies, vector_send(vector) AS vector FROM scan_frames
    WHERE row_id = ANY(%s::bigint[]) ORDER BY frame_id
"""
_OF_SUBJECT = """
    SELECT * FROM scan_records WHERE workspace_id = %s AND subject_id = %s AND row_id > %s
    ORDER BY row_id LIMIT %s
"""
_HELD_SCANS = """
    SELECT c.name, count(*) AS scans
    FROM scans AS s JOIN collections AS c ON c.collection_id = s.collection_id
    WHERE s.workspace_id = %s AND s.subject_id = %s GROUP BY c.name ORDER BY c.name
"""
_HELD_STUDIES = """
    SELECT study_id FROM scans
    WHERE workspace_id = %s AND subject_id = %s AND study_id IS NOT NULL
    UNION
    SELECT study_id FROM classifier_examples
    WHERE workspace_id = %s AND subject_id = %s AND study_id IS NOT NULL ORDER BY study_id
"""
# The two halves have an index each.
_HELD_EXAMPLES = """
    WITH mine AS (
        SELECT e.seq, e.classifier_seq, false AS is_upload
        FROM scans AS s JOIN classifier_examples AS e ON e.scan_row_id = s.row_id
        WHERE s.workspace_id = %s AND s.subject_id = %s
        UNION
        SELECT seq, classifier_seq, collection IS NULL FROM classifier_examples
        WHERE workspace_id = %s AND subject_id = %s
    )
    SELECT k.name, count(*) AS examples, count(*) FILTER (WHERE mine.is_upload) AS uploads, (
        SELECT array_agg(DISTINCT v.number ORDER BY v.number)
        FROM mine AS m JOIN version_examples AS x ON x.example_seq = m.seq
        JOIN classifier_versions AS v ON v.seq = x.version_seq
        WHERE m.classifier_seq = k.seq
    ) AS versions
    FROM mine JOIN classifiers AS k ON k.seq = mine.classifier_seq
    GROUP BY k.seq ORDER BY k.name
"""


class PostgresScanReads(PostgresTable):
    """The part of the catalog that reads scans."""

    def get_scan(self, workspace_id: str, collection: str, scan_id: str) -> Scan:
        with self._database.read(workspace_id) as connection:
            return decode(Scan, require_scan(connection, workspace_id, collection, scan_id))

    def get_scans_by_row(
        self, workspace_id: str, collection: str, row_ids: Sequence[int]
    ) -> dict[int, Scan]:
        query = """
            SELECT * FROM scan_records
            WHERE collection_id = %s::bigint AND row_id = ANY(%s::bigint[])
        """
        ids = comparable(int(row_id) for row_id in row_ids)
        with self._database.read(workspace_id) as connection:
            try:
                parent = require_collection(connection, workspace_id, collection)
            except UnknownItem:
                return {}
            rows = select(connection, query, parent["collection_id"], ids)
        return {row["row_id"]: decode(Scan, row) for row in rows}

    def find_known(
        self, workspace_id: str, collection: str, sha256s: Sequence[str]
    ) -> tuple[Scan, ...]:
        query = """
            SELECT * FROM scan_records
            WHERE collection_id = %s::bigint AND sha256 = ANY(%s::text[]) ORDER BY row_id
        """
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = select(connection, query, parent["collection_id"], comparable(sha256s))
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
        query = _LIST.format(passes=passes)
        start = 0 if after is None else row_of_cursor(after)
        bounds = (start, *variables, require_limit(limit) + 1)
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            rows = connection.execute(query, (parent["collection_id"], *bounds), prepare=False)
            scans = [decode(Scan, row) for row in rows]
        return new_page(scans, limit, lambda scan: str(scan.row_id))

    def subject(
        self, workspace_id: str, subject_id: str, *, limit: int, after: str | None = None
    ) -> tuple[HeldSubject, Page[Scan]]:
        owner = (workspace_id, name_of(subject_id))
        start = 0 if after is None else row_of_cursor(after)
        with self._database.read(workspace_id) as connection:
            rows = select(connection, _OF_SUBJECT, *owner, start, require_limit(limit) + 1)
            collections = select(connection, _HELD_SCANS, *owner)
            studies = select(connection, _HELD_STUDIES, *owner, *owner)
            examples = select(connection, _HELD_EXAMPLES, *owner, *owner)
            digest = subject_digest(*owner)
            outcomes = select(connection, HELD_OUTCOMES, workspace_id, digest)
        uploads = any(row["uploads"] for row in examples)
        if not collections and not uploads and not outcomes:
            raise UnknownItem("no scan of this workspace is of this subject")
        held = HeldSubject(
            collections=tuple(HeldScans(row["name"], row["scans"]) for row in collections),
            study_ids=tuple(row["study_id"] for row in studies),
            classifiers=tuple(_held_examples(row) for row in examples),
            outcomes_of={row["name"]: row["outcomes"] for row in outcomes},
        )
        scans = [decode(Scan, row) for row in rows]
        return held, new_page(scans, limit, lambda scan: str(scan.row_id))

    def row_ids_where(
        self, workspace_id: str, collection: str, where: ScanFilter
    ) -> npt.NDArray[np.int64]:
        passes, variables = condition(where)
        query = _ROW_IDS.format(passes=passes)
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            bound = (parent["collection_id"], *variables)
            row = connection.execute(query, bound, prepare=False, binary=True).fetchone()
        sent = b"" if row is None or row["row_ids"] is None else row["row_ids"]
        return np.frombuffer(sent, ">i8").astype(np.int64)

    def thumbnail(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        query = "SELECT jpeg FROM scan_thumbnails WHERE row_id = %s"
        with self._database.read(workspace_id) as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            row = connection.execute(query, (scan["row_id"],), binary=True).fetchone()
        if row is None:
            raise CatalogFailure("a stored scan has no thumbnail")
        return require_thumbnail(row["jpeg"])

    def kept_image(self, workspace_id: str, collection: str, scan_id: str) -> bytes | None:
        query = "SELECT png FROM scan_images WHERE row_id = %s"
        with self._database.read(workspace_id) as connection:
            scan = require_scan(connection, workspace_id, collection, scan_id)
            row = connection.execute(query, (scan["row_id"],), binary=True).fetchone()
        return None if row is None else bytes(row["png"])

    def export_rows(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[ExportRow, ...]:
        passes = "r.row_id > %s ORDER BY r.row_id LIMIT %s"
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            return whole_rows(connection, parent, passes, after, require_limit(limit))


def whole_rows(
    connection: Connection, collection: DictRow, passes: str, *variables: Any
) -> tuple[ExportRow, ...]:
    """The scans of a collection that pass, with all their data.

    Raises:
        CatalogFailure: a vector or thumbnail is missing or damaged.
    """
    bound, dim = (collection["collection_id"], *variables), collection["dim"]
    rows = connection.execute(_WHOLE.format(passes=passes), bound, binary=True).fetchall()
    ids = [row["row_id"] for row in rows]
    kept = connection.execute(_FRAMES, (ids,), binary=True).fetchall()
    embeddings_ND = sent_vectors([row["vector"] for row in rows], dim)
    kept_MD = sent_vectors([frame["vector"] for frame in kept], dim)
    frames: defaultdict[int, list[ClipFrame]] = defaultdict(list)
    for frame, embedding_D in zip(kept, kept_MD, strict=True):
        frames[frame["row_id"]].append(decode(ClipFrame, frame, embedding_D=embedding_D))
    if any(row["jpeg"] is None for row in rows):
        raise CatalogFailure("a stored scan has no thumbnail")
    return tuple(
        ExportRow(
            decode(Scan, row), embedding_D, row["jpeg"], row["png"], tuple(frames[row["row_id"]])
        )
        for row, embedding_D in zip(rows, embeddings_ND, strict=True)
    )


def _held_examples(row: DictRow) -> HeldExamples:
    versions = tuple(row["versions"] or ())
    return HeldExamples(row["name"], row["examples"], row["uploads"], versions)
