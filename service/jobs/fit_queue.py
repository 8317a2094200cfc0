"""Where fits run: threads of their own, few, of low priority, behind a bounded queue.

Neither the event loop nor the encoder's thread ever waits for a fit. Where threads have no niceness
of their own, the bound on them must do.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.errors import Overloaded
from service.jobs.threads import gc_paused, lower_priority

T = TypeVar("T")
NICENESS = 4  # steps: embedding goes first when both want the processor


class FitQueue:
    """Runs blocking work in the order of asking; refuses at once when too much waits.

    Args:
        threads: fits at the same time.
        max_waiting: fits that may wait for a thread.
    """

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._most = threads + max_waiting
        self._admitted = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="fit", initializer=lower_priority, initargs=(NICENESS,)
        )

    @property
    def in_flight(self) -> int:
        """Fits that run or wait."""
        return self._admitted

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, which runs on one of the threads.

        Raises:
            Overloaded: too many fits wait already; nothing was done.
        """
        with self._lock:
            if self._admitted >= self._most:
                raise Overloaded(f"{self._admitted} fits run or wait, at most {self._most} may")
            self._admitted += 1
        future = self._threads.submit(gc_paused()(work))
        future.add_done_callback(self._leave)
        # A caller that hangs up takes its fit out of the queue, unless it runs already.
        return await asyncio.wrap_future(future)

    def _leave(self, _future: Future[T]) -> None:
        with self._lock:
            self._admitted -= 1

    def close(self) -> None:
        """Let what runs finish, drop what waits. Blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)
