"""Classifiers, in SQLite, and what each of them learnt from."""

import json
import sqlite3

from service.catalog.database import Database
from service.catalog.records import Classifier, NewClassifier, Page
from service.catalog.rows import (
    decode_classifier,
    encode_object,
    new_id,
    new_page,
    now,
    require_limit,
    require_text,
    require_version,
    require_workspace,
)
from service.errors import NameTaken, UnknownItem


class Classifiers:
    """The part of the catalog that holds fitted heads."""

    _database: Database

    def create_classifier(self, workspace_id: str, classifier: NewClassifier) -> Classifier:
        """Store a head and the scans it was fitted from.

        Scans that are gone by now are remembered by name only.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a classifier of this name.
            InputError: the report holds NaN or what JSON cannot hold.
        """
        require_text(classifier.name, "a classifier name")
        insert = """
            INSERT INTO classifiers (
                workspace_id, classifier_id, name, encoder_id, classes, head_npz, report,
                created_at, version
            )
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (workspace_id, name) DO NOTHING
        """
        values = (
            workspace_id,
            new_id("clf"),
            classifier.name,
            classifier.encoder_id,
            json.dumps(list(classifier.classes), ensure_ascii=False),
            classifier.head_npz,
            encode_object(classifier.report),
            now(),
        )
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if connection.execute(insert, values).rowcount == 0:
                raise NameTaken("the workspace has a classifier of this name")
            row = _require_row(connection, workspace_id, classifier.name)
            _remember_scans(connection, workspace_id, row["seq"], classifier.scan_ids)
        return decode_classifier(row)

    def get_classifier(self, workspace_id: str, name: str) -> Classifier:
        """Raises UnknownItem."""
        with self._database.read() as connection:
            return decode_classifier(_require_row(connection, workspace_id, name))

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        """Sorted by name in code point order, starting after the name ``after``."""
        sql = """
            SELECT * FROM classifiers
            WHERE workspace_id = ? AND (? IS NULL OR name > ?) ORDER BY name LIMIT ?
        """
        variables = (workspace_id, after, after, require_limit(limit) + 1)
        with self._database.read() as connection:
            rows = connection.execute(sql, variables).fetchall()
        return new_page([decode_classifier(row) for row in rows], limit, lambda item: item.name)

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_version: int | None = None
    ) -> None:
        """Raises UnknownItem, PreconditionFailed."""
        with self._database.write() as connection:
            row = _require_row(connection, workspace_id, name)
            require_version(row["version"], if_version)
            connection.execute("DELETE FROM classifiers WHERE seq = ?", (row["seq"],))


def _require_row(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    sql = "SELECT * FROM classifiers WHERE workspace_id = ? AND name = ?"
    row: sqlite3.Row | None = connection.execute(sql, (workspace_id, name)).fetchone()
    if row is None:
        raise UnknownItem("no such classifier in this workspace")
    return row


def _remember_scans(
    connection: sqlite3.Connection,
    workspace_id: str,
    classifier_seq: int,
    scan_ids: tuple[tuple[str, str], ...],
) -> None:
    insert = """
        INSERT INTO classifier_scans
            (classifier_seq, workspace_id, collection, scan_id, scan_row_id)
        VALUES (?, ?, ?, ?, (
            SELECT s.row_id FROM collections AS c JOIN scans AS s USING (collection_id)
            WHERE c.workspace_id = ? AND c.name = ? AND s.scan_id = ?
        ))
    """
    connection.executemany(
        insert,
        (
            (classifier_seq, workspace_id, *pair, workspace_id, *pair)
            for pair in dict.fromkeys(scan_ids)
        ),
    )
