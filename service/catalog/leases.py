"""Leases in the memory of one process, for an engine whose file only one process uses.

Thread safe. Time is the monotonic clock, because nobody can set it.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds an item, and until when in seconds of the clock."""

    holder: str
    until_s: float


class Leases:
    """Who works on which item. A lease that ran out is the holder's until somebody takes it.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[Hashable, Lease] = {}

    def take(self, item: Hashable, holder: str, *, lease_s: float) -> bool:
        """Hold or renew an item; return False if somebody else holds it."""
        with self._lock:
            lease = self._held.get(item)
            now_s = self._clock()
            if lease is not None and lease.holder != holder and now_s < lease.until_s:
                return False
            self._held[item] = Lease(holder, now_s + lease_s)
            return True

    def renew(self, item: Hashable, holder: str, *, lease_s: float) -> bool:
        """Hold an item longer; return False if it is not the holder's (any more)."""
        with self._lock:
            lease = self._held.get(item)
            if lease is None or lease.holder != holder:
                return False
            self._held[item] = Lease(holder, self._clock() + lease_s)
            return True

    def holder(self, item: Hashable) -> str | None:
        """Who took the item last, even if the lease ran out; None = nobody."""
        with self._lock:
            lease = self._held.get(item)
            return None if lease is None else lease.holder

    def is_free(self, item: Hashable) -> bool:
        """Whether nobody holds the item, or the lease ran out."""
        with self._lock:
            lease = self._held.get(item)
            return lease is None or lease.until_s <= self._clock()

    def release(self, item: Hashable, holder: str) -> None:
        """Hold the item no longer, unless somebody else took it."""
        with self._lock:
            lease = self._held.get(item)
            if lease is not None and lease.holder == holder:
                del self._held[item]
