"""The open connections of one server: how many there may be, and which one makes room.

Runs on the event loop alone.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_TICK_S = 1.0
TICKS_PER_TIMEOUT = 4  # so that no limit is overrun by more than a quarter


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one server, and one client of it, may hold open.

    Attributes:
        max_connections: open at the same time.
        max_per_address: of them from one client address; 0 = no limit.
        head_timeout_s: from the first byte of a request (or the connect) to the end of its headers.
        body_timeout_s: longest pause in a body; also the head start of a body before its rate
            counts.
        send_timeout_s: the same for an answer that the client reads.
        keep_alive_s: longest pause between two requests.
        min_rate_bytes_s: of a body, and of an answer that is read.
        max_head_bytes: of address and headers together.
        max_headers: in one request.
    """

    max_connections: int
    max_per_address: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    keep_alive_s: float
    min_rate_bytes_s: int
    max_head_bytes: int = 65_536
    max_headers: int = 128

    @property
    def tick_s(self) -> float:
        """The time between two checks of all connections."""
        limits = (self.head_timeout_s, self.body_timeout_s, self.send_timeout_s, self.keep_alive_s)
        return min(MAX_TICK_S, min(limits) / TICKS_PER_TIMEOUT)


class TrackedConnection(Protocol):
    """What the table asks of a connection."""

    address: str | None

    @property
    def is_spare(self) -> bool:
        """Whether no request of it is being answered: half open, idle or closing."""

    def check(self, now_s: float) -> None:
        """End the connection if it is over one of its time limits."""

    def drop(self) -> None:
        """End the connection at once, although nothing is wrong with it."""


class ConnectionTable:
    """Admits connections, and checks their time limits regularly while there are any.

    Args:
        group: the client address that a limit counts, for the address of a peer.
    """

    def __init__(self, limits: ConnectionLimits, group: Callable[[str], str]) -> None:
        self._limits = limits
        self._group = group
        self._open: dict[TrackedConnection, None] = {}  # in the order of their arrival
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: TrackedConnection) -> bool:
        """Add a connection; return False if all others are busy.

        Over a limit the oldest spare connection is dropped: first of the same address, then of the
        address that has the most, so that nobody can lock others out.
        """
        limits = self._limits
        address = self._address(connection)
        if limits.max_per_address and self._counts[address] >= limits.max_per_address:
            same = [c for c in self._open if self._address(c) == address]
            if not self._drop_one(same):
                return False
        if len(self._open) >= limits.max_connections and not self._drop_one(list(self._open)):
            return False
        self._open[connection] = None
        self._counts[address] += 1
        self._start_timer()
        return True

    def remove(self, connection: TrackedConnection) -> None:
        """Forget a connection; one that is not in the table is no error."""
        if connection not in self._open:
            return
        del self._open[connection]
        address = self._address(connection)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take_over(self, old: TrackedConnection, new: TrackedConnection) -> None:
        """Put another protocol of the same client into the place of ``old``."""
        if old in self._open:
            self._open = {new if one is old else one: None for one in self._open}

    def _address(self, connection: TrackedConnection) -> str:
        return "" if connection.address is None else self._group(connection.address)

    def _drop_one(self, connections: list[TrackedConnection]) -> bool:
        spare = [connection for connection in connections if connection.is_spare]
        if not spare:
            return False
        # max() returns the first of equals, which is the oldest.
        victim = max(spare, key=lambda connection: self._counts[self._address(connection)])
        self.remove(victim)
        victim.drop()
        return True

    def _start_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._limits.tick_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        # The next tick is set first: a bug in one check must not end all of them.
        self._timer = loop.call_later(self._limits.tick_s, self._tick, loop)
        for connection in list(self._open):
            connection.check(loop.time())
