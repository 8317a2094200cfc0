"""Counting the scans that pass a filter, by label, attribute, subject and study, in SQLite."""

import sqlite3
from collections.abc import Sequence

from service.catalog.lifecycle_records import Facet, Facets
from service.catalog.records import Scalar, ScanFilter
from service.catalog.sqlite.codec import require_collection, require_limit
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.sql_filter import Variable, condition

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
# Sums over the window count what the limit leaves out.
_VALUES = """
    SELECT facet.type, facet.value, count(*) AS scans, sum(count(*)) OVER () AS all_scans
    FROM scans, json_each(scans.{column}) AS facet
    WHERE workspace_id = ? AND collection_id = ? AND {passes} AND facet.key = ?
    GROUP BY facet.type, facet.value ORDER BY scans DESC, facet.value LIMIT ?
"""


class FacetReads:
    """The part of the catalog that counts scans."""

    _database: Database

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
        """How many scans, subjects and studies pass, and their commonest labels and attributes.

        Args:
            labels: tasks to count the classes of; None = the commonest ones, at most 64.
            limit: most values per task or attribute, commonest first.

        Raises:
            UnknownItem: no such collection.
            TooManyItems, InputError: of the filter.
        """
        passes, variables = condition(where)
        require_limit(limit)
        with self._database.read() as connection:
            found = require_collection(connection, workspace_id, collection)
            scope: list[Variable] = [workspace_id, found["collection_id"], *variables]
            counts = connection.execute(_COUNTS.format(passes=passes), scope).fetchone()
            if labels is None:
                rows = connection.execute(_TASKS.format(passes=passes), [*scope, MAX_TASKS])
                labels = [row["key"] for row in rows]
            whole = counts["scans"]
            asked = (("labels", labels), ("attributes", attributes))
            by_label, by_attribute = (
                {
                    name: _facet(
                        connection,
                        _VALUES.format(column=column, passes=passes),
                        [*scope, name, limit],
                        whole,
                    )
                    for name in names
                }
                for column, names in asked
            )
        return Facets(whole, counts["subjects"], counts["studies"], by_label, by_attribute)


def _facet(
    connection: sqlite3.Connection, sql: str, variables: list[Variable], whole: int
) -> Facet:
    rows = connection.execute(sql, variables).fetchall()
    named = rows[0]["all_scans"] if rows else 0
    values = tuple((_scalar(row), int(row["scans"])) for row in rows)
    shown = sum(scans for _, scans in values)
    return Facet(values, others=named - shown, missing=whole - named)


def _scalar(row: sqlite3.Row) -> Scalar:
    words: dict[str, Scalar] = {"true": True, "false": False, "null": None}
    found: Scalar = row["value"]
    return words.get(row["type"], found)
