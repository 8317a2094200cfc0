"""Labels and attributes of a whole collection, in PostgreSQL: counts, and a class's new name."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg.rows import DictRow

from service.catalog.codec import decode_json, encode_json
from service.catalog.filter_records import Facet, Facets, ScanFilter
from service.catalog.ids import now
from service.catalog.plain_text import name_of, require_name
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_filter import condition
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    forget_answers,
    require_collection,
)
from service.catalog.records import RenamedLabel
from service.catalog.validation import MAX_TASKS, require_limit
from service.errors import InputError, NameTaken, UnknownItem

_COUNTS = """
    SELECT count(*) AS scans, count(DISTINCT subject_id) AS subjects,
        count(DISTINCT study_id) AS studies
    FROM filtered_scans WHERE collection_id = %s::bigint AND {passes}
"""
_TASKS = """
    SELECT task FROM filtered_scans, jsonb_object_keys(labels_b) AS task
    WHERE collection_id = %s::bigint AND {passes}
    GROUP BY task ORDER BY count(*) DESC, task COLLATE "C" LIMIT %s
"""
# JSON as it was stored, because 1 and 1.0 are two values here. Both zeros are one. The order among
# equal counts is that of SQLite: null, numbers and booleans by value, text by code points. The sum
# over the window includes the values that the limit leaves out.
_VALUES = """
    SELECT stored, count(*) AS scans, sum(count(*)) OVER () AS all_scans
    FROM (
        SELECT CASE WHEN value::text = '-0.0' THEN '0.0' ELSE value::text END AS stored,
            json_typeof(value) AS kind,
            CASE WHEN value::text = '-0.0' THEN '0.0' ELSE value #>> '{{}}' END AS content
        FROM (
            SELECT {column}::json -> %s::text AS value
            FROM filtered_scans
            WHERE collection_id = %s::bigint AND {passes} AND {column}_b ? %s::text
        ) AS found
    ) AS told
    GROUP BY stored, kind, content
    ORDER BY scans DESC,
        CASE kind WHEN 'null' THEN 0 WHEN 'string' THEN 2 ELSE 1 END,
        CASE kind WHEN 'number' THEN exact_number(content)
            WHEN 'boolean' THEN (content = 'true')::int::numeric END,
        CASE kind WHEN 'string' THEN content END COLLATE "C",
        CASE WHEN kind = 'boolean' AND content = 'true' THEN 0
            WHEN kind = 'number' AND stored ~ '[.e]' THEN 1
            WHEN kind = 'number' THEN 2 ELSE 3 END
    LIMIT %s
"""
_RENAME = """
    UPDATE scans SET labels = m.new, updated_at = %s, version = version + 1
    FROM unnest(%s::text[], %s::text[]) AS m (old, new)
    WHERE row_id = ANY(%s::bigint[]) AND labels = m.old
"""


class PostgresFacets(PostgresTable):
    """The part of the catalog that counts scans by their labels, and renames a label of many."""

    def facets(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        labels: Sequence[str] | None = None,
        attributes: Sequence[str] = (),
        limit: int = 20,
    ) -> Facets:
        passes, variables = condition(where)
        require_limit(limit)
        with self._database.read(workspace_id) as connection:
            parent = require_collection(connection, workspace_id, collection)
            scope = [parent["collection_id"], *variables]
            (counts,) = _rows(connection, _COUNTS.format(passes=passes), *scope)
            if labels is None:
                rows = _rows(connection, _TASKS.format(passes=passes), *scope, MAX_TASKS)
                labels = [row["task"] for row in rows]
            by_column: dict[str, dict[str, Facet]] = {}
            for column, names in (("labels", labels), ("attributes", attributes)):
                query = _VALUES.format(column=column, passes=passes)
                by_column[column] = {}
                for name in names:
                    # No stored name has a NUL, and PostgreSQL does not take one.
                    bound = (name, *scope, name, limit)
                    values = _rows(connection, query, *bound) if "\0" not in name else []
                    by_column[column][name] = _facet(values, counts["scans"])
        return Facets(counts["scans"], counts["subjects"], counts["studies"], **by_column)

    def rename_label(
        self,
        workspace_id: str,
        collection: str,
        task: str,
        old: str,
        new: str,
        *,
        merge: bool = False,
        dry_run: bool = False,
    ) -> RenamedLabel:
        task, old, new = name_of(task), name_of(old), require_name(new, "a label value")
        if old == new:
            raise InputError("the old label and the new one are the same text")
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)  # it forgets answers
            parent = require_collection(connection, workspace_id, collection, lock=True)
            rows = _labelled(connection, parent["collection_id"], task, old)
            if not rows:
                raise UnknownItem("no scan of the collection has this label")
            count = len(_labelled(connection, parent["collection_id"], task, new))
            if count and not merge:
                raise NameTaken(
                    f"{count} scans have the new label already: send merge to join them"
                )
            renamed = {  # thousands of scans have the same few labels
                text: encode_json({**decode_json(text, dict), task: new})
                for text in {row["labels"] for row in rows}
            }
            if not dry_run:
                ids = [row["row_id"] for row in rows]
                pairs = (list(renamed), list(renamed.values()))
                connection.execute(_RENAME, (now(), *pairs, ids))
                forget_answers(connection, workspace_id)
        return RenamedLabel(len(rows), count)


def _labelled(connection: Connection, collection_id: int, task: str, label: str) -> list[DictRow]:
    """Number and labels of the scans that have a label."""
    passes, variables = condition(ScanFilter(labels={task: (label,)}))
    query = f"""
        SELECT row_id, labels FROM filtered_scans WHERE collection_id = %s::bigint AND {passes}
    """  # noqa: S608 - constants
    return _rows(connection, query, collection_id, *variables)


def _rows(connection: Connection, query: str, *variables: Any) -> list[DictRow]:
    return connection.execute(query, variables, prepare=False).fetchall()


def _facet(rows: Sequence[DictRow], total: int) -> Facet:
    values = tuple((json.loads(row["stored"]), int(row["scans"])) for row in rows)
    all_scans = int(rows[0]["all_scans"]) if rows else 0
    listed = sum(scans for _, scans in values)
    return Facet(values, others=all_scans - listed, missing=total - all_scans)
