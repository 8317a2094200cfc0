"""Long work in the background, which can be followed, cancelled and resumed after a restart.

The catalog stores each operation; a few threads of low priority run them. When the service stops,
running work is left unfinished. The next start runs it again if its kind is resumable, and
otherwise marks it as interrupted.

Blocking, thread safe.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from service.catalog.interface import Catalog
from service.catalog.operation_records import ENDED
from service.catalog.operation_records import Operation as Operation
from service.errors import CatalogFailure, Interrupted, Overloaded, ServiceError, Stopping
from service.fairness.fair_queue import QueueState, fits
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import SERVICE, working_for
from service.jobs.job_requests import JobRequest
from service.jobs.threads import lower_priority

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.5  # each report is a write to disk
MAX_ATTEMPTS = 3  # work that crashes the process must not do so for ever
NICENESS = 5


class Cancellation(Exception):
    """A client cancelled the operation."""


class Interruption(Exception):
    """The service stops; the operation stays unfinished."""


class Progress:
    """Lets work report its progress, and tells it when to stop."""

    def __init__(self, catalog: Catalog, operation: Operation, stopping: threading.Event) -> None:
        self._catalog = catalog
        self._operation = operation
        self._stopping = stopping
        self._reported_s = -REPORT_EVERY_S
        self.cancelled = threading.Event()

    def report(self, done: int, total: int) -> None:
        """Store the progress, at most twice a second. Raises Cancellation, Interruption."""
        self.check()
        moment = time.monotonic()
        if done < total and moment - self._reported_s < REPORT_EVERY_S:
            return
        self._reported_s = moment
        where = (self._operation.workspace_id, self._operation.operation_id)
        if self._catalog.report_operation(*where, done=done, total=total).cancel_asked:
            raise Cancellation

    def check(self) -> None:
        """Raises Cancellation, Interruption: the work must stop."""
        if self._stopping.is_set():
            raise Interruption
        if self.cancelled.is_set():
            raise Cancellation

    def wait(self, seconds: float) -> None:
        """Sleep until the time or the service is over. Raises Cancellation, Interruption."""
        self._stopping.wait(seconds)
        self.check()


Work: TypeAlias = Callable[[Operation, Progress], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of operation.

    Attributes:
        work: blocks and returns the result.
        is_resumable: whether the request and the catalog suffice to run it again after a restart.
    """

    work: Work
    is_resumable: bool = True


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """An operation that waits (``progress`` is None) or runs; ``turn`` is who queues for it."""

    turn: str
    progress: Progress | None = None


