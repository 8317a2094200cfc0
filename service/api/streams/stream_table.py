"""How many live streams are open, and for whom. Runs on the event loop alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from service.access.keys import Caller
from service.errors import Overloaded, RateLimited

RETRY_S = 10
LIMIT = "streams"  # as the metric of refusals names it


class StreamLimits(Protocol):
    """See the settings of the same names."""

    @property
    def max_streams(self) -> int:
        """Of the process."""

    @property
    def max_streams_per_workspace(self) -> int:
        """Of one workspace."""

    @property
    def max_streams_per_key(self) -> int:
        """Of one key or holder of tokens."""


class LimitsWatch(Protocol):
    """The part of the metrics that knows limits and open streams."""

    def limited(self, limit: str) -> None:
        """Count a refusal."""

    def watch_limits(self, names: Iterable[str]) -> None:
        """Show these limits before they refuse anything."""

    def watch_streams(self, read: Callable[[], int]) -> None:
        """Report the number of open streams."""


class StreamTable:
    """The open streams of one process.

    Args:
        on_limited: called with ``streams`` when one is refused.
    """

    def __init__(
        self, limits: StreamLimits, on_limited: Callable[[str], None] = lambda limit: None
    ) -> None:
        self._limits = limits
        self._on_limited = on_limited
        self._open: Counter[tuple[str, str]] = Counter()
        self.total = 0

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold a place for a stream of the caller.

        Raises:
            RateLimited: the key or the workspace has too many. Overloaded: all of them have.
        """
        limits = self._limits
        owners = {("workspace", caller.workspace_id): limits.max_streams_per_workspace}
        if caller.author.key_id is not None:
            owners["key", caller.author.key_id] = limits.max_streams_per_key
        for owner, most in owners.items():
            if self._open[owner] >= most:
                self._on_limited(LIMIT)
                what = f"the {owner[0]} has {most} live streams, and may have no more"
                raise RateLimited(what, LIMIT, owner[0], RETRY_S)
        if self.total >= limits.max_streams:
            self._on_limited(LIMIT)
            raise Overloaded(f"expected at most {limits.max_streams} live streams at a time")
        self._open.update(owners.keys())
        self.total += 1
        try:
            yield
        finally:
            self.total -= 1
            for owner in owners:
                self._open[owner] -= 1
                if not self._open[owner]:
                    del self._open[owner]


def stream_table(limits: StreamLimits, metrics: LimitsWatch) -> StreamTable:
    """A table without streams, which the metrics watch."""
    metrics.watch_limits((LIMIT,))
    table = StreamTable(limits, metrics.limited)
    metrics.watch_streams(lambda: table.total)
    return table
