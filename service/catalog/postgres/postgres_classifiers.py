"""Classifiers in PostgreSQL: names, immutable numbered versions, and the published one.

A writer locks the workspace against erasures, then the classifier, so that a revision is checked
and numbered once, and no version brings back what is erased at the same time.
"""

from psycopg.rows import DictRow

from service.catalog.codec import to_columns
from service.catalog.erasure_ledger import digest_of_kind, new_erasure
from service.catalog.ids import new_id, now
from service.catalog.policies.postgres_policies import admit_usage
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import keep_erasures_away, lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    first,
    forget_answers,
    insert,
    note,
    require_row,
    require_workspace,
    select,
    until_nul,
)
from service.catalog.postgres.postgres_version_examples import add_examples
from service.catalog.records import Classifier, ClassifierVersion, NewVersion, Page, new_page
from service.catalog.validation import require_limit, require_text, require_version
from service.errors import CatalogFailure, NameTaken, UnknownItem

_LATEST = "SELECT max(number) AS latest FROM classifier_versions WHERE classifier_seq = %s"
# The counter must be of the same moment as the classifier: a cache compares it.
_CLASSIFIERS = """
    SELECT c.*, w.forgettings FROM classifiers AS c
    JOIN workspaces AS w ON w.workspace_id = c.workspace_id
"""
_VERSION = "SELECT * FROM classifier_versions WHERE classifier_seq = %s AND number = %s"


class PostgresClassifiers(PostgresTable):
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
        # It waits for another writer of the same name, and then finds its row.
        unless = "ON CONFLICT (workspace_id, name) DO NOTHING"
        with self._database.write(workspace_id) as connection:
            require_workspace(connection, workspace_id)
            keep_erasures_away(connection, workspace_id)
            if insert(connection, "classifiers", values, otherwise=unless, returning="seq") is None:
                raise NameTaken("the workspace has a classifier of this name")
            row = require_classifier(connection, workspace_id, name)
            _insert_version(connection, row, 1, version)
            admit_usage(connection, workspace_id, admit)
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
        with self._database.write(workspace_id) as connection:
            keep_erasures_away(connection, workspace_id)
            row = require_classifier(connection, workspace_id, name, lock=True)
            require_version(row["revision"], if_revision)
            number = _latest(connection, row) + 1
            _insert_version(connection, row, number, version, gone)
            _publish(connection, row, number if publish else row["published"])
            row = require_classifier(connection, workspace_id, name)
            return _classifier(connection, row), _version(connection, row, number)

    def publish_version(
        self, workspace_id: str, name: str, number: int, *, if_revision: int | None = None
    ) -> Classifier:
        with self._database.write(workspace_id) as connection:
            row = require_classifier(connection, workspace_id, name, lock=True)
            require_version(row["revision"], if_revision)
            _version(connection, row, number)
            _publish(connection, row, number)
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_classifier(self, workspace_id: str, name: str) -> Classifier:
        with self._database.read(workspace_id) as connection:
            return _classifier(connection, require_classifier(connection, workspace_id, name))

    def get_version(self, workspace_id: str, name: str, number: int) -> ClassifierVersion:
        with self._database.read(workspace_id) as connection:
            row = require_classifier(connection, workspace_id, name)
            return _version(connection, row, number)

    def list_versions(
        self, workspace_id: str, name: str, *, limit: int, before: int | None = None
    ) -> Page[ClassifierVersion]:
        query = """
            SELECT * FROM classifier_versions
            WHERE classifier_seq = %s AND (%s::bigint IS NULL OR number < %s)
            ORDER BY number DESC LIMIT %s
        """
        with self._database.read(workspace_id) as connection:
            seq = require_classifier(connection, workspace_id, name)["seq"]
            rows = select(connection, query, seq, before, before, require_limit(limit) + 1)
        versions = [decode(ClassifierVersion, row) for row in rows]
        return new_page(versions, limit, lambda version: str(version.number))

    def list_classifiers(
        self, workspace_id: str, *, limit: int, after: str | None = None
    ) -> Page[Classifier]:
        query = f"""
            {_CLASSIFIERS} WHERE c.workspace_id = %s AND (%s::text IS NULL OR c.name > %s)
            ORDER BY c.name LIMIT %s
        """
        start = until_nul(after)
        variables = (workspace_id, start, start, require_limit(limit) + 1)
        with self._database.read(workspace_id) as connection:
            rows = select(connection, query, *variables)
            items = [_classifier(connection, row) for row in rows]
        return new_page(items, limit, lambda item: item.name)

    def delete_classifier(
        self, workspace_id: str, name: str, *, if_revision: int | None = None
    ) -> None:
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            row = require_classifier(connection, workspace_id, name, lock=True)
            require_version(row["revision"], if_revision)
            connection.execute("DELETE FROM classifiers WHERE seq = %s", (row["seq"],))
            digest = digest_of_kind("classifier", workspace_id, row["classifier_id"])
            erasure = new_erasure("classifier", workspace_id, digest)
            note(connection, [erasure])
            forget_answers(connection, workspace_id)
        self._noted([erasure])


def require_classifier(
    connection: Connection, workspace_id: str, name: str, *, lock: bool = False
) -> DictRow:
    """Row of the table ``classifiers`` with ``forgettings``. Raises UnknownItem.

    Args:
        lock: keep other writers away from the classifier until the transaction ends.
    """
    missing = "no such classifier in this workspace"
    if "\0" in name:  # PostgreSQL has no such text, so nothing is called so
        raise UnknownItem(missing)
    query = f"{_CLASSIFIERS} WHERE c.workspace_id = %s AND c.name = %s"
    if lock:
        query += " FOR NO KEY UPDATE OF c"
    return require_row(connection, missing, query, workspace_id, name)


def _classifier(connection: Connection, row: DictRow) -> Classifier:
    published = first(connection, _VERSION, row["seq"], row["published"])
    if published is None:
        raise CatalogFailure("a stored classifier lacks its published version")
    version = decode(ClassifierVersion, published)
    return decode(Classifier, row, published=version, latest=_latest(connection, row))


def _latest(connection: Connection, row: DictRow) -> int:
    return int(require_row(connection, "", _LATEST, row["seq"])["latest"])


def _version(connection: Connection, row: DictRow, number: int) -> ClassifierVersion:
    missing = "the classifier has no version of this number"
    return decode(ClassifierVersion, require_row(connection, missing, _VERSION, row["seq"], number))


def _publish(connection: Connection, row: DictRow, published: int) -> None:
    update = "UPDATE classifiers SET published = %s, revision = revision + 1 WHERE seq = %s"
    connection.execute(update, (published, row["seq"]))


def _insert_version(
    connection: Connection, row: DictRow, number: int, version: NewVersion, gone: int = 0
) -> None:
    columns = {
        "workspace_id": row["workspace_id"],
        "classifier_seq": row["seq"],
        "number": number,
        "created_at": now(),
        "examples": version.labelled,
    }
    values = columns | to_columns(version)
    version_seq = insert(connection, "classifier_versions", values, returning="seq")
    add_examples(connection, row, int(version_seq), version.examples, gone)
