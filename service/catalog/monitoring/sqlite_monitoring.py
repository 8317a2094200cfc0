"""The use of classifiers in SQLite."""

import time
from collections.abc import Sequence
from typing import Any

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
from service.catalog.sqlite.rows import SqliteTable, decode, require_row

_VERSION = """
    SELECT v.seq FROM classifiers AS c
    JOIN classifier_versions AS v ON v.classifier_seq = c.seq
    WHERE c.workspace_id = ? AND c.classifier_id = ? AND v.number = ?
"""
_ROW = "SELECT * FROM classifier_usage WHERE version_seq = ? AND period = ? AND number = ?"
_NEWEST_BLOCK = """
    SELECT number, answers FROM classifier_usage
    WHERE version_seq = ? AND period = 'block' ORDER BY number DESC LIMIT 1
"""
_STORE = """
    INSERT OR REPLACE INTO classifier_usage
        (version_seq, workspace_id, period, number, started_at, ended_at, answers, counts)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_DROP = "DELETE FROM classifier_usage WHERE version_seq = ? AND period = ? AND number <= ?"
HELD_OUTCOMES = """
    SELECT k.name, count(*) AS outcomes
    FROM classifier_outcomes AS o JOIN classifier_versions AS v ON v.seq = o.version_seq
    JOIN classifiers AS k ON k.seq = v.classifier_seq
    WHERE o.workspace_id = ? AND o.patient_digest = ? GROUP BY k.name ORDER BY k.name
"""
_STORE_OUTCOME = """
    INSERT OR REPLACE INTO classifier_outcomes
        (version_seq, workspace_id, prediction_id, patient_digest, probabilities, abstained,
        actual, recorded_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_DROP_OUTCOMES = """
    DELETE FROM classifier_outcomes WHERE version_seq = ? AND prediction_id IN (
        SELECT prediction_id FROM classifier_outcomes WHERE version_seq = ?
        ORDER BY recorded_at DESC, prediction_id LIMIT -1 OFFSET ?
    )
"""


class SqliteMonitoring(SqliteTable):
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
        with self._database.write() as connection:
            seq = _version(connection, workspace_id, classifier_id, number)
            newest = connection.execute(_NEWEST_BLOCK, (seq,)).fetchone()
            block, filled = (0, 0) if newest is None else tuple(newest)
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
        return block if filled + answers >= windows.block_answers else None

    def usage(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        period: Period,
        *,
        since: int = 0,
    ) -> tuple[UsageRow, ...]:
        sql = f"""
            SELECT u.* FROM classifier_usage AS u
            WHERE u.version_seq = ({_VERSION}) AND u.period = ? AND u.number >= ? ORDER BY u.number
        """  # noqa: S608 - the inner query is ours
        variables = (workspace_id, classifier_id, number, period, since)
        return tuple(self._select(UsageRow, sql, *variables))

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
        count = "SELECT count(*) FROM classifier_outcomes WHERE version_seq = ?"
        with self._database.write() as connection:
            seq = _version(connection, workspace_id, classifier_id, number)
            before = connection.execute(count, (seq,)).fetchone()[0]
            rows = [outcome_row(seq, workspace_id, outcome, moment) for outcome in outcomes]
            connection.executemany(_STORE_OUTCOME, rows)
            added = connection.execute(count, (seq,)).fetchone()[0] - before
            connection.execute(_DROP_OUTCOMES, (seq, seq, keep))
        return int(added)

    def outcomes(self, workspace_id: str, classifier_id: str, number: int) -> tuple[Outcome, ...]:
        sql = f"""
            SELECT * FROM classifier_outcomes WHERE version_seq = ({_VERSION})
            ORDER BY recorded_at, prediction_id
        """  # noqa: S608 - the inner query is ours
        return tuple(self._select(Outcome, sql, workspace_id, classifier_id, number))


def _version(connection: Any, workspace_id: str, classifier_id: str, number: int) -> int:
    missing = "no such version of a classifier"
    row = require_row(connection, missing, _VERSION, workspace_id, classifier_id, number)
    return int(row["seq"])


def _add(
    connection: Any,
    owner: tuple[int, str],
    place: tuple[Period, int],
    counts: Counts,
    answers: int,
    moment: str,
) -> None:
    row = connection.execute(_ROW, (owner[0], *place)).fetchone()
    started_at = moment
    if row is not None:
        earlier = decode(UsageRow, row)
        counts, answers = summed(earlier.counts, counts), earlier.answers + answers
        started_at = earlier.started_at
    values = (*owner, *place, started_at, moment, answers, encode_json(counts))
    connection.execute(_STORE, values)
