"""The part of the catalog's interface for the use of classifiers.

The rules in ``service.catalog.interface`` apply. What is kept goes with its classifier.
"""

from collections.abc import Sequence
from typing import Protocol

from service.catalog.monitoring.monitoring_records import (
    Counts,
    Outcome,
    Period,
    UsageRow,
    UsageWindows,
)


class MonitoringCatalog(Protocol):
    """Counts of answers of versions, which all processes add to, and outcomes of predictions."""

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
        """Add counts to the slot of this moment, to the open block and to the total of a version.

        Returns:
            The number of the block that became full, None if none did. Of all processes exactly
            one learns it.

        Raises:
            UnknownItem: no such classifier or version.
        """

    def usage(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        period: Period,
        *,
        since: int = 0,
    ) -> tuple[UsageRow, ...]:
        """The rows of one period with at least the number ``since``, oldest first.

        Empty if there is no such version.
        """

    def put_outcomes(
        self,
        workspace_id: str,
        classifier_id: str,
        number: int,
        outcomes: Sequence[Outcome],
        *,
        keep: int,
    ) -> int:
        """Store outcomes of different predictions; keep the newest ``keep`` of the version.

        Returns:
            How many of the predictions had no outcome before.

        Raises:
            UnknownItem: no such classifier or version.
        """

    def outcomes(self, workspace_id: str, classifier_id: str, number: int) -> tuple[Outcome, ...]:
        """All outcomes of a version, oldest first; empty if there is no such version."""
