"""Erasing scans, studies and subjects in SQLite.

Digests of what is erased are kept, so that the same data can be deleted from older backups
(``backup``). Every erasure drops the saved answers of the workspace, which may repeat what was
erased, and empties the write-ahead log.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from service.catalog.codec import to_columns
from service.catalog.erasure_digests import ErasuresSince, erasure_of
from service.catalog.erasure_ledger import Erasure, digest_of_kind, new_erasure, scan_digest
from service.catalog.erasure_records import ErasedSubject
from service.catalog.plain_text import name_of
from service.catalog.records import Scan
from service.catalog.redaction import Redact
from service.catalog.sqlite.rows import SqliteTable, decode, insert, require_scan
from service.catalog.sqlite.schema import ERASURES_OF_SCHEMA_1
from service.catalog.validation import require_version
from service.errors import UnknownItem

MAX_COPIES = 100  # that a receipt names

# The temporary table ``going`` lists the rows to delete; it is dropped in the same transaction.
_COLLECT = "CREATE TEMP TABLE going AS SELECT row_id FROM scans WHERE {which}"
_SCANS = """
    SELECT collection, scan_id, row_id, workspace_id, sha256 FROM scan_records
    WHERE row_id IN (SELECT row_id FROM going) ORDER BY row_id
"""
_LEARNT = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.scan_row_id IN (SELECT row_id FROM going)
"""
_LEARNT_UPLOADS = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.workspace_id = ? AND e.{column} = ?
"""
# Each half has its index; the collections are listed because both indexes begin with them.
_COPIES = """
    SELECT o.row_id, c.name, o.scan_id
    FROM scans AS g
    JOIN collections AS c ON c.workspace_id = g.workspace_id
    JOIN scans AS o ON o.collection_id = c.collection_id AND o.{column} = g.{column}
    WHERE g.row_id IN (SELECT row_id FROM going) AND o.row_id NOT IN (SELECT row_id FROM going)
"""
_FORGET_EXAMPLES = """
    UPDATE classifier_examples SET sha256 = NULL
    WHERE scan_row_id IN (SELECT row_id FROM going)
"""
_FORGET_UPLOADS = """
    UPDATE classifier_examples
    SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL
    WHERE workspace_id = ? AND {column} = ?
"""
_SCORED = """
    SELECT m.version_seq, m.position
    FROM classifier_examples AS e JOIN version_examples AS m ON m.example_seq = e.seq
    WHERE e.scan_row_id IN (SELECT row_id FROM going)
"""
_SCORED_UPLOADS = """
    SELECT m.version_seq, m.position
    FROM classifier_examples AS e JOIN version_examples AS m ON m.example_seq = e.seq
    WHERE e.workspace_id = ? AND e.{column} = ?
