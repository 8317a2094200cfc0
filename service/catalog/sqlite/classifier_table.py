"""Classifiers in SQLite: names, immutable numbered versions, and the published one."""

import sqlite3

from service.catalog.codec import to_columns
from service.catalog.erasure_ledger import digest_of_kind, new_erasure
from service.catalog.ids import new_id, now
from service.catalog.policies.sqlite_policies import admit_usage
from service.catalog.records import Classifier, ClassifierVersion, NewVersion, Page, new_page
from service.catalog.sqlite.erasure import forget_answers, note
from service.catalog.sqlite.rows import (
    SqliteTable,
    decode,
    insert,
    require_row,
    require_workspace,
)
from service.catalog.sqlite.version_examples import add_examples
from service.catalog.validation import require_limit, require_text, require_version
from service.errors import CatalogFailure, NameTaken

_LATEST = "SELECT max(number) FROM classifier_versions WHERE classifier_seq = ?"
# The counter must be of the same moment as the classifier: a cache compares it.
_CLASSIFIERS = """
    SELECT c.*, w.forgettings FROM classifiers AS c
    JOIN workspaces AS w ON w.workspace_id = c.workspace_id
"""
_VERSION = "SELECT * FROM classifier_versions WHERE classifier_seq = ? AND number = ?"


class SqliteClassifiers(SqliteTable):
    """The part of the catalog for classifiers."""

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        admit = self._rules.admission(workspace_id, version.author.key_id)
        version = self._obeying(workspace_id, version)
        require_text(name, "a classifier name")
        values = {
            "workspace_id": workspace_id,
            "classifier_id": new_id("clf"),
            "name": name,
            "created_at": now(),
            "published": 1,
            "revision": 1,
        }
        unless = "ON CONFLICT (workspace_id, name) DO NOTHING"
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            if insert(connection, "classifiers", values, unless) is None:
                raise NameTaken("the workspace has a classifier of this name")
            admit_usage(connection, workspace_id, admit)
            row = require_classifier(connection, workspace_id, name)
            _insert_version(connection, row, 1, version)
            return _classifier(connection, row)

    def _obeying(self, workspace_id: str, version: NewVersion) -> NewVersion:
        return self._rules.intake(workspace_id).version(version)

    def add_version(
        self,
        workspace_id: str,
        name: str,
        version: NewVersion,
        *,
        publish: bool = False,
        if_revision: int | None = None,
        gone: int = 0,
    ) -> tuple[Classifier, ClassifierVersion]:
        version = self._obeying(workspace_id, version)
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            number = int(connection.execute(_LATEST, (row["seq"],)).fetchone()[0]) + 1
            _insert_version(connection, row, number, version, gone)
            _publish(connection, row, number if publish else row["published"])
            row = require_classifier(connection, workspace_id, name)
            return _classifier(connection, row), _version(connection, row, number)

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            _version(connection, row, number)
            _publish(connection, row, number)
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_classifier(self, workspace_id: str, name: str) -> Classifier:
        with self._database.read() as connection:
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_version(self, workspace_id: str, name: str, number: int) -> ClassifierVersion:
        with self._database.read() as connection:
            row = require_classifier(connection, workspace_id, name)
            return _version(connection, row, number)

    def list_versions(
        self, workspace_id: str, name: str, *, limit: int, before: int | None = None
    ) -> Page[ClassifierVersion]:
        sql = """
            SELECT * FROM classifier_versions
            WHERE classifier_seq = ? AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?
        """
        with self._database.read() as connection:
            seq = require_classifier(connection, workspace_id, name)["seq"]
            variables = (seq, before, before, require_limit(limit) + 1)
            rows = connection.execute(sql, variables).fetchall()
        versions = [decode(ClassifierVersion, row) for row in rows]
        return new_page(versions, limit, lambda version: str(version.number))

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        sql = f"""
            {_CLASSIFIERS} WHERE c.workspace_id = ? AND (? IS NULL OR c.name > ?)
            ORDER BY c.name LIMIT ?
        """
        variables = (workspace_id, after, after, require_limit(limit) + 1)
        with self._database.read() as connection:
            rows = connection.execute(sql, variables).fetchall()
            items = [_classifier(connection, row) for row in rows]
        return new_page(items, limit, lambda item: item.name)

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            connection.execute("DELETE FROM classifiers WHERE seq = ?", (row["seq"],))
            digest = digest_of_kind("classifier", workspace_id, row["classifier_id"])
            erasure = new_erasure("classifier", workspace_id, digest)
            note(connection, [erasure])
            forget_answers(connection, workspace_id)
        self._forgotten([erasure])


def require_classifier(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    """Row of the table ``classifiers`` with ``forgettings``. Raises UnknownItem."""
    sql = f"{_CLASSIFIERS} WHERE c.workspace_id = ? AND c.name = ?"
    return require_row(connection, "no such classifier in this workspace", sql, workspace_id, name)


def _classifier(connection: sqlite3.Connection, row: sqlite3.Row) -> Classifier:
    published = connection.execute(_VERSION, (row["seq"], row["published"])).fetchone()
    if published is None:
        raise CatalogFailure("a stored classifier lacks its published version")
    version = decode(ClassifierVersion, published)
    latest = connection.execute(_LATEST, (row["seq"],)).fetchone()[0]
    return decode(Classifier, row, published=version, latest=latest)


def _version(connection: sqlite3.Connection, row: sqlite3.Row, number: int) -> ClassifierVersion:
    missing = "the classifier has no version of this number"
    return decode(ClassifierVersion, require_row(connection, missing, _VERSION, row["seq"], number))


def _publish(connection: sqlite3.Connection, row: sqlite3.Row, published: int) -> None:
    update = "UPDATE classifiers SET published = ?, revision = revision + 1 WHERE seq = ?"
    connection.execute(update, (published, row["seq"]))


def _insert_version(
    connection: sqlite3.Connection,
    row: sqlite3.Row,
    number: int,
    version: NewVersion,
    gone: int = 0,
) -> None:
    columns = {
        "workspace_id": row["workspace_id"],
        "classifier_seq": row["seq"],
        "number": number,
        "created_at": now(),
        "examples": version.labelled,
    }
    version_seq = insert(connection, "classifier_versions", columns | to_columns(version))
    add_examples(connection, row, int(version_seq or 0), version.examples, gone)
