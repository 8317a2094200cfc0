"""The examples that a version of a classifier was fitted from, in PostgreSQL.

Whole columns are sent as arrays, because a fit may have 100,000 examples. (COPY is faster, but is
not allowed into tables with row-level security.)

Shape suffixes: N examples, D embedding width, V views of an example.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pgvector import Vector
from psycopg.rows import DictRow, tuple_row

from service.catalog.codec import STORED_VIEWS, encode_vector
from service.catalog.ids import new_ids
from service.catalog.plain_text import name_of, require_optional_name
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_rows import PostgresTable, select, sent_vectors
from service.catalog.records import UNLABELLED, NewExample, VersionExample
from service.catalog.stored_examples import ScanRows, kept_rows, lost_scans, require_kept
from service.catalog.validation import require_text
from service.errors import UnknownItem

_HEADER_BYTES = 4  # of a vector as pgvector sends it
VECTORS_AT_ONCE = 1000  # which take a few megabytes, with views 30
_OF_VERSION = f"""
    FROM classifiers AS k
    JOIN classifier_versions AS v ON v.classifier_seq = k.seq
    JOIN version_examples AS m ON m.version_seq = v.seq
    JOIN classifier_examples AS e ON e.seq = m.example_seq
    LEFT JOIN scans AS s ON s.row_id = e.scan_row_id AND s.workspace_id = e.workspace_id
    LEFT JOIN scan_vectors AS w ON w.row_id = s.row_id
    WHERE k.workspace_id = %s AND k.name = %s AND v.number = %s AND m.position > %s
        AND (m.group_number = {UNLABELLED}) = %s::boolean
    ORDER BY m.position LIMIT %s
"""
_EXAMPLES = f"""
    SELECT e.example_id, m.label, m.group_number, e.collection, e.scan_id, e.sha256,
        coalesce(s.subject_id, e.subject_id) AS subject_id,
        coalesce(s.study_id, e.study_id) AS study_id,
        w.row_id IS NOT NULL OR e.vector IS NOT NULL AS is_kept
    {_OF_VERSION}
"""
_VECTORS = f"SELECT vector_send(coalesce(e.vector, w.vector)) {_OF_VERSION}"
# In the order of the ids, so that ``seq`` follows the order of the examples.
_INSERT = """
    INSERT INTO classifier_examples (
        workspace_id, classifier_seq, example_id, collection, scan_id, scan_row_id, sha256,
        subject_id, study_id, vector
    )
    SELECT %s, %s, * FROM unnest(
        %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],
        %b::vector[]
    ) AS example (id) ORDER BY id COLLATE "C"
    RETURNING example_id, seq
"""
_SCAN_ROWS = """
    SELECT s.scan_id, s.row_id, s.sha256 FROM collections AS c JOIN scans AS s USING (collection_id)
    WHERE c.workspace_id = %s AND c.name = %s AND s.scan_id = ANY(%s::text[])
"""
# As ``is_kept`` of an example.
_PLACES = """
    SELECT e.example_id, e.seq, e.vector IS NOT NULL OR w.row_id IS NOT NULL AS is_kept
    FROM classifier_examples AS e LEFT JOIN scan_vectors AS w
    ON w.row_id = e.scan_row_id AND w.workspace_id = e.workspace_id
    WHERE e.classifier_seq = %s
"""
_LINK = """
    INSERT INTO version_examples
        (version_seq, workspace_id, position, example_seq, label, group_number)
    SELECT %s, %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[])
