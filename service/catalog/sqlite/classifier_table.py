"""Classifiers, in SQLite: names, numbered versions that never change, and the published one."""

import json
import sqlite3

from service.catalog.records import Classifier, ClassifierVersion, NewVersion, Page
from service.catalog.sqlite.codec import (
    decode_version,
    encode_object,
    new_id,
    new_page,
    now,
    require_limit,
    require_text,
    require_version,
    require_workspace,
)
from service.catalog.sqlite.database import Database
from service.catalog.sqlite.version_examples import add_examples
from service.errors import CatalogFailure, NameTaken, UnknownItem

_INSERT_VERSION = """
    INSERT INTO classifier_versions (
        workspace_id, classifier_seq, number, encoder_id, classes, report, settings, created_at,
        key_id, key_name, example_count, artifact, out_of_fold, kind
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LATEST = "SELECT max(number) FROM classifier_versions WHERE classifier_seq = ?"
_VERSION = "SELECT * FROM classifier_versions WHERE classifier_seq = ? AND number = ?"


class Classifiers:
    """The part of the catalog that holds fitted heads."""

    _database: Database

    def create_classifier(self, workspace_id: str, name: str, version: NewVersion) -> Classifier:
        """Store a classifier with its version 1, which is published at once.

        Scans that are gone by now are remembered by name only.

        Raises:
            UnknownItem: no such workspace.
            NameTaken: the workspace has a classifier of this name.
            InputError: report or settings hold NaN or what JSON cannot hold.
        """
        require_text(name, "a classifier name")
        insert = """
            INSERT INTO classifiers
                (workspace_id, classifier_id, name, created_at, published, revision)
            VALUES (?, ?, ?, ?, 1, 1) ON CONFLICT (workspace_id, name) DO NOTHING
        """
        with self._database.write() as connection:
            require_workspace(connection, workspace_id)
            values = (workspace_id, new_id("clf"), name, now())
            if connection.execute(insert, values).rowcount == 0:
                raise NameTaken("the workspace has a classifier of this name")
            row = require_classifier(connection, workspace_id, name)
            _insert_version(connection, row, 1, version)
            return _classifier(connection, row)

    def add_version(
        self,
        workspace_id: str,
        name: str,
        version: NewVersion,
        *,
        publish: bool = False,
        if_revision: int | None = None,
    ) -> tuple[Classifier, ClassifierVersion]:
        """Store the next version; the published one stays unless ``publish``.

        Raises:
            UnknownItem: no such classifier, or an ``example_id`` that it does not have.
            PreconditionFailed: ``if_revision`` is not the current one.
            InputError: report or settings hold NaN or what JSON cannot hold.
        """
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            number = int(connection.execute(_LATEST, (row["seq"],)).fetchone()[0]) + 1
            _insert_version(connection, row, number, version)
            _move(connection, row, number if publish else row["published"])
            row = require_classifier(connection, workspace_id, name)
            return _classifier(connection, row), _version(connection, row, number)

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        """Let this version predict from now on, forward or back.

        Raises:
            UnknownItem: no such classifier or version.
            PreconditionFailed: ``if_revision`` is not the current one.
        """
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            _version(connection, row, number)
            _move(connection, row, number)
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_classifier(self, workspace_id: str, name: str) -> Classifier:
        """Raises UnknownItem."""
        with self._database.read() as connection:
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_version(self, workspace_id: str, name: str, number: int) -> ClassifierVersion:
        """Raises UnknownItem: no such classifier or version."""
        with self._database.read() as connection:
            row = require_classifier(connection, workspace_id, name)
            return _version(connection, row, number)

    def list_versions(
        self, workspace_id: str, name: str, *, limit: int, before: int | None = None
    ) -> Page[ClassifierVersion]:
        """Newest first, starting below the number ``before``. Raises UnknownItem."""
        sql = """
            SELECT * FROM classifier_versions
            WHERE classifier_seq = ? AND (? IS NULL OR number < ?) ORDER BY number DESC LIMIT ?
        """
        with self._database.read() as connection:
            row = require_classifier(connection, workspace_id, name)
            variables = (row["seq"], before, before, require_limit(limit) + 1)
            rows = connection.execute(sql, variables).fetchall()
        return new_page([decode_version(r) for r in rows], limit, lambda item: str(item.number))

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
            found = [_classifier(connection, row) for row in rows]
        return new_page(found, limit, lambda item: item.name)

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        """Delete it with all versions. Raises UnknownItem, PreconditionFailed."""
        with self._database.write() as connection:
            row = require_classifier(connection, workspace_id, name)
            require_version(row["revision"], if_revision)
            connection.execute("DELETE FROM classifiers WHERE seq = ?", (row["seq"],))


def require_classifier(connection: sqlite3.Connection, workspace_id: str, name: str) -> sqlite3.Row:
    """Row of the table ``classifiers``. Raises UnknownItem."""
    sql = "SELECT * FROM classifiers WHERE workspace_id = ? AND name = ?"
    row: sqlite3.Row | None = connection.execute(sql, (workspace_id, name)).fetchone()
    if row is None:
        raise UnknownItem("no such classifier in this workspace")
    return row


def _classifier(connection: sqlite3.Connection, row: sqlite3.Row) -> Classifier:
    published = connection.execute(_VERSION, (row["seq"], row["published"])).fetchone()
    if published is None:
        raise CatalogFailure("a stored classifier lacks its published version")
    return Classifier(
        classifier_id=row["classifier_id"],
        name=row["name"],
        created_at=row["created_at"],
        revision=row["revision"],
        latest=connection.execute(_LATEST, (row["seq"],)).fetchone()[0],
        published=decode_version(published),
    )


def _version(connection: sqlite3.Connection, row: sqlite3.Row, number: int) -> ClassifierVersion:
    found = connection.execute(_VERSION, (row["seq"], number)).fetchone()
    if found is None:
        raise UnknownItem("the classifier has no version of this number")
    return decode_version(found)


def _move(connection: sqlite3.Connection, row: sqlite3.Row, published: int) -> None:
    update = "UPDATE classifiers SET published = ?, revision = revision + 1 WHERE seq = ?"
    connection.execute(update, (published, row["seq"]))


def _insert_version(
    connection: sqlite3.Connection, row: sqlite3.Row, number: int, version: NewVersion
) -> None:
    values = (
        row["workspace_id"],
        row["seq"],
        number,
        version.encoder_id,
        json.dumps(list(version.classes), ensure_ascii=False),
        encode_object(version.report),
        encode_object(version.settings),
        now(),
        version.author.key_id,
        version.author.key_name,
        len(version.examples),
        version.artifact,
        version.out_of_fold,
        version.kind,
    )
    version_seq = connection.execute(_INSERT_VERSION, values).lastrowid
    add_examples(connection, row, int(version_seq or 0), version.examples)
