"""Erasing from restored databases what the erasure ledger knows and they do not.

After a restore to an earlier time the erased patients are back. Each workspace is erased in one
transaction, which also stores what it erased: a second run finds nothing to do, and one that was
killed goes on where it stopped.

What a database knows as erased is left out, so a patient who came back afterwards stays. So does
one who came back to the restored database before its erasures were replayed: times are compared,
with a tolerance for the clocks of the replicas. Scans that the ledger names one by one need none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.catalog.clock import TOLERANCE
from service.catalog.erasure_digests import ErasuresSince
from service.catalog.erasure_ledger import Erasure, digest_of_kind
from service.catalog.lifecycle.postgres_lifecycle import PostgresLifecycle
from service.catalog.postgres.erasure.postgres_erasure import (
    drop_rows,
    forget_outcomes,
    redact_scores,
)
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import lock_erasures
from service.catalog.postgres.postgres_rows import (
    first,
    forget_answers,
    forget_images,
    lock_workspace,
    note,
    select,
)
from service.catalog.redaction import Redact
from service.errors import UnknownItem

ROWS_AT_ONCE = 5000
_KNOWN = "SELECT erasure_id FROM erasures WHERE workspace_id = %s"
_SCANS = """
    SELECT row_id, workspace_id, collection_id, sha256, subject_id, study_id, created_at
    FROM scans WHERE workspace_id = %s ORDER BY row_id
"""
# An example is as old as the first version that learnt from it.
_UPLOADS = """
    SELECT e.seq, e.workspace_id, e.subject_id, e.study_id, coalesce((
        SELECT min(v.created_at) FROM version_examples AS m
        JOIN classifier_versions AS v ON v.seq = m.version_seq WHERE m.example_seq = e.seq
    ), '') AS made_at
    FROM classifier_examples AS e
    WHERE e.workspace_id = %s AND (e.subject_id IS NOT NULL OR e.study_id IS NOT NULL)
