"""Renaming a class in the labels of all scans of a collection, in SQLite."""

from service.catalog.codec import decode_json, encode_labels
from service.catalog.ids import now
from service.catalog.records import RenamedLabel, ScanFilter
from service.catalog.sqlite.rows import SqliteTable, require_collection
from service.catalog.sqlite.sql_filter import condition
from service.errors import NameTaken, UnknownItem


class SqliteLabelWrites(SqliteTable):
    """The part of the catalog that changes one label of many scans."""

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
                text: encode_labels({**decode_json(text, dict), task: new})
                for text in {row["labels"] for row in rows}
            }
            if not dry_run:
                connection.executemany(
                    "UPDATE scans SET labels = ?, updated_at = ?, version = version + 1"
                    " WHERE row_id = ?",
                    [(renamed[row["labels"]], now(), row["row_id"]) for row in rows],
                )
        return RenamedLabel(len(rows), count)
