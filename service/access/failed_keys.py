"""Unknown keys by the address that they came from, so that guessing is slowed."""

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

IPV6_SITE_BITS = 64  # one customer has all addresses of such a network
MAX_ADDRESSES = 4096  # remembered; the one that failed longest ago is forgotten first


def network_of(address: str) -> str:
    """The address that counts as one client: itself, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))


class FailedKeys:
    """Counts failures in a sliding window; thread safe.

    Args:
        max_failures: within the window before an address is slowed; 0 = never.
        window_s: length of the window.
        clock: monotonic seconds.
    """

    def __init__(
        self, max_failures: int, window_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_failures = max_failures
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str) -> float:
        """Count a failure; return the seconds for which the address is slowed, 0.0 = not at all."""
        if not self._max_failures:
            return 0.0
        with self._lock:
            wait_s = self._wait_s(network_of(address))
            if wait_s > 0:
                return wait_s  # not counted again: the end of the window does not move
            times = self._failures.setdefault(network_of(address), deque())
            times.append(self._clock())
            self._failures.move_to_end(network_of(address))
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
            return 0.0

    def is_slowed(self, address: str) -> bool:
        """Whether the next unknown key of the address is refused without being counted."""
        with self._lock:
            return self._wait_s(network_of(address)) > 0

    def _wait_s(self, network: str) -> float:
        """Until the oldest failure leaves the window, if there are too many in it."""
        times = self._failures.get(network)
        if times is None:
            return 0.0
        now_s = self._clock()
        while times and now_s - times[0] >= self._window_s:
            times.popleft()
        if not times:
            del self._failures[network]
        if len(times) < self._max_failures:
            return 0.0
        return self._window_s - (now_s - times[0])
