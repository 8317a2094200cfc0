"""What a version of a classifier was fitted from, in SQLite.

Shape suffixes: N examples, D embedding width.
"""

import itertools
import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.records import NewExample, VersionExample
from service.catalog.sqlite.codec import (
    decode_vectors,
    encode_vector,
    json_list,
    new_ids,
    require_text,
)
from service.catalog.sqlite.database import Database
from service.errors import UnknownItem

_OF_VERSION = """
    FROM classifiers AS k
    JOIN classifier_versions AS v ON v.classifier_seq = k.seq
    JOIN version_examples AS m ON m.version_seq = v.seq
    JOIN classifier_examples AS e ON e.seq = m.example_seq
    LEFT JOIN scans AS s ON s.row_id = e.scan_row_id AND s.workspace_id = e.workspace_id
    LEFT JOIN scan_vectors AS w ON w.row_id = s.row_id
    WHERE k.workspace_id = ? AND k.name = ? AND v.number = ? AND m.position > ?
    ORDER BY m.position LIMIT ?
"""
_INSERT_EXAMPLE = """
    INSERT INTO classifier_examples (
        seq, workspace_id, classifier_seq, example_id, collection, scan_id, scan_row_id, sha256,
        subject_id, study_id, vector
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_SCAN_ROWS = """
    SELECT s.scan_id, s.row_id FROM collections AS c JOIN scans AS s USING (collection_id)
    WHERE c.workspace_id = ? AND c.name = ? AND s.scan_id IN (SELECT value FROM json_each(?))
"""
_LINK = """
    INSERT INTO version_examples
        (version_seq, workspace_id, position, example_seq, label, group_number)
    VALUES (?, ?, ?, ?, ?, ?)
"""


class VersionExamples:
    """The part of the catalog that tells what classifiers learnt from."""

    _database: Database

    def version_examples(
        self, workspace_id: str, name: str, number: int, *, after: int = -1, limit: int = -1
    ) -> tuple[VersionExample, ...]:
        """In the order of fitting, those behind position ``after``, at most ``limit`` (-1 = all).

        Empty as well when there is no such version.
        """
        sql = f"""
            SELECT e.example_id, m.label, m.group_number, e.collection, e.scan_id, e.sha256,
                coalesce(s.subject_id, e.subject_id) AS subject_id,
                coalesce(s.study_id, e.study_id) AS study_id,
                w.row_id IS NOT NULL OR e.vector IS NOT NULL AS is_kept
            {_OF_VERSION}
        """
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id, name, number, after, limit)).fetchall()
        return tuple(_decode(row) for row in rows)

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        """embeddings_ND of the examples whose ``is_kept``, in the order of fitting.

        Raises:
            CatalogFailure: a vector is not of this width.
        """
        sql = f"SELECT coalesce(e.vector, w.vector) AS vector {_OF_VERSION}"
        with self._database.read() as connection:
            rows = connection.execute(sql, (workspace_id, name, number, -1, -1))
            kept = [row["vector"] for row in rows if row["vector"] is not None]
        return decode_vectors(kept, dim)


def add_examples(
    connection: sqlite3.Connection,
    classifier: sqlite3.Row,
    version_seq: int,
    examples: Sequence[NewExample],
) -> None:
    """Write the examples that are new, and list all as those of the version.

    Raises:
        UnknownItem: an ``example_id`` that the classifier does not have.
        InputError: text or a vector that cannot be stored.
    """
    for label in {example.label for example in examples}:
        require_text(label, "a label")
    new = [example for example in examples if example.example_id is None]
    # Ascending, so that the index over them grows at its end and is not rewritten all over.
    ids = sorted(new_ids("exm", len(new)))
    first = _next_place(connection)
    owner = (classifier["workspace_id"], classifier["seq"])
    rows = _scan_rows(connection, owner[0], new)
    values = [
        (first + i, *_values(owner, example_id, example, rows))
        for i, (example_id, example) in enumerate(zip(ids, new, strict=True))
    ]
    connection.executemany(_INSERT_EXAMPLE, values)
    known = _places(connection, classifier["seq"]) if len(new) < len(examples) else {}
    fresh = itertools.count(first)
    places = [
        next(fresh) if example.example_id is None else known.get(example.example_id)
        for example in examples
    ]
    if None in places:
        missing = places.count(None)
        raise UnknownItem(f"the classifier does not have {missing} of the named examples")
    links = [
        (version_seq, owner[0], position, place, example.label, example.group)
        for position, (place, example) in enumerate(zip(places, examples, strict=True))
    ]
    connection.executemany(_LINK, links)


def _next_place(connection: sqlite3.Connection) -> int:
    """The ``seq`` that SQLite would give next: one that no example ever had."""
    sql = "SELECT seq FROM sqlite_sequence WHERE name = 'classifier_examples'"
    found = connection.execute(sql).fetchone()
    return 1 if found is None else int(found["seq"]) + 1


def _values(
    owner: tuple[str, int],
    example_id: str,
    example: NewExample,
    rows: Mapping[tuple[str, str], int],
) -> tuple[str | int | bytes | None, ...]:
    vector, scan = example.embedding_D, example.scan
    return (
        *owner,
        example_id,
        None if scan is None else scan[0],
        None if scan is None else scan[1],
        None if scan is None else rows.get(scan),
        example.sha256,
        example.subject_id,
        example.study_id,
        None if vector is None else encode_vector(vector, vector.size),
    )


def _scan_rows(
    connection: sqlite3.Connection, workspace_id: str, examples: Sequence[NewExample]
) -> dict[tuple[str, str], int]:
    """(collection, scan_id) -> row_id of the scans that are there, asked once per collection."""
    named: dict[str, list[str]] = {}
    for example in examples:
        if example.scan is not None:
            named.setdefault(example.scan[0], []).append(example.scan[1])
    return {
        (collection, scan_id): row_id
        for collection, scan_ids in named.items()
        for scan_id, row_id in connection.execute(
            # Sorted, as the index is: found one behind the other.
            _SCAN_ROWS,
            (workspace_id, collection, json_list(sorted(scan_ids))),
        )
    }


def _places(connection: sqlite3.Connection, classifier_seq: int) -> dict[str, int]:
    """example_id -> seq of all examples of a classifier, read at once and not one by one."""
    sql = "SELECT example_id, seq FROM classifier_examples WHERE classifier_seq = ?"
    return dict(connection.execute(sql, (classifier_seq,)).fetchall())


def _decode(row: sqlite3.Row) -> VersionExample:
    is_scan = row["collection"] is not None
    return VersionExample(
        example_id=row["example_id"],
        label=row["label"],
        group=row["group_number"],
        scan=(row["collection"], row["scan_id"]) if is_scan else None,
        sha256=row["sha256"],
        subject_id=row["subject_id"],
        study_id=row["study_id"],
        is_kept=bool(row["is_kept"]),
    )
