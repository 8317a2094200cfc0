"""Ids from before a policy of pseudonyms, in PostgreSQL."""

from collections.abc import Mapping

from service.catalog.given_ids.given_id_records import IdKind, RenamedIds
from service.catalog.ids import now, subject_digest
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    forget_answers,
    lock_collections,
    select,
)

# Each half reads an index of (workspace_id, id) in its order.
_GIVEN = """
    SELECT {column} AS id FROM scans
    WHERE workspace_id = %(owner)s AND {column} > %(after)s
        AND NOT starts_with({column}, %(beginning)s)
    UNION
    SELECT {column} FROM classifier_examples
    WHERE workspace_id = %(owner)s AND {column} > %(after)s
        AND NOT starts_with({column}, %(beginning)s)
    ORDER BY 1 LIMIT %(limit)s
"""
_HOLDERS = """
    SELECT DISTINCT collection_id FROM scans WHERE workspace_id = %s AND {column} = ANY(%s)
"""
_PAIRS = "unnest(%(old)s::text[], %(new)s::text[]) AS p (old, new)"
_SCANS = """
    WITH renamed AS (
        UPDATE scans AS s SET {column} = p.new, updated_at = %(now)s, version = s.version + 1
        FROM {pairs}
        WHERE s.workspace_id = %(owner)s AND s.{column} = p.old {unless}
        RETURNING p.old
    )
    SELECT old, count(*) AS scans FROM renamed GROUP BY old
"""
# A scan is one per image and subject.
_UNLESS_COPY = """
    AND NOT EXISTS (
        SELECT 1 FROM scans AS o WHERE o.collection_id = s.collection_id
        AND coalesce(o.subject_id, '') = p.new AND o.sha256 = s.sha256
    ) AND NOT EXISTS (
        SELECT 1 FROM scans AS o WHERE o.collection_id = s.collection_id
        AND coalesce(o.subject_id, '') = p.new AND o.content_sha256 = s.content_sha256
    )
"""
_LEFT = "SELECT count(*) AS n FROM scans WHERE workspace_id = %s AND {column} = ANY(%s)"
_EXAMPLES = """
    WITH renamed AS (
        UPDATE classifier_examples AS e SET {column} = p.new FROM {pairs}
        WHERE e.workspace_id = %(owner)s AND e.{column} = p.old RETURNING p.old
    )
    SELECT old, count(*) AS examples FROM renamed GROUP BY old
"""
_OUTCOMES = f"""
    UPDATE classifier_outcomes AS c SET patient_digest = p.new FROM {_PAIRS}
    WHERE c.workspace_id = %(owner)s AND c.patient_digest = p.old
"""  # noqa: S608 - made of constants


class PostgresGivenIds(PostgresTable):
    """The part of the catalog for ids from before a policy of pseudonyms."""

    def given_ids(
        self, workspace_id: str, kind: IdKind, *, beginning: str, limit: int, after: str = ""
    ) -> tuple[str, ...]:
        variables = {"owner": workspace_id, "after": after, "beginning": beginning, "limit": limit}
        with self._database.read(workspace_id) as connection:
            rows = connection.execute(_GIVEN.format(column=f"{kind}_id"), variables).fetchall()
        return tuple(row["id"] for row in rows)

    def rename_ids(self, workspace_id: str, kind: IdKind, renamed: Mapping[str, str]) -> RenamedIds:
        column, old = f"{kind}_id", list(renamed)
        unless = _UNLESS_COPY if kind == "subject" else ""
        pairs = {"owner": workspace_id, "old": old, "new": list(renamed.values())}
        of_scans = _SCANS.format(column=column, pairs=_PAIRS, unless=unless)
        of_uploads = _EXAMPLES.format(column=column, pairs=_PAIRS)
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            holders = select(connection, _HOLDERS.format(column=column), workspace_id, old)
            lock_collections(connection, [row["collection_id"] for row in holders])
            scans = connection.execute(of_scans, pairs | {"now": now()}).fetchall()
            examples = connection.execute(of_uploads, pairs).fetchall()
            left = select(connection, _LEFT.format(column=column), workspace_id, old)[0]["n"]
            if kind == "subject":
                digests = {
                    name: [subject_digest(workspace_id, text) for text in texts]
                    for name, texts in (("old", old), ("new", renamed.values()))
                }
                connection.execute(_OUTCOMES, digests | {"owner": workspace_id})
            forget_answers(connection, workspace_id)
        return RenamedIds(
            len({row["old"] for row in (*scans, *examples)}),
            sum(row["scans"] for row in scans),
            sum(row["examples"] for row in examples),
            left,
        )
