"""A clock that stands still until a test moves it, and tells when somebody reads it."""

import threading

PATIENCE_S = 30.0


class StillClock:
    """Seconds for leases: a machine that is busy makes no lease run out."""

    def __init__(self) -> None:
        self.present_s = 0.0
        self._reads = 0
        self._read = threading.Condition()

    def __call__(self) -> float:
        with self._read:
            self._reads += 1
            self._read.notify_all()
            return self.present_s

    def wait_for_a_read(self) -> None:
        """Return after the next read, such as that of a renewal."""
        with self._read:
            seen = self._reads
            assert self._read.wait_for(lambda: self._reads > seen, PATIENCE_S)
