"""What classifiers learn from, in SQLite: labels and vectors of many scans at once.

Shape suffixes: N scans, D embedding width.
"""

import sqlite3
from collections.abc import Mapping

import numpy as np

from service.catalog.records import LabelledScans, ScanFilter
from service.catalog.sqlite.codec import decode_json, decode_vectors, require_collection
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.sql_filter import condition
from service.errors import TooManyItems

_ROWS_AT_ONCE = 1000


class LabelledReads:
    """The part of the catalog that hands labelled vectors to fits."""

    _database: Database

    def labelled(
        self, workspace_id: str, collection: str, *, where: ScanFilter, most: int
    ) -> LabelledScans:
        """All scans that pass, in the order of storing, as columns.

        An object per scan, with all that a catalog knows of it, takes several times as long.

        Raises:
            UnknownItem: no such collection.
            TooManyItems: more than ``most`` scans pass.
            CatalogFailure: a vector is missing or not of the collection's width.
        """
        passes, variables = condition(where)
        scans = f"FROM scans WHERE workspace_id = ? AND collection_id = ? AND {passes}"
        wanted = f"""
            SELECT s.scan_id, s.sha256, s.subject_id, s.study_id, s.labels, v.vector
            FROM (SELECT * {scans}) AS s LEFT JOIN scan_vectors AS v USING (row_id)
            ORDER BY s.row_id
        """  # noqa: S608 - ``passes`` is made of constants
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            bound = (workspace_id, found["collection_id"], *variables)
            count = int(connection.execute(f"SELECT count(*) {scans}", bound).fetchone()[0])
            if count > most:
                raise TooManyItems(f"expected at most {most} scans in one request, got {count}")
            return _columns(connection.execute(wanted, bound), count, found["dim"])


def _columns(rows: sqlite3.Cursor, count: int, dim: int) -> LabelledScans:
    embeddings_ND = np.empty((count, dim), np.float32)
    read = LabelledScans([], [], [], [], [], embeddings_ND)
    parsed: dict[str, Mapping[str, str]] = {}  # thousands of scans carry the same few labels
    rows.row_factory = None  # tuples: half the time of rows that know their names
    while block := rows.fetchmany(_ROWS_AT_ONCE):
        start = len(read.scan_ids)
        scan_ids, sha256s, subject_ids, study_ids, labels, vectors = zip(*block, strict=True)
        read.scan_ids.extend(scan_ids)
        read.sha256s.extend(sha256s)
        read.subject_ids.extend(subject_ids)
        read.study_ids.extend(study_ids)
        parsed |= {text: decode_json(text, dict) for text in set(labels) - parsed.keys()}
        read.labels.extend(parsed[text] for text in labels)
        embeddings_ND[start : start + len(block)] = decode_vectors(vectors, dim)
    return read
