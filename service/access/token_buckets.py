"""Token buckets: a rate over time that allows a burst of one minute."""

MINUTE_S = 60.0
MIN_NEED = 1e-9  # of work that is paid afterwards: the bucket must not be in debt


class TokenBucket:
    """Fills at a rate up to what one minute allows, and may be in debt.

    Work whose size is known only afterwards is paid afterwards; whoever is in debt waits until it
    is paid off. Not thread safe.

    Attributes:
        per_minute: the rate, and the most that the bucket holds.
    """

    __slots__ = ("_at_s", "_level", "per_minute")

    def __init__(self, per_minute: float, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at_s = now_s

    def resize(self, per_minute: float, now_s: float) -> None:
        """Change the rate; what was used stays used."""
        used = self.used(now_s)
        self.per_minute = per_minute
        self._level = per_minute - used

    def wait_s(self, amount: float, now_s: float) -> float:
        """Until so much, or a full bucket, can be taken; 0.0 = now."""
        self._fill(now_s)
        lacking = min(max(amount, MIN_NEED), self.per_minute) - self._level
        return max(0.0, lacking) / self.per_minute * MINUTE_S

    def take(self, amount: float, now_s: float) -> None:
        """Pay, into debt if necessary."""
        self._fill(now_s)
        self._level -= amount

    def used(self, now_s: float) -> float:
        """What is not refilled yet; more than ``per_minute`` in debt."""
        self._fill(now_s)
        return self.per_minute - self._level

    def reset_s(self, now_s: float) -> float:
        """Until the bucket is full."""
        return self.used(now_s) / self.per_minute * MINUTE_S

    def _fill(self, now_s: float) -> None:
        gained = (now_s - self._at_s) * self.per_minute / MINUTE_S
        self._level = min(self.per_minute, self._level + max(0.0, gained))
        self._at_s = now_s