"""
_DELETE = "DELETE FROM scans WHERE row_id IN (SELECT row_id FROM going)"


class SqliteErasure(SqliteTable):
    """The part of the catalog that erases data."""

    @property
    def erasures_owed(self) -> int:
        return 0 if self._ledger is None else self._ledger.owed

    @property
    def erasures_unvacuumed(self) -> int:
        return 0

    def finish_erasures(self) -> int:
        return 0  # each erasure overwrites what it deletes before it ends

    def settle_erasures(self) -> bool:
        if self._ledger is None:
            return True
        with self._database.read() as connection:
            known = erasures_in(connection)
        return self._ledger.settle(known)

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        with self._database.write() as connection:
            scan = decode(Scan, require_scan(connection, workspace_id, collection, scan_id))
            require_version(scan.version, if_version)
            collect(connection, "row_id = ?", scan.row_id)
            receipt = receipt_of(connection, copies=True)
            noted = erase_collected(connection, self._redact, forget_examples=False)
            forget_answers(connection, workspace_id)
        return scan, self._finished(receipt, noted)

    def erase_study(
        self, workspace_id: str, study_id: str, *, also: Sequence[str] = ()
    ) -> ErasedSubject:
        return self._erase(workspace_id, "study_id", name_of(study_id), also)

    def erase_subject(
        self, workspace_id: str, subject_id: str, *, also: Sequence[str] = ()
    ) -> ErasedSubject:
        return self._erase(workspace_id, "subject_id", name_of(subject_id), also)

    def _erase(
        self, workspace_id: str, column: str, value: str, also: Sequence[str]
    ) -> ErasedSubject:
        owner = (workspace_id, value)
        whole = erasure_of(column, workspace_id, value)
        others = [erasure_of(column, workspace_id, name_of(name)) for name in also]
        with self._database.write() as connection:
            collect(connection, f"workspace_id = ? AND {column} = ?", *owner)
            learnt = _LEARNT_UPLOADS.format(column=column)
            uploads = connection.execute(learnt, owner).fetchall()
            receipt = receipt_of(connection, uploads, copies=True)
            outcomes = forget_outcomes(connection, whole)
            if not receipt.scans and not receipt.uploads and not outcomes:
                word = column.removesuffix("_id")
                raise UnknownItem(f"no scan of this workspace is of this {word}")
            scored = connection.execute(_SCORED_UPLOADS.format(column=column), owner).fetchall()
            redact_scores(connection, self._redact, scored)
            connection.execute(_FORGET_UPLOADS.format(column=column), owner)
            noted = erase_collected(connection, self._redact, forget_examples=True)
            note(connection, [whole, *others])
            forget_answers(connection, workspace_id)
        return self._finished(receipt, [whole, *others, *noted])


def erasure_times(connection: sqlite3.Connection, workspace_id: str) -> dict[tuple[str, str], str]:
    """(kind, digest) -> time of the last erasure, of subjects and studies."""
    sql = """
        SELECT kind, digest, max(erased_at) FROM erasures
        WHERE workspace_id = ? AND kind IN ('subject', 'study') GROUP BY kind, digest
    """
    return {row[:2]: row[2] for row in map(tuple, connection.execute(sql, (workspace_id,)))}


def collect(connection: sqlite3.Connection, which: str, *variables: str | int) -> None:
    """List the scans to delete; ``erase_collected`` follows in the same transaction."""
    connection.execute(_COLLECT.format(which=which), variables)


def receipt_of(
    connection: sqlite3.Connection, uploads: Sequence[sqlite3.Row] = (), *, copies: bool
) -> ErasedSubject:
    """The receipt for the collected scans, before they are deleted."""
    scans = connection.execute(_SCANS).fetchall()
    examples = connection.execute(_LEARNT).fetchall()
    same: list[sqlite3.Row] = []
    if copies:
        halves = (_COPIES.format(column=column) for column in ("sha256", "content_sha256"))
        sql = f"{' UNION '.join(halves)} ORDER BY 1 LIMIT {MAX_COPIES}"
        same = connection.execute(sql).fetchall()
    return ErasedSubject(
        scans=tuple((row["collection"], row["scan_id"]) for row in scans),
        row_ids=tuple((row["collection"], row["row_id"]) for row in scans),
        classifiers=tuple(sorted({row["name"] for row in (*examples, *uploads)})),
        uploads=sum(row["is_upload"] for row in uploads),
        copies=tuple((row["name"], row["scan_id"]) for row in same),
    )


def erase_collected(
    connection: sqlite3.Connection, redact: Redact, *, forget_examples: bool
) -> list[Erasure]:
    """Delete the collected scans, and what classifiers hold of them; return what was noted."""
    erasures = [
        new_erasure("scan", owner, scan_digest(owner, row_id, sha256))
        for _, _, row_id, owner, sha256 in connection.execute(_SCANS).fetchall()
    ]
    note(connection, erasures)
    delete_collected(connection, redact, forget_examples=forget_examples)
    return erasures


def delete_collected(
    connection: sqlite3.Connection, redact: Redact, *, forget_examples: bool
) -> None:
    """Delete the collected scans, and what classifiers hold of them, without noting it."""
    redact_scores(connection, redact, connection.execute(_SCORED).fetchall())
    if forget_examples:
        connection.execute(_FORGET_EXAMPLES)
    connection.execute(_DELETE)
    connection.execute("DROP TABLE going")


def redact_scores(
    connection: sqlite3.Connection, redact: Redact, scored: Sequence[sqlite3.Row]
) -> None:
    """Remove the out-of-fold scores of examples, given by version and position."""
    positions: defaultdict[int, list[int]] = defaultdict(list)
    for version_seq, position in scored:
        positions[version_seq].append(position)
    select = "SELECT out_of_fold FROM classifier_versions WHERE seq = ?"
    update = "UPDATE classifier_versions SET out_of_fold = ? WHERE seq = ?"
    for version_seq, rows in positions.items():
        scores = connection.execute(select, (version_seq,)).fetchone()[0]
        if scores:
            connection.execute(update, (redact(bytes(scores), sorted(rows)), version_seq))


def forget_outcomes(connection: sqlite3.Connection, erasure: Erasure) -> int:
    """Delete what predictions of an erased subject turned out to be; return how many."""
    if erasure.kind != "subject":
        return 0
    delete = "DELETE FROM classifier_outcomes WHERE workspace_id = ? AND patient_digest = ?"
    return connection.execute(delete, (erasure.workspace_id, erasure.digest)).rowcount


def note(connection: sqlite3.Connection, erasures: Sequence[Erasure]) -> None:
    """Keep erasures in the catalog; known ones stay as they are."""
    for erasure in erasures:
        insert(connection, "erasures", to_columns(erasure), "ON CONFLICT DO NOTHING")


def forget_answers(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Delete all saved answers of a workspace: which of them repeat erased data is not known.

    Those of requests that are under way will not be saved.
    """
    connection.execute("DELETE FROM answers WHERE workspace_id = ?", (workspace_id,))
    count = "UPDATE workspaces SET forgettings = forgettings + 1 WHERE workspace_id = ?"
    connection.execute(count, (workspace_id,))


