"""Long work in the background, which can be followed, cancelled and resumed after a restart.

The catalog stores each operation; the workers of this process, or of another one over the same
catalog, run it.

Blocking, thread safe.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from service.catalog.interface import Catalog
from service.catalog.operation_records import Operation as Operation
from service.errors import CatalogFailure, Conflict, Overloaded
from service.fairness.fair_queue import QueueState, fits
from service.jobs.job_requests import JobRequest
from service.jobs.operation_names import names_in
from service.jobs.operation_workers import LEASE_S, JobKind, OperationWatch, OperationWorkers


class Operations:
    """Starts operations of one catalog and runs them, one of each workspace in turn.

    Call ``open`` once; until then nothing runs here.

    Args:
        kinds: by name.
        threads: number of operations that run at the same time in this process.
        max_waiting: number of operations that may wait, of all processes.
        lease_s: after which the operations of a process that died are run again.
    """

    def __init__(
        self,
        catalog: Catalog,
        kinds: Mapping[str, JobKind],
        *,
        threads: int,
        max_waiting: int,
        lease_s: float = LEASE_S,
        watch: OperationWatch | None = None,
    ) -> None:
        self._catalog = catalog
        self._kinds = kinds
        self._max_waiting = max_waiting
        self._workers = OperationWorkers(
            catalog, kinds, threads=threads, lease_s=lease_s, watch=watch
        )
        self._waiting = (0, 0.0)
        self.get = catalog.get_operation
        self.list_operations = catalog.list_operations
        self.open = self._workers.open
        self.close = self._workers.close

    def start(
        self,
        workspace_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        for_service: bool = False,
        reads: Iterable[str] = (),
    ) -> Operation:
        """Store an operation, which the next free worker runs.

        Args:
            for_service: it does not count as one of the workspace, as a scheduled backup.
            reads: collections that it reads although the request does not name them.

        Raises:
            Overloaded: too many of this workspace, or of all, wait; nothing is stored.
        """
        operation = self._catalog.create_operation(
            workspace_id,
            kind,
            request,
            names=names_in(kind, request).with_collections(reads),
            for_service=for_service,
            admit=self._admit,
        )
        self._workers.wake()
        return operation

    def begin(
        self, workspace_id: str, request: JobRequest, *, for_service: bool = False
    ) -> Operation:
        """Start the kind of operation that the request names; as ``start``."""
        document = request.to_json()
        return self.start(workspace_id, request.kind, document, for_service=for_service)

    def cancel(self, workspace_id: str, operation_id: str) -> Operation:
        """Cancel an operation, unless it has ended.

        Raises:
            UnknownItem. Conflict: it has begun, and its kind cannot stop halfway.
        """
        operation = self._catalog.get_operation(workspace_id, operation_id)
        kind = self._kinds.get(operation.kind)
        if operation.state == "running" and kind is not None and not kind.is_cancellable:
            raise Conflict("it has begun, and what it deletes cannot be brought back")
        operation = self._catalog.cancel_operation(workspace_id, operation_id)
        self._workers.cancel(operation_id)  # a worker of another process asks the catalog
        return operation

    def state(self) -> QueueState:
        """What waits in the catalog, for any process, and what runs in this one.

        Blocks. While the catalog fails, what waited before.
        """
        with suppress(CatalogFailure):  # metrics are wanted most when something fails
            self._waiting = self._catalog.waiting_operations()
        waiting, oldest_s = self._waiting
        return QueueState(waiting, self._workers.running, oldest_s)

    def _admit(self, total: int, own: int) -> None:
        limit = self._max_waiting
        if self._workers.is_stopping or not fits(1, limit=limit, total=total, own=own):
            raise Overloaded(f"{total} operations wait, at most {limit} may")
