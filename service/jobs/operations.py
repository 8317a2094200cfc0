"""Long work beside the requests: begun, followed, cancelled, and taken up again after a restart.

The catalog remembers each operation. Its threads are of low priority and few. When the service
stops, work that is under way is left as it is; the next start begins it anew if its kind can go
on from what the catalog holds, else says that it was interrupted.

Blocking, thread safe.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from service.catalog.interface import Catalog
from service.catalog.operation_records import ENDED, Operation
from service.errors import CatalogFailure, Interrupted, Overloaded, ServiceError
from service.jobs.threads import lower_priority

log = logging.getLogger(__name__)
REPORT_EVERY_S = 0.5  # each report is a write to disk
MOST_ATTEMPTS = 3  # work that brings the process down must not do so for ever
NICENESS = 5


class Cancellation(Exception):
    """Somebody asked the operation to stop."""


class Interruption(Exception):
    """The service stops; the operation stays as it is."""


class Progress:
    """What work is given to tell how far it is, and to learn that it is to stop."""

    def __init__(self, catalog: Catalog, operation: Operation, stopping: threading.Event) -> None:
        self._catalog = catalog
        self._operation = operation
        self._stopping = stopping
        self._told_s = -REPORT_EVERY_S
        self.cancelled = threading.Event()

    def report(self, done: int, total: int) -> None:
        """Note how far it is, twice a second at most.

        Raises:
            Cancellation, Interruption: the work is to end here.
        """
        self.check()
        moment = time.monotonic()
        if done < total and moment - self._told_s < REPORT_EVERY_S:
            return
        self._told_s = moment
        where = (self._operation.workspace_id, self._operation.operation_id)
        if self._catalog.report_operation(*where, done=done, total=total).cancel_asked:
            raise Cancellation

    def check(self) -> None:
        """Raises Cancellation, Interruption: the work is to end here."""
        if self._stopping.is_set():
            raise Interruption
        if self.cancelled.is_set():
            raise Cancellation

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a stop. Raises Cancellation, Interruption."""
        self._stopping.wait(seconds)
        self.check()


Work: TypeAlias = Callable[[Operation, Progress], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of operation.

    Attributes:
        work: blocks; its answer is the result.
        goes_on: whether it can be begun anew after a restart, from request and catalog alone.
    """

    work: Work
    goes_on: bool = True


class Operations:
    """Runs the operations of one catalog; call ``resume`` once before the first ``start``.

    Args:
        kinds: by name.
        threads: operations at the same time.
        max_waiting: operations that may wait for a thread.
    """

    def __init__(
        self, catalog: Catalog, kinds: Mapping[str, JobKind], *, threads: int, max_waiting: int
    ) -> None:
        self._catalog = catalog
        self._kinds = dict(kinds)
        self._max_waiting = max_waiting
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[str, Progress | None] = {}  # None = waiting
        # Daemons: a fit of minutes cannot be stopped and must not keep the process alive.
        self._threads = [
            threading.Thread(target=self._work, name=f"operation-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, workspace_id: str, kind: str, request: Mapping[str, Any]) -> Operation:
        """Remember it and put it in line.

        Raises:
            Overloaded: too many wait already; nothing was remembered.
        """
        with self._lock:
            waiting = sum(progress is None for progress in self._under_way.values())
            if self._stopping.is_set() or waiting >= self._max_waiting:
                raise Overloaded(f"{waiting} operations wait, at most {self._max_waiting} may")
            made = self._catalog.create_operation(workspace_id, kind, request)
            self._under_way[made.operation_id] = None
        self._queue.put(made)
        return made

    def resume(self) -> int:
        """Take up what an earlier process left; return how many go on."""
        going_on = 0
        for operation in self._catalog.unfinished_operations():
            kind = self._kinds.get(operation.kind)
            waited = operation.state == "waiting"
            if kind is not None and operation.attempts < MOST_ATTEMPTS and (kind.goes_on or waited):
                with self._lock:
                    self._under_way[operation.operation_id] = None
                self._queue.put(operation)
                going_on += 1
                continue
            error = Interrupted("the service stopped before it was done: ask for it again")
            self._end_failed(operation, error)
        return going_on

    def cancel(self, workspace_id: str, operation_id: str) -> Operation:
        """Ask it to stop; one that has ended stays as it is. Raises UnknownItem."""
        found = self._catalog.cancel_operation(workspace_id, operation_id)
        with self._lock:
            progress = self._under_way.get(operation_id)
        if progress is not None:
            progress.cancelled.set()
        return found

    @property
    def in_flight(self) -> int:
        """Operations that run or wait."""
        return len(self._under_way)

    def close(self, *, timeout_s: float) -> bool:
        """Leave what runs at its next report; return whether all threads ended in time."""
        self._stopping.set()
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        lower_priority(NICENESS)
        while (operation := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                self._run(operation)
            except CatalogFailure as error:  # it stays unfinished, and the next start resumes it
                log.error("operation not noted", extra={"code": error.code, **_said(operation)})
            finally:
                with self._lock:
                    self._under_way.pop(operation.operation_id, None)

    def _run(self, operation: Operation) -> None:
        where = (operation.workspace_id, operation.operation_id)
        progress = Progress(self._catalog, operation, self._stopping)
        with self._lock:
            self._under_way[operation.operation_id] = progress
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
            if self._stopping.is_set():  # it may have failed for that alone
                return
            self._end_failed(begun, error)
        except Cancellation:
            self._catalog.end_operation(*where, "cancelled")
        except Exception as error:  # a bug must not cost the thread
            log.error("bug", exc_info=error, extra=_said(begun))
            problem = {"code": "internal_error", "detail": "the log line of the operation tells"}
            self._catalog.end_operation(*where, "failed", problem=problem)
        else:
            self._catalog.end_operation(*where, "done", result=result)
            log.info("operation done", extra=_said(begun))

    def _end_failed(self, operation: Operation, error: ServiceError) -> None:
        problem = {"code": error.code, "detail": str(error)}
        where = (operation.workspace_id, operation.operation_id)
        self._catalog.end_operation(*where, "failed", problem=problem)
        log.warning("operation failed", extra={"code": error.code, **_said(operation)})


def _said(operation: Operation) -> dict[str, str]:
    return {"operation_id": operation.operation_id, "kind": operation.kind}
