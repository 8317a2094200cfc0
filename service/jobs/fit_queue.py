"""Threads for fits: a few of low priority, behind a bounded queue that workspaces share.

Neither the event loop nor the encoder's thread ever waits for a fit. On systems where threads have
no niceness of their own, only their number protects other work.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from service.fairness.fair_queue import QueueState, Quota
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import current_workspace
from service.jobs.threads import Timed, gc_paused, lower_priority

T = TypeVar("T")
NICENESS = 4  # steps: embedding has priority over fits
CLOSE_TIMEOUT_S = 2.0  # a fit of minutes cannot be stopped; it has stored nothing yet


class FitQueue:
    """Runs blocking work, one of each workspace in turn; refuses it when too much waits.

    Args:
        threads: number of fits that run at the same time.
        max_waiting: number of fits that may wait for a thread.
        timed: a context manager around each fit, which is given "fit".
    """

    def __init__(
        self, *, threads: int, max_waiting: int, timed: Timed = lambda stage: nullcontext()
    ) -> None:
        self._timed = timed
        self._admitted = Quota(threads + max_waiting, of="fits")
        self._lock = threading.Lock()
        self._threads = FairThreads(threads, name="fit", begin=partial(lower_priority, NICENESS))

    @property
    def in_flight(self) -> int:
        """The number of fits that run or wait."""
        with self._lock:
            return self._admitted.total

    @property
    def state(self) -> QueueState:
        """How busy the threads are."""
        return self._threads.state

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a thread and return its result.

        Raises:
            Overloaded: too many fits of this workspace, or of all, run or wait.
            Stopping: the service is shutting down.
        """
        workspace_id = current_workspace()
        with self._lock:
            self._admitted.take(workspace_id)

        def leave(_future: Future[T] | None = None) -> None:
            with self._lock:
                self._admitted.give_back(workspace_id)

        try:
            context = copy_context()
            future = self._threads.submit(workspace_id, partial(context.run, self._fit, work))
        except BaseException:
            leave()
            raise
        future.add_done_callback(leave)
        # A caller that hangs up removes its fit from the queue, unless it runs already.
        return await asyncio.wrap_future(future)

    def _fit(self, work: Callable[[], T]) -> T:
        with self._timed("fit"):
            return gc_paused()(work)()

    def close(self) -> None:
        """Drop the waiting fits and wait a few seconds for the running ones. Blocks."""
        self._threads.close(timeout_s=CLOSE_TIMEOUT_S)
