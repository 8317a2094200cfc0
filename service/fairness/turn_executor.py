"""Threads for blocking calls of the event loop, on which workspaces take turns.

``asyncio.to_thread`` has one pool for everybody: the calls of one workspace would fill it, and the
others would wait until all of them are done. Here the workspace of the context decides whose turn
it is, so none of the many call sites has to name it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from service.fairness.fair_queue import Quota
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import current_workspace

P = ParamSpec("P")
T = TypeVar("T")
CLOSE_TIMEOUT_S = 10.0  # what still runs by then is left: the threads are daemons


class TurnExecutor(ThreadPoolExecutor):
    """Runs the calls of the workspace of the context in turn with those of the others.

    A ``ThreadPoolExecutor``, because an event loop takes nothing else as its default; it starts no
    thread of that class.

    Args:
        threads: number of calls at the same time; see ``FairThreads``.
        name: of the threads.
        max_held: number of calls that may wait or run, of a workspace that is alone; None = any.
    """

    def __init__(self, threads: int, name: str, *, max_held: int | None = None) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._fair = FairThreads(threads, name=name)
        self._lock = threading.Lock()
        self._quota = None if max_held is None else Quota(max_held, of=f"calls of {name}")

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call for the workspace of the context.

        Raises:
            Overloaded: the workspace, or all together, hold too many.
            Stopping: the executor was shut down.
        """
        workspace_id = current_workspace()
        if self._quota is None:
            return self._fair.submit(workspace_id, partial(fn, *args, **kwargs))
        with self._lock:
            self._quota.take(workspace_id)
        try:
            future = self._fair.submit(workspace_id, partial(fn, *args, **kwargs))
        except BaseException:
            self._give_back(self._quota, workspace_id)
            raise
        quota = self._quota
        future.add_done_callback(lambda done: self._give_back(quota, workspace_id))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse what waits with Stopping; ``wait`` for what runs, for ten seconds at most."""
        self._fair.close(timeout_s=CLOSE_TIMEOUT_S if wait else 0.0)

    def _give_back(self, quota: Quota, workspace_id: str) -> None:
        with self._lock:
            quota.give_back(workspace_id)
