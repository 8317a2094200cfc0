"""Erasing scans, studies and subjects in PostgreSQL.

An erasure locks its workspace against other erasures and against new versions of classifiers, then
the collections, and only then chooses the rows: what was stored before it goes, and nothing that
it did not see learns from it. It raises the workspace's counter of erasures, which every replica
compares before it answers from memory.

The deleted rows are in no answer from the commit on. Their bytes stay in the files until a VACUUM
(``postgres_vacuum``), and in the write-ahead log and in backups until these expire.
"""

from collections import defaultdict
from collections.abc import Sequence

from psycopg.rows import DictRow

from service.catalog.erasure_digests import erasure_of
from service.catalog.erasure_ledger import Erasure, new_erasure, scan_digest
from service.catalog.erasure_records import ErasedSubject
from service.catalog.plain_text import name_of
from service.catalog.postgres.erasure.postgres_vacuum import ErasureVacuum
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    PostgresTable,
    decode,
    delete_scans,
    forget_answers,
    lock_collections,
    note,
    require_row,
    require_scan,
    select,
)
from service.catalog.records import Scan
from service.catalog.redaction import Redact
from service.catalog.validation import require_version
from service.errors import UnknownItem

MAX_COPIES = 100  # that a receipt names
_GOING = """
    SELECT c.name AS collection, s.scan_id, s.row_id, s.workspace_id, s.sha256
    FROM scans AS s JOIN collections AS c USING (collection_id)
    WHERE s.row_id = ANY(%s) ORDER BY s.row_id
"""
_LEARNT = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.scan_row_id = ANY(%s)
"""
_LEARNT_UPLOADS = """
    SELECT k.name, e.collection IS NULL AS is_upload
    FROM classifier_examples AS e JOIN classifiers AS k ON k.seq = e.classifier_seq
    WHERE e.workspace_id = %s AND e.{column} = %s
"""
# Each half has its index; the collections are listed because both indexes begin with them.
_COPIES = """
    SELECT o.row_id, c.name, o.scan_id
    FROM scans AS g
    JOIN collections AS c ON c.workspace_id = g.workspace_id
    JOIN scans AS o ON o.collection_id = c.collection_id AND o.{column} = g.{column}
    WHERE g.row_id = ANY(%(going)s) AND o.row_id <> ALL(%(going)s)
"""
_FORGET_EXAMPLES = "UPDATE classifier_examples SET sha256 = NULL WHERE scan_row_id = ANY(%s)"
_FORGET_UPLOADS = """
    UPDATE classifier_examples
    SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL
    WHERE workspace_id = %s AND {column} = %s
"""
_SCORED = """
    SELECT m.version_seq, m.position
    FROM classifier_examples AS e JOIN version_examples AS m ON m.example_seq = e.seq
    WHERE e.scan_row_id = ANY(%s)
"""
_SCORED_UPLOADS = """
    SELECT m.version_seq, m.position
    FROM classifier_examples AS e JOIN version_examples AS m ON m.example_seq = e.seq
    WHERE e.workspace_id = %s AND e.{column} = %s
"""
_HOLDERS = "SELECT DISTINCT collection_id FROM scans WHERE workspace_id = %s AND {column} = %s"
_OWNED = """
    SELECT row_id FROM scans
    WHERE workspace_id = %s AND {column} = %s AND collection_id = ANY(%s)
"""


class PostgresErasure(PostgresTable):
    """The part of the catalog that erases data."""

    _vacuum: ErasureVacuum

    @property
    def erasures_owed(self) -> int:
        return 0 if self._ledger is None else self._ledger.owed

    @property
    def erasures_unvacuumed(self) -> int:
        return self._vacuum.owed

    def finish_erasures(self, *, rewrite: bool = False) -> int:
        """See ``ErasureCatalog``; ``rewrite`` as ``ErasureVacuum.run``."""
        return self._vacuum.run(rewrite=rewrite)

    def settle_erasures(self) -> bool:
        if self._ledger is None:
            return True
        return self._ledger.settle(self.known_erasures())

    def known_erasures(self) -> list[Erasure]:
        """What all databases of the catalog know as erased, each database's oldest first."""
        known: list[Erasure] = []
        for shard in self._database.shards:
            with self._database.everything(shard, "read") as connection:
                rows = select(connection, "SELECT * FROM erasures ORDER BY erased_at")
            known += [decode(Erasure, row) for row in rows]
        return known

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            row = require_scan(connection, workspace_id, collection, scan_id, lock=True)
            scan = decode(Scan, row)
            require_version(scan.version, if_version)
            going = [scan.row_id]
            receipt = receipt_of(connection, going, copies=True)
            noted = erase_rows(connection, going, self._redact, forget_examples=False)
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
        with self._database.write(workspace_id) as connection:
            lock_erasures(connection, workspace_id)
            holders = select(connection, _HOLDERS.format(column=column), *owner)
            collection_ids = [row["collection_id"] for row in holders]
            lock_collections(connection, collection_ids)
            # Again, because a writer may have changed them before it gave its collection away.
            rows = select(connection, _OWNED.format(column=column), *owner, collection_ids)
            going = [row["row_id"] for row in rows]
            uploads = select(connection, _LEARNT_UPLOADS.format(column=column), *owner)
            receipt = receipt_of(connection, going, uploads, copies=True)
            outcomes = forget_outcomes(connection, whole)
            if not receipt.scans and not receipt.uploads and not outcomes:
                word = column.removesuffix("_id")
                raise UnknownItem(f"no scan of this workspace is of this {word}")
            scored = select(connection, _SCORED_UPLOADS.format(column=column), *owner)
            redact_scores(connection, self._redact, scored)
            connection.execute(_FORGET_UPLOADS.format(column=column), owner)
            noted = erase_rows(connection, going, self._redact, forget_examples=True)
            note(connection, [whole, *others])
            forget_answers(connection, workspace_id)
        return self._finished(receipt, [whole, *others, *noted])


