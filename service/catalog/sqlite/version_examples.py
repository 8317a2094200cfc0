"""The examples that a version of a classifier was fitted from, in SQLite.

Shape suffixes: N examples, D embedding width.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from itertools import count, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from service.catalog.codec import decode_vectors, encode_vector, frame_part, views_part
from service.catalog.ids import new_ids
from service.catalog.plain_text import name_of, require_optional_name
from service.catalog.records import UNLABELLED, NewExample, VersionExample
from service.catalog.sqlite.rows import SqliteTable, json_list
from service.catalog.stored_examples import ScanRows, kept_rows, lost_scans, require_kept
from service.catalog.validation import require_text
from service.errors import UnknownItem

_OF_VERSION = f"""
    FROM classifiers AS k
    JOIN classifier_versions AS v ON v.classifier_seq = k.seq
    JOIN version_examples AS m ON m.version_seq = v.seq
    JOIN classifier_examples AS e ON e.seq = m.example_seq
    LEFT JOIN scans AS s ON s.row_id = e.scan_row_id AND s.workspace_id = e.workspace_id
    LEFT JOIN scan_vectors AS w ON w.row_id = s.row_id
    WHERE k.workspace_id = ? AND k.name = ? AND v.number = ? AND m.position > ?
        AND (m.group_number = {UNLABELLED}) = ?
    ORDER BY m.position LIMIT ?
"""
_EXAMPLES = f"""
    SELECT e.example_id, m.label, m.group_number, e.collection, e.scan_id, e.sha256,
        coalesce(s.subject_id, e.subject_id) AS subject_id,
        coalesce(s.study_id, e.study_id) AS study_id,
        w.row_id IS NOT NULL OR e.vector IS NOT NULL AS is_kept
    {_OF_VERSION}