class Operations:
    """Runs the operations of one catalog, one of each workspace in turn.

    Call ``resume`` once before the first ``start``.

    Args:
        kinds: by name.
        threads: number of operations that run at the same time.
        max_waiting: number of operations that may wait for a thread.
    """

    def __init__(
        self, catalog: Catalog, kinds: Mapping[str, JobKind], *, threads: int, max_waiting: int
    ) -> None:
        self._catalog = catalog
        self._kinds = dict(kinds)
        self._max_waiting = max_waiting
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[str, _UnderWay] = {}
        self.get = catalog.get_operation
        self.list_operations = catalog.list_operations
        self._threads = FairThreads(
            threads, name="operation", begin=partial(lower_priority, NICENESS)
        )

    def start(
        self,
        workspace_id: str,
        kind: str,
        request: Mapping[str, Any],
        *,
        for_service: bool = False,
    ) -> Operation:
        """Store an operation and queue it.

        Args:
            for_service: it does not count as one of the workspace, as a scheduled backup.

        Raises:
            Overloaded: too many of this workspace, or of all, wait; nothing is stored.
        """
        turn = SERVICE if for_service else workspace_id
        with self._lock:
            waiting = [entry.turn for entry in self._under_way.values() if entry.progress is None]
            total, own, limit = len(waiting), waiting.count(turn), self._max_waiting
            if self._stopping.is_set() or not fits(1, limit=limit, total=total, own=own):
                raise Overloaded(f"{total} operations wait, at most {limit} may")
            operation = self._catalog.create_operation(workspace_id, kind, request)
            self._under_way[operation.operation_id] = _UnderWay(turn)
        self._queue(turn, operation)
        return operation

    def begin(
        self, workspace_id: str, request: JobRequest, *, for_service: bool = False
    ) -> Operation:
        """Start the kind of operation that the request names; as ``start``."""
        document = request.to_json()
        return self.start(workspace_id, request.kind, document, for_service=for_service)

    def resume(self) -> int:
        """Queue the unfinished operations of an earlier process; return how many."""
        resumed = 0
        for operation in self._catalog.unfinished_operations():
            kind = self._kinds.get(operation.kind)
            can_run = kind is not None and (kind.is_resumable or operation.state == "waiting")
            if can_run and operation.attempts < MAX_ATTEMPTS:
                turn = operation.workspace_id
                with self._lock:
                    self._under_way[operation.operation_id] = _UnderWay(turn)
                self._queue(turn, operation)
                resumed += 1
            else:
                error = Interrupted("the service stopped before it ended: start it again")
                self._end_failed(operation, error)
        return resumed

    def cancel(self, workspace_id: str, operation_id: str) -> Operation:
        """Cancel an operation, unless it has ended. Raises UnknownItem."""
        operation = self._catalog.cancel_operation(workspace_id, operation_id)
        with self._lock:
            entry = self._under_way.get(operation_id)
        if entry is not None and entry.progress is not None:
            entry.progress.cancelled.set()
        return operation

    @property
    def in_flight(self) -> int:
        """The number of operations that run or wait."""
        return len(self._under_way)

    @property
    def state(self) -> QueueState:
        """How busy the threads are."""
        return self._threads.state

    def close(self, *, timeout_s: float) -> bool:
        """Stop running work at its next report; return whether all threads ended in time."""
        self._stopping.set()
        return self._threads.close(timeout_s=timeout_s)

    def _queue(self, turn: str, operation: Operation) -> None:
        try:
            self._threads.submit(turn, partial(self._work, turn, operation))
        except Stopping:  # it is stored, so the next start resumes it
            self._forget(operation)

    def _forget(self, operation: Operation) -> None:
        with self._lock:
            self._under_way.pop(operation.operation_id, None)

    def _work(self, turn: str, operation: Operation) -> None:
        if self._stopping.is_set():
            return
        progress = Progress(self._catalog, operation, self._stopping)
        with self._lock:
            self._under_way[operation.operation_id] = _UnderWay(turn, progress)
        try:
            with working_for(turn):
                self._run(operation, progress)
        except CatalogFailure as error:  # it stays unfinished, so the next start resumes it
            log.error("operation not noted", extra={"code": error.code, **_fields(operation)})
        finally:
            self._forget(operation)

    def _run(self, operation: Operation, progress: Progress) -> None:
        where = (operation.workspace_id, operation.operation_id)
        begun = self._catalog.begin_operation(*where)
        if begun.state in ENDED:
            return  # cancelled while it waited
        try:
            if begun.cancel_asked:
                raise Cancellation
            result = self._kinds[begun.kind].work(begun, progress)
        except Interruption:
            return
        except ServiceError as error:
            if self._stopping.is_set():  # the stop itself may have caused the error
                return
            self._end_failed(begun, error)
        except Cancellation:
            self._catalog.end_operation(*where, "cancelled")
        except Exception as error:  # a bug must not cost the thread
            log.error("bug", exc_info=error, extra=_fields(begun))
            problem = {"code": "internal_error", "detail": "see the log line of the operation"}
            self._catalog.end_operation(*where, "failed", problem=problem)
        else:
            self._catalog.end_operation(*where, "done", result=result)
            log.info("operation done", extra=_fields(begun))

    def _end_failed(self, operation: Operation, error: ServiceError) -> None:
        problem = {"code": error.code, "detail": str(error)}
        where = (operation.workspace_id, operation.operation_id)
        self._catalog.end_operation(*where, "failed", problem=problem)
        log.warning("operation failed", extra={"code": error.code, **_fields(operation)})


def _fields(operation: Operation) -> dict[str, str]:
    return {"operation_id": operation.operation_id, "kind": operation.kind}
