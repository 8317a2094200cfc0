"""What a version of a classifier was fitted from, in SQLite.

Shape suffixes: N examples, D embedding width.
"""

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.catalog.database import Database
from service.catalog.records import NewExample, VersionExample
from service.catalog.rows import decode_vectors, encode_vector, new_ids, require_text
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
        workspace_id, classifier_seq, example_id, collection, scan_id, scan_row_id, sha256,
        subject_id, study_id, vector
    )
    VALUES (?, ?, ?, ?, ?, (
        SELECT s.row_id FROM collections AS c JOIN scans AS s USING (collection_id)
        WHERE c.workspace_id = ? AND c.name = ? AND s.scan_id = ?
    ), ?, ?, ?, ?)
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
    fresh = iter(new_ids("exm", sum(example.example_id is None for example in examples)))
    ids = [example.example_id or next(fresh) for example in examples]
    owner = (classifier["workspace_id"], classifier["seq"])
    connection.executemany(
        _INSERT_EXAMPLE,
        [
            _values(owner, example_id, example)
            for example_id, example in zip(ids, examples, strict=True)
            if example.example_id is None
        ],
    )
    places = _places(connection, classifier["seq"])
    missing = sum(example_id not in places for example_id in ids)
    if missing:
        raise UnknownItem(f"the classifier does not have {missing} of the named examples")
    connection.executemany(
        _LINK,
        [
            (
                version_seq,
                classifier["workspace_id"],
                position,
                places[example_id],
                require_text(example.label, "a label"),
                example.group,
            )
            for position, (example_id, example) in enumerate(zip(ids, examples, strict=True))
        ],
    )


def _values(
    owner: tuple[str, int], example_id: str, example: NewExample
) -> tuple[str | int | bytes | None, ...]:
    vector = example.embedding_D
    blob = None if vector is None else encode_vector(vector, vector.size)
    collection, scan_id = example.scan or (None, None)
    return (
        *owner,
        example_id,
        collection,
        scan_id,
        owner[0],
        collection,
        scan_id,
        example.sha256,
        example.subject_id,
        example.study_id,
        blob,
    )


def _places(connection: sqlite3.Connection, classifier_seq: int) -> dict[str, int]:
    """example_id -> seq of all examples of a classifier, read at once and not one by one."""
    sql = "SELECT example_id, seq FROM classifier_examples WHERE classifier_seq = ?"
    return {row["example_id"]: row["seq"] for row in connection.execute(sql, (classifier_seq,))}


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
