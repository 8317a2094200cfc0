"""How many live streams are open in this process, and their places among those of all replicas."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from service.access.keys import Caller
from service.access.stream_places import LIMIT, HeldPlace, StreamPlaces
from service.errors import Overloaded

A = TypeVar("A")
T = TypeVar("T")


class ProcessLimits(Protocol):
    """See the setting of the same name."""

    @property
    def max_streams(self) -> int:
        """Of the process."""


class LimitsWatch(Protocol):
    """The part of the metrics that knows limits and open streams."""

    def limited(self, limit: str) -> None:
        """Count a refusal."""

    def watch_limits(self, names: Iterable[str]) -> None:
        """Show these limits before they refuse anything."""

    def watch_streams(self, read: Callable[[], int]) -> None:
        """Report the number of open streams."""


class StreamTable:
    """The open streams of one process. Runs on the event loop.

    Args:
        max_streams: of the process.
        on_limited: called with ``streams`` when the process refuses one.
        threads: for the leases of places; None = the default threads of the event loop.
    """

    def __init__(
        self,
        places: StreamPlaces,
        max_streams: int,
        on_limited: Callable[[str], None] = lambda limit: None,
        threads: Executor | None = None,
    ) -> None:
        self._places = places
        self._threads = threads
        self._max_streams = max_streams
        self._on_limited = on_limited
        self.total = 0

    @asynccontextmanager
    async def place(self, caller: Caller) -> AsyncIterator[HeldPlace]:
        """Hold a place for a stream of the caller.

        Raises:
            RateLimited: the key or the workspace has too many. Overloaded: the process has.
        """
        if self.total >= self._max_streams:
            self._on_limited(LIMIT)
            raise Overloaded(f"expected at most {self._max_streams} live streams at a time")
        self.total += 1
        try:
            held = await self._on_thread(self._places.take, caller)
            try:
                yield held
            finally:  # also when the server cancels the stream: a thread goes on without it
                await self._on_thread(self._places.leave, held)
        finally:
            self.total -= 1

    async def keep(self, held: HeldPlace) -> None:
        """Renew the lease of a place when that is due. Raises CatalogFailure."""
        if self._places.is_due(held):
            await self._on_thread(self._places.keep, held)

    async def _on_thread(self, call: Callable[[A], T], argument: A) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, argument)


def stream_table(
    places: StreamPlaces,
    limits: ProcessLimits,
    metrics: LimitsWatch,
    threads: Executor | None = None,
) -> StreamTable:
    """A table without streams, which the metrics watch."""
    metrics.watch_limits((LIMIT,))
    table = StreamTable(places, limits.max_streams, metrics.limited, threads)
    metrics.watch_streams(lambda: table.total)
    return table