def drop_workspace(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Delete all rows of a workspace from every table, those of its erasures included.

    What hangs on a row goes with it, or is deleted later: references are checked at the commit.
    """
    tables = """
        SELECT t.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
        WHERE t.type = 'table' AND c.name = 'workspace_id'
    """
    connection.execute("PRAGMA defer_foreign_keys = ON")  # until the transaction ends
    for (table,) in connection.execute(tables).fetchall():
        delete = f"DELETE FROM {table} WHERE workspace_id = ?"  # noqa: S608 - our own tables
        connection.execute(delete, (workspace_id,))


def erasures_in(connection: sqlite3.Connection, database: str = "main") -> list[Erasure]:
    """All erasures that a catalog knows, of schema 1 or 2."""
    version = int(connection.execute(f"PRAGMA {database}.user_version").fetchone()[0])
    sql = f"SELECT * FROM {database}.erasures"  # noqa: S608 - of our own attachments
    if version == 1:
        sql = ERASURES_OF_SCHEMA_1.format(database=database)
    return [decode(Erasure, row) for row in connection.execute(f"{sql} ORDER BY erased_at")]


# in copies ----------------------------------------------------------------------------------


def erase_again(
    connection: sqlite3.Connection, erasures: Sequence[Erasure], redact: Redact
) -> bool:
    """Erase from a copy of a catalog what was erased since; return whether it held any of it.

    What the copy itself knows as erased is left out: a patient who came back afterwards stays. A
    copy of schema 1 knows nothing of this kind, so there the times decide.
    """
    is_old = int(connection.execute("PRAGMA user_version").fetchone()[0]) == 1
    known = {erasure.erasure_id for erasure in erasures_in(connection)}
    since = ErasuresSince([e for e in erasures if e.erasure_id not in known], by_time=is_old)
    before = connection.total_changes
    for row in connection.execute("SELECT workspace_id FROM workspaces").fetchall():
        (owner,) = row
        if since.has("workspace", owner, digest_of_kind("workspace", owner, owner)):
            drop_workspace(connection, owner)
    _erase_classifiers(connection, since)
    _erase_uploads(connection, since, redact)
    if int(connection.execute("PRAGMA user_version").fetchone()[0]) > 2:  # older ones have none
        for erasure in since.erasures:
            forget_outcomes(connection, erasure)
    collections = _erased_collections(connection, since)
    connection.execute("CREATE TEMP TABLE going (row_id INTEGER PRIMARY KEY)")
    unmoved = connection.total_changes
    rows = connection.execute("SELECT * FROM scans").fetchall() if since.of_scans else ()
    going = [(row["row_id"],) for row in rows if since.has_scan(row, row["updated_at"])]
    scans = "SELECT row_id FROM scans WHERE collection_id = ?"
    for collection_id in collections:
        going += connection.execute(scans, (collection_id,)).fetchall()
    connection.executemany("INSERT OR IGNORE INTO going VALUES (?)", going)
    before += connection.total_changes - unmoved  # the list itself is no change of the copy
    delete_collected(connection, redact, forget_examples=True)
    delete = "DELETE FROM collections WHERE collection_id = ?"
    connection.executemany(delete, [(collection_id,) for collection_id in collections])
    changed = connection.total_changes > before
    if changed:
        connection.execute("DELETE FROM answers")
        if not is_old:
            note(connection, since.erasures)
    return changed


def _erase_classifiers(connection: sqlite3.Connection, since: ErasuresSince) -> None:
    for row in connection.execute("SELECT * FROM classifiers").fetchall():
        owner = row["workspace_id"]
        digest = digest_of_kind("classifier", owner, row["classifier_id"])
        if since.has("classifier", owner, digest):
            connection.execute("DELETE FROM classifiers WHERE seq = ?", (row["seq"],))


def _erase_uploads(connection: sqlite3.Connection, since: ErasuresSince, redact: Redact) -> None:
    sql = """
        SELECT e.seq, e.workspace_id, e.subject_id, e.study_id, k.created_at
        FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
        WHERE e.subject_id IS NOT NULL OR e.study_id IS NOT NULL
    """
    scored = "SELECT version_seq, position FROM version_examples WHERE example_seq = ?"
    forget = """
        UPDATE classifier_examples
        SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL WHERE seq = ?
    """
    for row in connection.execute(sql).fetchall():
        if since.has_owner(row, row["created_at"]):
            redact_scores(connection, redact, connection.execute(scored, (row["seq"],)).fetchall())
            connection.execute(forget, (row["seq"],))


def _erased_collections(connection: sqlite3.Connection, since: ErasuresSince) -> list[int]:
    """The numbers of erased collections; kept images that were dropped go here."""
    forget = """
        DELETE FROM scan_images WHERE row_id IN (SELECT row_id FROM scans WHERE collection_id = ?)
    """
    erased: list[int] = []
    for row in connection.execute("SELECT * FROM collections").fetchall():
        if since.has_collection("collection", row):
            erased.append(row["collection_id"])
        elif since.has_collection("images", row):
            connection.execute(forget, (row["collection_id"],))
    return erased
