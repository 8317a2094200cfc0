"""Threads that claim operations from the catalog and run them.

Any number of processes may do so over one catalog. Each operation is held by a lease that a thread
of its own renews. When the service stops, its work is given back; when the process dies, the leases
run out. Either way another worker runs the operation again if its kind is resumable, and otherwise
marks it as interrupted.

Blocking, thread safe.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from service.catalog.ids import new_id
from service.catalog.interface import Catalog
from service.catalog.operation_records import Operation, State
from service.errors import CatalogFailure, Interrupted, LeaseLost, ServiceError
from service.fairness.fair_threads import SPARE
from service.fairness.workspace_turn import working_for
from service.jobs.progress import Cancellation, Interruption, Progress
from service.jobs.threads import Timed, lower_priority

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3  # work that crashes the process must not do so for ever
NICENESS = 5
LEASE_S = 15.0
RENEWALS = 5  # in the time of a lease: four may fail or be late
POLL_S = 5.0  # a lease that ran out gives no notice
RETRY_S = 1.0  # after a failure of the catalog

OnEnd: TypeAlias = Callable[[str, str], None]  # kind, "done", "failed" or "cancelled"
BeforeEnd: TypeAlias = Callable[[Operation, str, str], None]  # the same, and the error's code
Work: TypeAlias = Callable[[Operation, Progress], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of operation.

    Attributes:
        work: blocks and returns the result.
        is_resumable: whether the request and the catalog suffice to run it again after a restart.
        is_cancellable: whether it can be cancelled after it has begun.
    """

    work: Work
    is_resumable: bool = True
    is_cancellable: bool = True


@dataclass(frozen=True, slots=True)
class OperationWatch:
    """Who is told of the work.

    Attributes:
        timed: gives a context manager around each run; its argument is "operation".
        on_end: called when an operation has ended here.
        before_end: called before that is stored; its error leaves the operation unfinished.
    """

    timed: Timed = lambda stage: nullcontext()
    on_end: OnEnd = lambda kind, outcome: None
    before_end: BeforeEnd = lambda operation, outcome, code: None


