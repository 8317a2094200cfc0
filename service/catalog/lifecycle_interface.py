"""More of the Catalog interface: how data ages and goes, long work, other encoders.

Shape suffixes: N scans, D embedding width.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.lifecycle_records import (
    Facets,
    Move,
    Operation,
    PolicyPatch,
    State,
    WholeScan,
)
from service.catalog.records import Collection, ErasedSubject, Page, Scan, ScanFilter


class LifeOfData(Protocol):
    """Counting, changing and erasing."""

    def facets(
        self,
        workspace_id: str,
        collection: str,
        *,
        where: ScanFilter,
        labels: Sequence[str] | None = None,
        attributes: Sequence[str] = (),
        limit: int = 20,
    ) -> Facets:
        """Counts over the scans that pass. Raises UnknownItem."""

    def patch_collection(
        self, workspace_id: str, name: str, patch: PolicyPatch, *, if_version: int | None = None
    ) -> Collection:
        """Apply and bump ``version``. Raises UnknownItem, PreconditionFailed, InputError."""

    def erase_scan(
        self, workspace_id: str, collection: str, scan_id: str, *, if_version: int | None = None
    ) -> tuple[Scan, ErasedSubject]:
        """Delete; return what it was, with the receipt. Raises UnknownItem, PreconditionFailed."""

    def erase_study(self, workspace_id: str, study_id: str) -> ErasedSubject:
        """Remove every scan and uploaded example of the study. Raises UnknownItem: none."""

    def expire(self, *, moment: datetime | None = None) -> tuple[tuple[str, ErasedSubject], ...]:
        """Delete some scans that are past their retention: (workspace_id, receipt) each."""


class Carrying(Protocol):
    """Collections that are carried away."""

    def whole_scans(
        self, workspace_id: str, collection: str, *, after: int = 0, limit: int = 200
    ) -> tuple[WholeScan, ...]:
        """Scans with vectors and pictures, behind a row number. Raises UnknownItem."""


class LongWork(Protocol):
    """Operations, which outlive the process."""

    def create_operation(
        self, workspace_id: str, kind: str, request: Mapping[str, Any]
    ) -> Operation:
        """A waiting operation. Raises UnknownItem: no such workspace."""

    def get_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Raises UnknownItem."""

    def list_operations(
        self, workspace_id: str, *, limit: int, before: int | None = None
    ) -> Page[Operation]:
        """Newest first, starting below the number ``before``."""

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """Those of every workspace that have not ended, oldest first."""

    def begin_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Note that it runs. Raises UnknownItem."""

    def report_operation(
        self, workspace_id: str, operation_id: str, *, done: int, total: int
    ) -> Operation:
        """Note how far it is. Raises UnknownItem."""

    def end_operation(
        self,
        workspace_id: str,
        operation_id: str,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Note how it ended. Raises UnknownItem."""

    def cancel_operation(self, workspace_id: str, operation_id: str) -> Operation:
        """Ask it to stop. Raises UnknownItem."""


class Moving(Protocol):
    """Collections on their way to another encoder."""

    def scan_image(self, workspace_id: str, collection: str, scan_id: str) -> bytes:
        """The kept PNG of a scan. Raises UnknownItem, ImagesNotKept."""

    def begin_move(self, workspace_id: str, collection: str, *, encoder_id: str, dim: int) -> Move:
        """Start, or go on with, a move. Raises UnknownItem, Conflict, ImagesNotKept."""

    def get_move(self, workspace_id: str, collection: str) -> Move:
        """Raises UnknownItem: no such collection, or it is not moving."""

    def images_to_embed(
        self, workspace_id: str, collection: str, *, limit: int
    ) -> tuple[tuple[int, bytes], ...]:
        """(row_id, PNG) of scans that lack the other encoder's vector, oldest first."""

    def add_spare_vectors(
        self,
        workspace_id: str,
        collection: str,
        row_ids: Sequence[int],
        embeddings_ND: npt.NDArray[np.float32],
    ) -> None:
        """Store vectors of the other encoder. Raises UnknownItem, InputError."""

    def switch_move(self, workspace_id: str, collection: str) -> Move:
        """Exchange the vectors at once, forth or back. Raises UnknownItem, Conflict."""

    def end_move(self, workspace_id: str, collection: str) -> None:
        """Drop the spare vectors. Raises UnknownItem."""
