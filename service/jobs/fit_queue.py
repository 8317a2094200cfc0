"""Threads for fits: a few of low priority, behind a bounded queue.

Neither the event loop nor the encoder's thread ever waits for a fit. On systems where threads have
no niceness of their own, only their number protects other work.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.errors import Overloaded
from service.jobs.threads import gc_paused, lower_priority

T = TypeVar("T")
NICENESS = 4  # steps: embedding has priority over fits


class FitQueue:
    """Runs blocking work in the order of the calls; refuses it at once when too much waits.

    Args:
        threads: number of fits that run at the same time.
        max_waiting: number of fits that may wait for a thread.
    """

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._max_admitted = threads + max_waiting
        self._admitted = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="fit", initializer=lower_priority, initargs=(NICENESS,)
        )

    @property
    def in_flight(self) -> int:
        """The number of fits that run or wait."""
        return self._admitted

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` on a thread and return its result. Raises Overloaded: too many fits wait."""
        with self._lock:
            if self._admitted >= self._max_admitted:
                raise Overloaded(
                    f"{self._admitted} fits run or wait, at most {self._max_admitted} may"
                )
            self._admitted += 1
        future = self._threads.submit(gc_paused()(work))
        future.add_done_callback(self._leave)
        # A caller that hangs up removes its fit from the queue, unless it runs already.
        return await asyncio.wrap_future(future)

    def _leave(self, _future: Future[T]) -> None:
        with self._lock:
            self._admitted -= 1

    def close(self) -> None:
        """Finish the running fits and drop the waiting ones. Blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)