class OperationWorkers:
    """The workers of one process; ``open`` starts them.

    ``threads`` operations run at the same time, and one more of a workspace that has none running
    here while others hold all places, as in ``FairThreads``.

    Args:
        kinds: by name; operations of other kinds are left to other processes.
        lease_s: after which the operations of a process that died are claimed again.
    """

    def __init__(
        self,
        catalog: Catalog,
        kinds: Mapping[str, JobKind],
        *,
        threads: int,
        lease_s: float = LEASE_S,
        watch: OperationWatch | None = None,
    ) -> None:
        self._watching = watch or OperationWatch()
        self._catalog = catalog
        self._kinds = dict(kinds)
        self._places = threads
        self._lease_s = lease_s
        self._stopping = threading.Event()
        self._claiming = threading.Lock()
        self._is_failing = False
        self._changed = threading.Condition()
        self._news = 0
        self._running: dict[str, Progress] = {}  # by worker: one may claim what another lost
        process = new_id("worker")
        self._workers = [
            threading.Thread(
                target=self._work, args=[f"{process}-{n}"], name=f"operation-{n}", daemon=True
            )
            for n in range(threads + SPARE)
        ]

    @property
    def running(self) -> int:
        """The number of operations that run in this process."""
        return len(self._running)

    @property
    def is_stopping(self) -> bool:
        """Whether ``close`` was called."""
        return self._stopping.is_set()

    def open(self) -> None:
        """Start to work, also on what an earlier process has left."""
        for target, name in (
            (self._keep_leases, "operation-leases"),
            (self._watch, "operation-news"),
        ):
            threading.Thread(target=target, name=name, daemon=True).start()
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Look for work now."""
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    def cancel(self, operation_id: str) -> None:
        """Stop an operation that the catalog has cancelled, if it runs here."""
        for progress in list(self._running.values()):
            if progress.operation.operation_id == operation_id:
                progress.cancelled.set()

    def close(self, *, timeout_s: float) -> bool:
        """Stop running work at its next report; return whether all workers ended in time."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + timeout_s
        started = [worker for worker in self._workers if worker.ident is not None]
        for worker in started:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in started)

    def _work(self, worker_id: str) -> None:
        lower_priority(NICENESS)
        while not self._stopping.is_set():
            seen = self._news  # before the claim: what is stored after it is not missed
            progress = self._claim(worker_id)
            if progress is None:
                self._wait_for_news(seen)
                continue
            try:
                self._run(progress, worker_id)
            finally:
                del self._running[worker_id]
                self.wake()  # the others may serve this workspace now

    def _wait_for_news(self, seen: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._news != seen or self._stopping.is_set())

    def _claim(self, worker_id: str) -> Progress | None:
        with self._claiming:  # one after the other, because each counts what the others run
            if self._stopping.is_set():
                return None
            turns = [progress.operation.turn for progress in list(self._running.values())]
            busy = turns if len(turns) >= self._places else []
            try:
                operation = self._catalog.claim_operation(
                    worker_id, lease_s=self._lease_s, kinds=list(self._kinds), busy=busy
                )
            except ServiceError as error:  # such as a full disk: the next look tries again
                if not self._is_failing:  # once, because all workers look every second
                    log.error("no operation claimed", extra={"code": error.code})
                self._is_failing = True
                return None
            self._is_failing = False
            if operation is None:
                return None
            can_end = self._kinds[operation.kind].is_cancellable
            progress = Progress(
                self._catalog, operation, worker_id, self._stopping, is_cancellable=can_end
            )
            self._running[worker_id] = progress
            return progress

    def _run(self, progress: Progress, worker_id: str) -> None:
        fields = _fields(progress.operation)
        try:
            with working_for(progress.operation.turn), self._watching.timed("operation"):
                self._attempt(progress, worker_id)
        except LeaseLost:  # whoever has it now ends it
            log.warning("operation taken over", extra=fields)
        except ServiceError as error:  # it stays unfinished, and its lease runs out
            log.error("operation not noted", extra={"code": error.code, **fields})

    def _attempt(self, progress: Progress, worker_id: str) -> None:
        """Run an operation once and store its outcome. Raises LeaseLost, CatalogFailure."""
        operation = progress.operation
        try:
            result = self._result(operation, progress)
        except Interruption:
            self._give_back(progress, worker_id)
        except Cancellation:
            self._end(operation, worker_id, "cancelled")
        except ServiceError as error:
            # The stop itself, or the worker that has taken over, may have caused the error.
            if self._stopping.is_set() or progress.lost.is_set():
                self._give_back(progress, worker_id)
                return
            problem = {"code": error.code, "detail": str(error)}
            self._end(operation, worker_id, "failed", problem=problem)
            log.warning("operation failed", extra={"code": error.code, **_fields(operation)})
        except Exception as error:  # a bug must not cost the thread
            log.error("bug", exc_info=error, extra=_fields(operation))
            problem = {"code": "internal_error", "detail": "see the log line of the operation"}
            self._end(operation, worker_id, "failed", problem=problem)
        else:
            self._end(operation, worker_id, "done", result=result)
            log.info("operation done", extra=_fields(operation))

    def _end(self, operation: Operation, worker_id: str, outcome: State, **said: Any) -> None:
        """Store the outcome. Raises LeaseLost, CatalogFailure."""
        code = said.get("problem", {}).get("code", "")
        self._watching.before_end(operation, outcome, code)
        self._catalog.end_operation(
            operation.workspace_id, operation.operation_id, worker_id, outcome, **said
        )
        self._watching.on_end(operation.kind, outcome)

    def _result(self, operation: Operation, progress: Progress) -> Mapping[str, Any]:
        """Run the work. Raises Cancellation, Interruption, Interrupted, and the work's errors."""
        kind = self._kinds[operation.kind]
        if operation.cancel_asked and kind.is_cancellable:
            raise Cancellation
        progress.check()  # claimed while the service stopped
        if operation.attempts > 1:
            if operation.attempts > MAX_ATTEMPTS or not kind.is_resumable:
                raise Interrupted("the service stopped before it ended: start it again")
            log.info("operation resumed", extra=_fields(operation))
        return kind.work(operation, progress)

    def _give_back(self, progress: Progress, worker_id: str) -> None:
        """Let another worker have the operation at once. Raises LeaseLost, CatalogFailure."""
        operation = progress.operation
        self._catalog.release_operation(operation.workspace_id, operation.operation_id, worker_id)

    def _keep_leases(self) -> None:
        while not self._stopping.wait(self._lease_s / RENEWALS):
            for progress in list(self._running.values()):
                progress.renew(self._lease_s)

    def _watch(self) -> None:
        """Wake the workers when another process has stored work, and now and then."""
        while not self._stopping.is_set():
            try:
                self._catalog.wait_for_work(POLL_S)
            except CatalogFailure:
                self._stopping.wait(RETRY_S)
            self.wake()


def _fields(operation: Operation) -> dict[str, str]:
    return {"operation_id": operation.operation_id, "kind": operation.kind}
