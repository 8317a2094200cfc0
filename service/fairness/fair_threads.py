"""Threads that serve workspaces in turn.

The threads are daemons: work that cannot be stopped, such as a call of a C library, must not keep
the process alive after a signal, as the threads of ``concurrent.futures`` do.
"""

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from service.errors import Stopping
from service.fairness.fair_queue import FairQueue, QueueState

T = TypeVar("T")
UNBOUNDED = 10**9
SPARE = 1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Job:
    work: Callable[[], Any]
    future: Future[Any]


class FairThreads:
    """Runs blocking work, one item of each workspace in turn.

    ``threads`` items run at the same time. One more runs for a workspace that has none running
    while others hold all places, so that nobody waits for the long work of somebody else, and
    a workspace that is alone uses every thread.

    Args:
        name: of the threads.
        begin: called first on each thread.
    """

    def __init__(
        self, threads: int, *, name: str, begin: Callable[[], None] = lambda: None
    ) -> None:
        self._places = threads
        self._begin = begin
        self._changed = threading.Condition()
        self._queue: FairQueue[_Job] = FairQueue(UNBOUNDED)
        self._running: Counter[str] = Counter()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True)
            for n in range(threads + SPARE)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def state(self) -> QueueState:
        """How busy the threads are."""
        with self._changed:
            return QueueState(len(self._queue), self._running.total(), self._queue.oldest_s)

    def submit(self, workspace_id: str, work: Callable[[], T]) -> Future[T]:
        """Queue ``work``; cancelling the future takes it out of the queue.

        Raises:
            Stopping: the threads were closed. Waiting work gets this error as well.
        """
        future: Future[T] = Future()
        job = _Job(work, future)
        with self._changed:
            if self._is_closed:
                raise Stopping("the service is shutting down")
            self._queue.put(workspace_id, job)
            self._wake_one()

        # A strong reference would be a cycle, which keeps large results until a collection.
        waiting = weakref.ref(job)

        def leave(done: Future[T]) -> None:
            cancelled = waiting() if done.cancelled() else None
            if cancelled is not None:
                with self._changed:
                    self._queue.remove(workspace_id, cancelled)

        future.add_done_callback(leave)
        return future

    def close(self, *, timeout_s: float) -> bool:
        """Refuse what waits with Stopping; return whether the running work ended in time."""
        with self._changed:
            self._is_closed = True
            dropped = self._queue.drain()
            self._changed.notify_all()
        for job in dropped:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(Stopping("the service is shutting down"))
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _may_run(self, workspace_id: str) -> bool:
        running = self._running.total()
        is_new = running < self._places + SPARE and not self._running[workspace_id]
        return running < self._places or is_new

    def _wake_one(self) -> None:
        """Only for an item that may run now: a thread that wakes in vain takes time from others."""
        if self._queue.may_get(self._may_run):
            self._changed.notify()

    def _work(self) -> None:
        self._begin()
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Wait for an item and run it; return False when the threads are closed."""
        with self._changed:
            while (turn := self._queue.get(self._may_run)) is None:
                if self._is_closed:
                    return False
                self._changed.wait()
            workspace_id, job = turn
            self._running[workspace_id] += 1
            self._wake_one()
        try:
            _run(job)
        finally:
            # Nobody is woken: this thread takes the next item, and wakes another for a further one.
            with self._changed:
                self._running[workspace_id] -= 1
                if not self._running[workspace_id]:
                    del self._running[workspace_id]
        return True


def _run(job: _Job) -> None:
    """Whatever the work raises reaches its caller, and the thread lives."""
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        result = job.work()
    except BaseException as error:
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