"""
_VECTORS = f"SELECT coalesce(e.vector, w.vector) AS vector {_OF_VERSION}"
_INSERT_EXAMPLE = """
    INSERT INTO classifier_examples (
        seq, workspace_id, classifier_seq, example_id, collection, scan_id, scan_row_id, sha256,
        subject_id, study_id, vector
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SCAN_ROWS = """
    SELECT s.scan_id, s.row_id, s.sha256 FROM collections AS c JOIN scans AS s USING (collection_id)
    WHERE c.workspace_id = ? AND c.name = ? AND s.scan_id IN (SELECT value FROM json_each(?))
"""
# As ``is_kept`` of an example.
_PLACES = """
    SELECT e.example_id, e.seq, e.vector IS NOT NULL OR w.row_id IS NOT NULL
    FROM classifier_examples AS e LEFT JOIN scan_vectors AS w
    ON w.row_id = e.scan_row_id AND w.workspace_id = e.workspace_id
    WHERE e.classifier_seq = ?
"""
_LINK = """
    INSERT INTO version_examples
        (version_seq, workspace_id, position, example_seq, label, group_number)
    VALUES (?, ?, ?, ?, ?, ?)
"""


class SqliteVersionExamples(SqliteTable):
    """The part of the catalog for the examples of classifiers."""

    def version_examples(
        self, workspace_id: str, name: str, number: int, *, after: int = -1, limit: int = -1
    ) -> tuple[VersionExample, ...]:
        with self._database.read() as connection:
            return _examples(connection, (workspace_id, name, number, after, False, limit))

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        with self._database.read() as connection:
            return _embeddings(connection, (workspace_id, name, number, -1, False, -1), dim)

    def version_views(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[npt.NDArray[np.float32] | None, ...]:
        which = (workspace_id, name, number, -1, False, -1)
        with self._database.read() as connection:
            blobs = [row["vector"] for row in connection.execute(_VECTORS, which)]
        return tuple(views_part(blob, dim) for blob in blobs if blob is not None)

    def version_unlabelled(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[tuple[VersionExample, ...], npt.NDArray[np.float32]]:
        which = (workspace_id, name, number, -1, True, -1)
        with self._database.read() as connection:  # both reads see the same moment
            return _examples(connection, which), _embeddings(connection, which, dim)


def _examples(connection: sqlite3.Connection, which: tuple[Any, ...]) -> tuple[VersionExample, ...]:
    rows = connection.execute(_EXAMPLES, which)
    rows.row_factory = None  # tuples take half the time of rows with names
    return tuple(map(_example, rows))


def _embeddings(
    connection: sqlite3.Connection, which: tuple[Any, ...], dim: int
) -> npt.NDArray[np.float32]:
    rows = connection.execute(_VECTORS, which)
    blobs = [row["vector"] for row in rows if row["vector"] is not None]
    return decode_vectors([frame_part(blob, dim) for blob in blobs], dim)


def add_examples(
    connection: sqlite3.Connection,
    classifier: sqlite3.Row,
    version_seq: int,
    examples: Sequence[NewExample],
    gone: int = 0,
) -> None:
    """Store the new examples, and list all examples as those of the version.

    Args:
        gone: how many of the examples were gone when they were read.

    Raises:
        UnknownItem: the classifier does not have an ``example_id``.
        Erased: more of them are gone.
        InputError: text or a vector that cannot be stored.
    """
    if not examples:
        return
    # Whole columns, built by ``zip``: a fit may have 100,000 examples.
    labels, groups, example_ids, *_ = zip(*examples, strict=True)
    for label in set(labels):
        require_text(label, "a label")
    workspace_id = classifier["workspace_id"]
    new = [example for example in examples if example.example_id is None]
    first = _next_place(connection)
    lost = _insert_new(connection, classifier, first, new) if new else 0
    known = _places(connection, classifier["seq"]) if len(new) < len(examples) else {}
    fresh = count(first)
    named = [name for name in example_ids if name is not None]
    missing = sum(name not in known for name in named)
    if missing:
        raise UnknownItem(f"the classifier does not have {missing} of the named examples")
    require_kept(lost + sum(not known[name][1] for name in named), gone)
    places = [next(fresh) if name is None else known[name][0] for name in example_ids]
    total = len(examples)
    owner = (repeat(version_seq, total), repeat(workspace_id, total))
    columns = (*owner, range(total), places, labels, groups)
    connection.executemany(_LINK, zip(*columns, strict=True))


def _insert_new(
    connection: sqlite3.Connection, classifier: sqlite3.Row, first: int, new: Sequence[NewExample]
) -> int:
    """Store examples with ascending ``seq``; return how many are scans that are gone."""
    # Ascending, so that the index over them only grows at its end.
    ids = sorted(new_ids("exm", len(new)))
    _, _, _, scans, sha256s, subject_ids, study_ids, embeddings = zip(*new, strict=True)
    scans = tuple(None if scan is None else (scan[0], name_of(scan[1])) for scan in scans)
    rows = _scan_rows(connection, classifier["workspace_id"], scans)
    row_ids = kept_rows(scans, sha256s, rows)
    columns = (
        range(first, first + len(new)),
        repeat(classifier["workspace_id"], len(new)),
        repeat(classifier["seq"], len(new)),
        ids,
        [None if scan is None else scan[0] for scan in scans],
        [None if scan is None else scan[1] for scan in scans],
        row_ids,
        sha256s,
        [require_optional_name(subject_id, "a subject id") for subject_id in subject_ids],
        [require_optional_name(study_id, "a study id") for study_id in study_ids],
        [None if vector is None else encode_vector(vector, vector.size) for vector in embeddings],
    )
    connection.executemany(_INSERT_EXAMPLE, zip(*columns, strict=True))
    return lost_scans(scans, row_ids)


def _next_place(connection: sqlite3.Connection) -> int:
    """The ``seq`` that SQLite would assign next, which no example ever had."""
    sql = "SELECT seq FROM sqlite_sequence WHERE name = 'classifier_examples'"
    row = connection.execute(sql).fetchone()
    return 1 if row is None else int(row["seq"]) + 1


def _scan_rows(
    connection: sqlite3.Connection, workspace_id: str, scans: Sequence[tuple[str, str] | None]
) -> ScanRows:
    """The scans that exist; one query per collection."""
    by_collection: defaultdict[str, list[str]] = defaultdict(list)
    for scan in scans:
        if scan is not None:
            by_collection[scan[0]].append(scan[1])
    return {
        (collection, scan_id): (row_id, sha256)
        for collection, scan_ids in by_collection.items()
        for scan_id, row_id, sha256 in connection.execute(
            # Sorted as the index is, which makes the look-up sequential.
            _SCAN_ROWS,
            (workspace_id, collection, json_list(sorted(scan_ids))),
        )
    }


def _places(connection: sqlite3.Connection, classifier_seq: int) -> dict[str, tuple[int, bool]]:
    """example_id -> (seq, is_kept) of all examples of a classifier, in one query."""
    rows = connection.execute(_PLACES, (classifier_seq,))
    return {example_id: (seq, bool(is_kept)) for example_id, seq, is_kept in rows}


def _example(row: tuple[Any, ...]) -> VersionExample:
    example_id, label, group, collection, scan_id, sha256, subject_id, study_id, is_kept = row
    scan = None if collection is None else (collection, scan_id)
    kept = bool(is_kept)
    return VersionExample(example_id, label, group, scan, sha256, subject_id, study_id, kept)