"""


class PostgresVersionExamples(PostgresTable):
    """The part of the catalog for the examples of classifiers."""

    def version_examples(
        self, workspace_id: str, name: str, number: int, *, after: int = -1, limit: int = -1
    ) -> tuple[VersionExample, ...]:
        with self._database.read(workspace_id) as connection:
            return _examples(connection, (workspace_id, name, number, after, False, limit))

    def version_embeddings(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> npt.NDArray[np.float32]:
        with self._database.read(workspace_id) as connection:
            return _embeddings(connection, (workspace_id, name, number, -1, False, -1), dim)

    def version_views(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[npt.NDArray[np.float32] | None, ...]:
        which = (workspace_id, name, number, -1, False, -1)
        with self._database.read(workspace_id) as connection:
            rows = _of_version(connection, _VECTORS, which)
        return tuple(_views_part(sent, dim) for (sent,) in rows if sent is not None)

    def version_unlabelled(
        self, workspace_id: str, name: str, number: int, *, dim: int
    ) -> tuple[tuple[VersionExample, ...], npt.NDArray[np.float32]]:
        which = (workspace_id, name, number, -1, True, -1)
        with self._database.read(workspace_id) as connection:  # both see the same moment
            return _examples(connection, which), _embeddings(connection, which, dim)


Which: TypeAlias = tuple[str, str, int, int, bool, int]


def _examples(connection: Connection, which: Which) -> tuple[VersionExample, ...]:
    return tuple(map(_example, _of_version(connection, _EXAMPLES, which)))


def _embeddings(connection: Connection, which: Which, dim: int) -> npt.NDArray[np.float32]:
    rows = _of_version(connection, _VECTORS, which)
    return sent_vectors([_frame_part(sent, dim) for (sent,) in rows if sent is not None], dim)


def _frame_part(sent: bytes, dim: int) -> bytes:
    """The embedding of an upload, without those of its views where they are stored behind it.

    Cut here and not by ``subvector``, which would copy each of 100,000 vectors in the server.
    """
    return sent[: _HEADER_BYTES + 4 * dim] if _has_views(sent, dim) else sent


def _has_views(sent: bytes, dim: int) -> bool:
    return len(sent) == _HEADER_BYTES + 4 * STORED_VIEWS * dim


def _views_part(sent: bytes, dim: int) -> npt.NDArray[np.float32] | None:
    if not _has_views(sent, dim):
        return None
    views_VD = np.frombuffer(sent, ">f4", offset=_HEADER_BYTES).reshape(STORED_VIEWS, dim)
    return views_VD.astype(np.float32)


def _of_version(connection: Connection, query: str, which: Which) -> list[tuple[Any, ...]]:
    if "\0" in which[1]:  # PostgreSQL has no such text, so nothing is called so
        return []
    limit = None if which[-1] < 0 else which[-1]
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    return cursor.execute(query, (*which[:-1], limit)).fetchall()


def add_examples(
    connection: Connection,
    classifier: DictRow,
    version_seq: int,
    examples: Sequence[NewExample],
    gone: int = 0,
) -> None:
    """Store the new examples, and list all examples as those of the version.

    The transaction keeps erasures away (``keep_erasures_away``).

    Args:
        gone: how many of the examples were gone when they were read.

    Raises:
        UnknownItem: the classifier does not have an ``example_id``.
        Erased: more of them are gone.
        InputError: text or a vector that cannot be stored.
    """
    if not examples:
        return
    labels, groups, example_ids, *_ = zip(*examples, strict=True)
    for label in set(labels):
        require_text(label, "a label")
    new = [example for example in examples if example.example_id is None]
    known = _places(connection, classifier["seq"]) if len(new) < len(examples) else {}
    stored, lost = _insert_new(connection, classifier, new)
    named = [name for name in example_ids if name is not None]
    missing = sum(name not in known for name in named)
    if missing:
        raise UnknownItem(f"the classifier does not have {missing} of the named examples")
    require_kept(lost + sum(not known[name][1] for name in named), gone)
    fresh = iter(stored)
    places = [next(fresh) if name is None else known[name][0] for name in example_ids]
    owner = (version_seq, classifier["workspace_id"])
    columns = (list(range(len(examples))), places, list(labels), list(groups))
    connection.execute(_LINK, (*owner, *columns))


def _insert_new(
    connection: Connection, classifier: DictRow, new: Sequence[NewExample]
) -> tuple[list[int], int]:
    """Store examples; return their ``seq`` in the same order, and how many scans are gone."""
    if not new:
        return [], 0
    # Ascending, so that the index over them only grows at its end.
    ids = sorted(new_ids("exm", len(new)))
    _, _, _, scans, sha256s, subject_ids, study_ids, embeddings = zip(*new, strict=True)
    scans = tuple(None if scan is None else (scan[0], name_of(scan[1])) for scan in scans)
    rows = _scan_rows(connection, classifier["workspace_id"], scans)
    row_ids = kept_rows(scans, sha256s, rows)
    columns: tuple[Sequence[Any], ...] = (
        ids,
        [None if scan is None else scan[0] for scan in scans],
        [None if scan is None else scan[1] for scan in scans],
        row_ids,
        sha256s,
        [require_optional_name(subject_id, "a subject id") for subject_id in subject_ids],
        [require_optional_name(study_id, "a study id") for study_id in study_ids],
        [None if vector is None else _checked(vector) for vector in embeddings],
    )
    owner = (classifier["workspace_id"], classifier["seq"])
    places: dict[str, int] = {}
    # Only vectors are large.
    step = len(new) if not any(e is not None for e in embeddings) else VECTORS_AT_ONCE
    for start in range(0, len(new), step):
        part = [list(column[start : start + step]) for column in columns]
        for row in connection.execute(_INSERT, (*owner, *part)):
            places[row["example_id"]] = row["seq"]
    return [places[example_id] for example_id in ids], lost_scans(scans, row_ids)


def _checked(embedding_D: npt.NDArray[np.float32]) -> Vector:
    encode_vector(embedding_D, embedding_D.size)  # raises InputError
    return Vector(embedding_D)


def _scan_rows(
    connection: Connection, workspace_id: str, scans: Sequence[tuple[str, str] | None]
) -> ScanRows:
    """The scans that exist; one query per collection."""
    by_collection: defaultdict[str, list[str]] = defaultdict(list)
    for scan in scans:
        if scan is not None:
            by_collection[scan[0]].append(scan[1])
    return {
        (collection, row["scan_id"]): (row["row_id"], row["sha256"])
        for collection, scan_ids in by_collection.items()
        # Sorted as the index is, which makes the look-up sequential.
        for row in select(connection, _SCAN_ROWS, workspace_id, collection, sorted(scan_ids))
    }


def _places(connection: Connection, classifier_seq: int) -> dict[str, tuple[int, bool]]:
    """example_id -> (seq, is_kept) of all examples of a classifier, in one query."""
    rows = select(connection, _PLACES, classifier_seq)
    return {row["example_id"]: (row["seq"], row["is_kept"]) for row in rows}


def _example(row: tuple[Any, ...]) -> VersionExample:
    example_id, label, group, collection, scan_id, sha256, subject_id, study_id, is_kept = row
    scan = None if collection is None else (collection, scan_id)
    kept = bool(is_kept)
    return VersionExample(example_id, label, group, scan, sha256, subject_id, study_id, kept)