"""
_SCORED = "SELECT version_seq, position FROM version_examples WHERE example_seq = ANY(%s)"
_FORGET = """
    UPDATE classifier_examples
    SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL WHERE seq = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay erased.

    Attributes:
        unknown: erasures of the ledger that the databases did not know.
        foreign: erasures of workspaces that the databases do not have; they are left out.
        images: collections that lost their kept images.
    """

    unknown: int = 0
    foreign: int = 0
    scans: int = 0
    examples: int = 0
    collections: int = 0
    classifiers: int = 0
    images: int = 0
    workspaces: int = 0

    def plus(self, other: "Replayed") -> "Replayed":
        """The sum of both."""
        return Replayed(
            *(getattr(self, name) + getattr(other, name) for name in Replayed.__dataclass_fields__)
        )


class PostgresReplay(PostgresLifecycle):
    """The part of the catalog that erases again, for commands of operators."""

    def replay_erasures(self, erasures: Sequence[Erasure], *, dry_run: bool = False) -> Replayed:
        """Erase what the databases do not know as erased. Idempotent.

        Args:
            dry_run: only count it. It locks each workspace for a moment as the replay would.

        Raises:
            WorkspaceMoving: a workspace is on its way to another shard; run it again afterwards.
        """
        by_workspace: dict[str, list[Erasure]] = {}
        for erasure in erasures:
            by_workspace.setdefault(erasure.workspace_id, []).append(erasure)
        total = Replayed()
        for workspace_id, of_workspace in by_workspace.items():
            total = total.plus(self._replay(workspace_id, of_workspace, dry_run=dry_run))
        return total

    def _replay(self, workspace_id: str, erasures: Sequence[Erasure], *, dry_run: bool) -> Replayed:
        here = "SELECT 1 FROM workspaces WHERE workspace_id = %s"
        if any(erasure.kind == "workspace" for erasure in erasures):
            return self._remove_again(workspace_id, erasures, dry_run=dry_run)
        with self._database.write(workspace_id) as connection:
            if first(connection, here, workspace_id) is None:
                return Replayed(foreign=len(erasures))
            lock_erasures(connection, workspace_id)
            known = {row["erasure_id"] for row in select(connection, _KNOWN, workspace_id)}
            unknown = [erasure for erasure in erasures if erasure.erasure_id not in known]
            if not unknown:
                return Replayed()
            lock_workspace(connection, workspace_id)
            since = ErasuresSince(unknown, by_time=True, tolerance=TOLERANCE)
            done = _erase(connection, workspace_id, since, self._redact)
            note(connection, unknown)
            forget_answers(connection, workspace_id)
            if dry_run:
                connection.rollback()
        return done

    def _remove_again(
        self, workspace_id: str, erasures: Sequence[Erasure], *, dry_run: bool
    ) -> Replayed:
        """Delete a whole workspace that a restored database has again."""
        try:
            found = self.workspace_contents(workspace_id)
            if not dry_run:
                self.set_workspace_status(workspace_id, "deleting")
                self.remove_workspace(workspace_id)
        except UnknownItem:
            return Replayed(foreign=len(erasures))
        counts = {"scans": found.scans, "collections": found.collections}
        return Replayed(len(erasures), classifiers=found.classifiers, workspaces=1, **counts)


def _erase(
    connection: Connection, workspace_id: str, since: ErasuresSince, redact: Redact
) -> Replayed:
    classifiers = _erase_classifiers(connection, workspace_id, since)
    examples = _erase_uploads(connection, workspace_id, since, redact)
    for erasure in since.erasures:
        forget_outcomes(connection, erasure)
    gone, images = _erased_collections(connection, workspace_id, since)
    scans = 0
    # First all are found: a cursor and deletions in turns would take twice the round trips.
    going = list(_erased_scans(connection, workspace_id, since, gone))
    for start in range(0, len(going), ROWS_AT_ONCE):
        part = going[start : start + ROWS_AT_ONCE]
        scans += drop_rows(connection, part, redact, forget_examples=True)
    delete = "DELETE FROM collections WHERE collection_id = ANY(%s)"
    connection.execute(delete, (sorted(gone),))
    return Replayed(len(since.erasures), 0, scans, examples, len(gone), classifiers, images)


def _erased_scans(
    connection: Connection, workspace_id: str, since: ErasuresSince, gone: set[int]
) -> Iterator[int]:
    if not since.of_scans and not gone:
        return
    with connection.cursor("scans") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for row in cursor.execute(_SCANS, (workspace_id,)):
            # The time of storing: a change of labels makes no scan younger.
            if row["collection_id"] in gone or since.has_scan(row, row["created_at"]):
                yield row["row_id"]


def _erase_classifiers(connection: Connection, workspace_id: str, since: ErasuresSince) -> int:
    query = "SELECT seq, classifier_id FROM classifiers WHERE workspace_id = %s"
    going = [
        row["seq"]
        for row in select(connection, query, workspace_id)
        if since.has(
            "classifier",
            workspace_id,
            digest_of_kind("classifier", workspace_id, row["classifier_id"]),
        )
    ]
    connection.execute("DELETE FROM classifiers WHERE seq = ANY(%s)", (going,))
    return len(going)


def _erase_uploads(
    connection: Connection, workspace_id: str, since: ErasuresSince, redact: Redact
) -> int:
    rows = select(connection, _UPLOADS, workspace_id)
    going = [row["seq"] for row in rows if since.has_owner(row, row["made_at"])]
    redact_scores(connection, redact, select(connection, _SCORED, going))
    connection.execute(_FORGET, (going,))
    return len(going)


def _erased_collections(
    connection: Connection, workspace_id: str, since: ErasuresSince
) -> tuple[set[int], int]:
    """The numbers of erased collections; kept images that were dropped go here, and are counted.

    A restored database gives the numbers of lost collections to new ones. Erasures that name the
    number alone leave those, because they are younger.
    """
    gone: set[int] = set()
    images = 0
    query = (
        "SELECT workspace_id, collection_id, created_at FROM collections WHERE workspace_id = %s"
    )
    for row in select(connection, query, workspace_id):
        collection_id, made_at = row["collection_id"], row["created_at"]
        if since.has_collection("collection", row, made_at=made_at):
            gone.add(collection_id)
        elif since.has_collection("images", row, made_at=made_at):
            images += forget_images(connection, collection_id) > 0
    return gone, images
