"""Labels and attributes of a whole collection, in SQLite: their counts, and a class's new name."""

import sqlite3
from collections.abc import Sequence

from service.catalog.codec import decode_json, encode_json
from service.catalog.filter_records import Facet, Facets, ScanFilter
from service.catalog.ids import now
from service.catalog.plain_text import name_of, require_name
from service.catalog.records import RenamedLabel, Scalar
from service.catalog.sqlite.erasure import forget_answers
from service.catalog.sqlite.rows import SqliteTable, require_collection
from service.catalog.sqlite.sql_filter import Variable, condition, of_collection
from service.catalog.validation import MAX_TASKS, require_limit
from service.errors import InputError, NameTaken, UnknownItem

_COUNTS = """
    SELECT count(*) AS scans, count(DISTINCT subject_id) AS subjects,
        count(DISTINCT study_id) AS studies
    FROM scans WHERE {passes}
"""
# Thousands of scans have the same labels, which their index has together: one text stands for all.
_LABELS = "SELECT labels AS text, count(*) AS scans FROM scans WHERE {passes} GROUP BY labels"
_ATTRIBUTES = "SELECT attributes AS text, 1 AS scans FROM scans WHERE {passes}"
_TASKS = """
    SELECT facet.key FROM ({texts}) AS stored, json_each(stored.text) AS facet
    GROUP BY facet.key ORDER BY sum(stored.scans) DESC, facet.key LIMIT ?
"""
# The sum over the window includes the values that the limit leaves out.
_VALUES = """
    SELECT facet.type, facet.value, sum(stored.scans) AS scans,
        sum(sum(stored.scans)) OVER () AS all_scans
    FROM ({texts}) AS stored, json_each(stored.text) AS facet
    WHERE facet.key = ?
    GROUP BY facet.type, facet.value
    ORDER BY sum(stored.scans) DESC, facet.value, facet.type DESC LIMIT ?
"""


class SqliteFacets(SqliteTable):
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
        condition_sql, variables = condition(where)
        passes = f"{of_collection(where)} AND {condition_sql}"
        require_limit(limit)
        with self._database.read() as connection:
            parent = require_collection(connection, workspace_id, collection)
            scope: list[Variable] = [workspace_id, parent["collection_id"], *variables]
            counts = connection.execute(_COUNTS.format(passes=passes), scope).fetchone()
            if labels is None:
                tasks = _TASKS.format(texts=_LABELS.format(passes=passes))
                rows = connection.execute(tasks, [*scope, MAX_TASKS])
                labels = [row["key"] for row in rows]
            total = counts["scans"]
            by_column: dict[str, dict[str, Facet]] = {}
            for column, texts, names in (
                ("labels", _LABELS, labels),
                ("attributes", _ATTRIBUTES, attributes),
            ):
                sql = _VALUES.format(texts=texts.format(passes=passes))
                by_column[column] = {
                    name: _facet(connection.execute(sql, [*scope, name, limit]).fetchall(), total)
                    for name in names
                }
        return Facets(total, counts["subjects"], counts["studies"], **by_column)

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

        def of(label: str) -> tuple[str, list[object]]:
            passes, variables = condition(ScanFilter(labels={task: (label,)}))
            scans = f"FROM scans WHERE workspace_id = ? AND collection_id = ? AND {passes}"
            return scans, [workspace_id, parent["collection_id"], *variables]

        with self._database.write() as connection:
            parent = require_collection(connection, workspace_id, collection)
            scans, variables = of(old)
            rows = connection.execute(f"SELECT row_id, labels {scans}", variables).fetchall()
            if not rows:
                raise UnknownItem("no scan of the collection has this label")
            scans, variables = of(new)
            count = int(connection.execute(f"SELECT count(*) {scans}", variables).fetchone()[0])
            if count and not merge:
                raise NameTaken(
                    f"{count} scans have the new label already: send merge to join them"
                )
            renamed = {  # thousands of scans have the same few labels
                text: encode_json({**decode_json(text, dict), task: new})
                for text in {row["labels"] for row in rows}
            }
            if not dry_run:
                connection.executemany(
                    "UPDATE scans SET labels = ?, updated_at = ?, version = version + 1"
                    " WHERE row_id = ?",
                    [(renamed[row["labels"]], now(), row["row_id"]) for row in rows],
                )
                forget_answers(connection, workspace_id)
        if not dry_run:
            self._database.forget_deleted()
        return RenamedLabel(len(rows), count)


def _facet(rows: Sequence[sqlite3.Row], total: int) -> Facet:
    values = tuple((_scalar(row), int(row["scans"])) for row in rows)
    all_scans = rows[0]["all_scans"] if rows else 0
    listed = sum(scans for _, scans in values)
    return Facet(values, others=all_scans - listed, missing=total - all_scans)


def _scalar(row: sqlite3.Row) -> Scalar:
    words: dict[str, Scalar] = {"true": True, "false": False, "null": None}
    value: Scalar = row["value"]
    if isinstance(value, float):
        value += 0.0  # both zeros are one: without its sign, whichever came first
    return words.get(row["type"], value)
