"""Ids from before a policy of pseudonyms, in SQLite."""

from collections.abc import Mapping
from typing import Any

from service.catalog.given_ids.given_id_records import IdKind, RenamedIds
from service.catalog.ids import now, subject_digest
from service.catalog.sqlite.erasure import forget_answers
from service.catalog.sqlite.rows import SqliteTable

# Each half reads an index of (workspace_id, id) in its order.
_GIVEN = """
    SELECT {column} FROM scans
    WHERE workspace_id = ?1 AND {column} > ?2 AND substr({column}, 1, length(?3)) <> ?3
    UNION
    SELECT {column} FROM classifier_examples
    WHERE workspace_id = ?1 AND {column} > ?2 AND substr({column}, 1, length(?3)) <> ?3
    ORDER BY 1 LIMIT ?4
"""
_SCANS = """
    UPDATE scans SET {column} = ?1, updated_at = ?2, version = version + 1
    WHERE workspace_id = ?3 AND {column} = ?4
"""
# A scan is one per image and subject.
_UNLESS_COPY = """
    AND NOT EXISTS (
        SELECT 1 FROM scans AS o WHERE o.collection_id = scans.collection_id
        AND o.subject_id = ?1 AND o.sha256 = scans.sha256
    ) AND NOT EXISTS (
        SELECT 1 FROM scans AS o WHERE o.collection_id = scans.collection_id
        AND o.subject_id = ?1 AND o.content_sha256 = scans.content_sha256
    )
"""
_LEFT = "SELECT count(*) FROM scans WHERE workspace_id = ? AND {column} = ?"
_EXAMPLES = """
    UPDATE classifier_examples SET {column} = ? WHERE workspace_id = ? AND {column} = ?
"""
_OUTCOMES = """
    UPDATE classifier_outcomes SET patient_digest = ?
    WHERE workspace_id = ? AND patient_digest = ?
"""


class SqliteGivenIds(SqliteTable):
    """The part of the catalog for ids from before a policy of pseudonyms."""

    def given_ids(
        self, workspace_id: str, kind: IdKind, *, beginning: str, limit: int, after: str = ""
    ) -> tuple[str, ...]:
        query = _GIVEN.format(column=f"{kind}_id")
        with self._database.read() as connection:
            rows = connection.execute(query, (workspace_id, after, beginning, limit)).fetchall()
        return tuple(row[0] for row in rows)

    def rename_ids(self, workspace_id: str, kind: IdKind, renamed: Mapping[str, str]) -> RenamedIds:
        total = RenamedIds()
        with self._database.write() as connection:
            for old, new in renamed.items():
                total += _rename(connection, workspace_id, kind, old, new)
            forget_answers(connection, workspace_id)
        self._database.forget_deleted()
        return total


def _rename(connection: Any, workspace_id: str, kind: IdKind, old: str, new: str) -> RenamedIds:
    column = f"{kind}_id"
    update = _SCANS.format(column=column) + (_UNLESS_COPY if kind == "subject" else "")
    scans = connection.execute(update, (new, now(), workspace_id, old)).rowcount
    left = connection.execute(_LEFT.format(column=column), (workspace_id, old)).fetchone()[0]
    of_uploads = _EXAMPLES.format(column=column)
    examples = connection.execute(of_uploads, (new, workspace_id, old)).rowcount
    if kind == "subject":
        digests = (subject_digest(workspace_id, new), subject_digest(workspace_id, old))
        connection.execute(_OUTCOMES, (digests[0], workspace_id, digests[1]))
    return RenamedIds(int(scans + examples > 0), scans, examples, left)
