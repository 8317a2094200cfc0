"""The use of classifiers in PostgreSQL, which all replicas count together.

Whoever writes locks the version first: replicas take turns, so a block is filled by one of them,
and whoever deletes the classifier waits before it reaches these rows.
"""

import time
from collections.abc import Sequence

from service.catalog.codec import encode_json
from service.catalog.ids import now
from service.catalog.monitoring.monitoring_records import (
    Counts,
    Outcome,
    Period,
    UsageRow,
    UsageWindows,
    outcome_row,
    summed,
)
from service.catalog.postgres.postgres_database import Connection
from service.catalog.postgres.postgres_locks import keep_erasures_away
from service.catalog.postgres.postgres_rows import PostgresTable, decode, first, require_row

_VERSION = """
    SELECT v.seq FROM classifiers AS c
    JOIN classifier_versions AS v ON v.classifier_seq = c.seq
    WHERE c.workspace_id = %s AND c.classifier_id = %s AND v.number = %s
"""
_ROW = "SELECT * FROM classifier_usage WHERE version_seq = %s AND period = %s AND number = %s"
_NEWEST_BLOCK = """
    SELECT number, answers FROM classifier_usage
    WHERE version_seq = %s AND period = 'block' ORDER BY number DESC LIMIT 1
"""
_STORE = """
    INSERT INTO classifier_usage
        (version_seq, workspace_id, period, number, started_at, ended_at, answers, counts)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (version_seq, period, number) DO UPDATE
    SET ended_at = excluded.ended_at, answers = excluded.answers, counts = excluded.counts
"""
_DROP = "DELETE FROM classifier_usage WHERE version_seq = %s AND period = %s AND number <= %s"
HELD_OUTCOMES = """
    SELECT k.name, count(*) AS outcomes
    FROM classifier_outcomes AS o JOIN classifier_versions AS v ON v.seq = o.version_seq
    JOIN classifiers AS k ON k.seq = v.classifier_seq
    WHERE o.workspace_id = %s AND o.patient_digest = %s GROUP BY k.name ORDER BY k.name
"""
_STORE_OUTCOME = """
    INSERT INTO classifier_outcomes
        (version_seq, workspace_id, prediction_id, patient_digest, probabilities, abstained,
        actual, recorded_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (version_seq, prediction_id) DO UPDATE
    SET patient_digest = excluded.patient_digest, probabilities = excluded.probabilities,
        abstained = excluded.abstained, actual = excluded.actual,
        recorded_at = excluded.recorded_at
"""
_DROP_OUTCOMES = """
    DELETE FROM classifier_outcomes WHERE version_seq = %s AND prediction_id IN (
        SELECT prediction_id FROM classifier_outcomes WHERE version_seq = %s
        ORDER BY recorded_at DESC, prediction_id OFFSET %s
    )
"""


class PostgresMonitoring(PostgresTable):
    """The part of the catalog for the use of classifiers."""

    def add_usage(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        counts: Counts,
        *,
        answers: int,
        windows: UsageWindows,
    ) -> int | None:
        moment, slot = now(), int(time.time() // windows.slot_s)
        with self._database.write(workspace_id) as connection:
            seq = _version(connection, workspace_id, classifier_id, number)
            newest = first(connection, _NEWEST_BLOCK, seq)
            block, filled = (0, 0) if newest is None else (newest["number"], newest["answers"])
            if filled >= windows.block_answers:
                block, filled = block + 1, 0
            places: tuple[tuple[Period, int], ...] = (
                ("slot", slot),
                ("block", block),
                ("total", 0),
            )
            for place in places:
                _add(connection, (seq, workspace_id), place, counts, answers, moment)
            connection.execute(_DROP, (seq, "slot", slot - windows.kept_slots))
            connection.execute(_DROP, (seq, "block", block - windows.kept_blocks))
        return int(block) if filled + answers >= windows.block_answers else None

    def usage(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        period: Period,
        *,
        since: int = 0,
    ) -> tuple[UsageRow, ...]:
        query = f"""
            SELECT u.* FROM classifier_usage AS u
            WHERE u.version_seq = ({_VERSION}) AND u.period = %s AND u.number >= %s
            ORDER BY u.number
        """  # noqa: S608 - the inner query is ours
        variables = (workspace_id, classifier_id, number, period, since)
        return tuple(self._select(UsageRow, workspace_id, query, *variables))

    def put_outcomes(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        outcomes: Sequence[Outcome],
        *,
        keep: int,
    ) -> int:
        moment = now()
        count = "SELECT count(*) AS n FROM classifier_outcomes WHERE version_seq = %s"
        with self._database.write(workspace_id) as connection:
            # An erasure that runs now would miss an outcome of its patient that is stored now.
            keep_erasures_away(connection, workspace_id)
            seq = _version(connection, workspace_id, classifier_id, number)
            before = require_row(connection, "", count, seq)["n"]
            with connection.cursor() as cursor:
                rows = [outcome_row(seq, workspace_id, outcome, moment) for outcome in outcomes]
                cursor.executemany(_STORE_OUTCOME, rows)
            added = require_row(connection, "", count, seq)["n"] - before
            connection.execute(_DROP_OUTCOMES, (seq, seq, keep))
        return int(added)

    def outcomes(self, workspace_id: str, classifier_id: str, number: int) -> tuple[Outcome, ...]:
        query = f"""
            SELECT * FROM classifier_outcomes WHERE version_seq = ({_VERSION})
            ORDER BY recorded_at, prediction_id
        """  # noqa: S608 - the inner query is ours
        variables = (workspace_id, classifier_id, number)
        return tuple(self._select(Outcome, workspace_id, query, *variables))


def _version(connection: Connection, workspace_id: str, classifier_id: str, number: int) -> int:
    """Lock a version and return its ``seq``. Raises UnknownItem."""
    missing = "no such version of a classifier"
    query = f"{_VERSION} FOR NO KEY UPDATE OF v"
    return int(require_row(connection, missing, query, workspace_id, classifier_id, number)["seq"])


def _add(
    connection: Connection,
    owner: tuple[int, str],
    place: tuple[Period, int],
    counts: Counts,
    answers: int,
    moment: str,
) -> None:
    row = first(connection, _ROW, owner[0], *place)
    started_at = moment
    if row is not None:
        earlier = decode(UsageRow, row)
        counts, answers = summed(earlier.counts, counts), earlier.answers + answers
        started_at = earlier.started_at
    values = (*owner, *place, started_at, moment, answers, encode_json(counts))
    connection.execute(_STORE, values)
