"""Finds clients that leave what they are sent in our memory."""

from service.connections.connection_table import ConnectionLimits
from service.connections.lingering_transport import LingeringTransport


class SlowReading:
    """How one client reads, judged each time ``is_too_slow`` is asked."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._stall: tuple[float, float, int] | None = None  # began_s, moved_s, drained at first
        self._drained = 0

    def is_too_slow(self, link: LingeringTransport, now_s: float) -> bool:
        """Whether the client leaves its answer in our memory."""
        waiting = link.get_write_buffer_size()
        if not waiting:
            self._stall = None
            return False
        drained = link.written_bytes - waiting
        if self._stall is None:
            self._stall = (now_s, now_s, drained)
        elif drained > self._drained:
            self._stall = (self._stall[0], now_s, self._stall[2])
        self._drained = drained
        limits = self._limits
        began_s, moved_s, drained_before = self._stall
        end_s = began_s + (drained - drained_before) / limits.min_rate_bytes_s
        return now_s > min(end_s, moved_s) + limits.send_timeout_s