def erasure_times(connection: Connection, workspace_id: str) -> dict[tuple[str, str], str]:
    """(kind, digest) -> time of the last erasure, of subjects and studies."""
    query = """
        SELECT kind, digest, max(erased_at) AS erased_at FROM erasures
        WHERE workspace_id = %s AND kind IN ('subject', 'study') GROUP BY kind, digest
    """
    rows = select(connection, query, workspace_id)
    return {(row["kind"], row["digest"]): row["erased_at"] for row in rows}


def forget_outcomes(connection: Connection, erasure: Erasure) -> int:
    """Delete what predictions of an erased subject turned out to be; return how many."""
    if erasure.kind != "subject":
        return 0
    delete = "DELETE FROM classifier_outcomes WHERE workspace_id = %s AND patient_digest = %s"
    return connection.execute(delete, (erasure.workspace_id, erasure.digest)).rowcount


def receipt_of(
    connection: Connection,
    going: Sequence[int],
    uploads: Sequence[DictRow] = (),
    *,
    copies: bool,
) -> ErasedSubject:
    """The receipt for rows of scans, before they are deleted."""
    scans = select(connection, _GOING, going)
    examples = select(connection, _LEARNT, going)
    same: list[DictRow] = []
    if copies and going:
        halves = (_COPIES.format(column=column) for column in ("sha256", "content_sha256"))
        query = f"{' UNION '.join(halves)} ORDER BY 1 LIMIT {MAX_COPIES}"
        same = connection.execute(query, {"going": going}).fetchall()
    return ErasedSubject(
        scans=tuple((row["collection"], row["scan_id"]) for row in scans),
        row_ids=tuple((row["collection"], row["row_id"]) for row in scans),
        classifiers=tuple(sorted({row["name"] for row in (*examples, *uploads)})),
        uploads=sum(row["is_upload"] for row in uploads),
        copies=tuple((row["name"], row["scan_id"]) for row in same),
    )


def erase_rows(
    connection: Connection, going: Sequence[int], redact: Redact, *, forget_examples: bool
) -> list[Erasure]:
    """Delete rows of scans, and what classifiers hold of them; return what was noted.

    The caller holds the locks of the workspace and of the collections.
    """
    erasures = [
        new_erasure(
            "scan",
            row["workspace_id"],
            scan_digest(row["workspace_id"], row["row_id"], row["sha256"]),
        )
        for row in select(connection, _GOING, going)
    ]
    note(connection, erasures)
    drop_rows(connection, going, redact, forget_examples=forget_examples)
    return erasures


def drop_rows(
    connection: Connection, going: Sequence[int], redact: Redact, *, forget_examples: bool
) -> int:
    """As ``erase_rows``, without noting it; return how many of the scans existed."""
    redact_scores(connection, redact, select(connection, _SCORED, going))
    if forget_examples:
        connection.execute(_FORGET_EXAMPLES, (going,))
    return delete_scans(connection, going)


def redact_scores(connection: Connection, redact: Redact, scored: Sequence[DictRow]) -> None:
    """Remove the out-of-fold scores of examples, given by version and position."""
    positions: defaultdict[int, list[int]] = defaultdict(list)
    for row in scored:
        positions[row["version_seq"]].append(row["position"])
    query = "SELECT out_of_fold FROM classifier_versions WHERE seq = %s"
    update = "UPDATE classifier_versions SET out_of_fold = %s WHERE seq = %s"
    for version_seq, rows in positions.items():
        scores = require_row(connection, "", query, version_seq)["out_of_fold"]
        if scores:
            connection.execute(update, (redact(bytes(scores), sorted(rows)), version_seq))
