"""Counts of the scans that pass a filter, by label, attribute, subject and study, in SQLite."""

import sqlite3
from collections.abc import Sequence

from service.catalog.records import Facet, Facets, Scalar, ScanFilter
from service.catalog.sqlite.rows import SqliteTable, require_collection
from service.catalog.sqlite.sql_filter import Variable, condition
from service.catalog.validation import require_limit

MAX_TASKS = 64  # label names that are counted when none is named

_COUNTS = """
    SELECT count(*) AS scans, count(DISTINCT subject_id) AS subjects,
        count(DISTINCT study_id) AS studies
    FROM scans WHERE workspace_id = ? AND collection_id = ? AND {passes}
"""
_TASKS = """
    SELECT facet.key FROM scans, json_each(scans.labels) AS facet
    WHERE workspace_id = ? AND collection_id = ? AND {passes}
    GROUP BY facet.key ORDER BY count(*) DESC, facet.key LIMIT ?
"""
# The sum over the window includes the values that the limit leaves out.
_VALUES = """
    SELECT facet.type, facet.value, count(*) AS scans, sum(count(*)) OVER () AS all_scans
    FROM scans, json_each(scans.{column}) AS facet
    WHERE workspace_id = ? AND collection_id = ? AND {passes} AND facet.key = ?
    GROUP BY facet.type, facet.value ORDER BY scans DESC, facet.value LIMIT ?
"""


class SqliteFacets(SqliteTable):
    """The part of the catalog that counts scans."""

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
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            scope: list[Variable] = [workspace_id, parent["collection_id"], *variables]
            counts = connection.execute(_COUNTS.format(passes=passes), scope).fetchone()
            if labels is None:
                rows = connection.execute(_TASKS.format(passes=passes), [*scope, MAX_TASKS])
                labels = [row["key"] for row in rows]
            total = counts["scans"]
            by_column: dict[str, dict[str, Facet]] = {}
            for column, names in (("labels", labels), ("attributes", attributes)):
                sql = _VALUES.format(column=column, passes=passes)
                by_column[column] = {
                    name: _facet(connection.execute(sql, [*scope, name, limit]).fetchall(), total)
                    for name in names
                }
        return Facets(total, counts["subjects"], counts["studies"], **by_column)


def _facet(rows: Sequence[sqlite3.Row], total: int) -> Facet:
    values = tuple((_scalar(row), int(row["scans"])) for row in rows)
    all_scans = rows[0]["all_scans"] if rows else 0
    listed = sum(scans for _, scans in values)
    return Facet(values, others=all_scans - listed, missing=total - all_scans)


def _scalar(row: sqlite3.Row) -> Scalar:
    words: dict[str, Scalar] = {"true": True, "false": False, "null": None}
    value: Scalar = row["value"]
    return words.get(row["type"], value)
