"""The time of day, and the time since the machine started, which nobody can set."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Two clocks, of which only the first can be set."""

    def now(self) -> datetime:
        """The time of day, with a time zone."""

    def since_boot(self) -> tuple[str, float]:
        """A name of this run of the machine ('' if it has none), and seconds since its start."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """See ``Clock``."""
        return datetime.now(UTC)

    def since_boot(self) -> tuple[str, float]:
        """See ``Clock``."""
        try:
            name = _BOOT_ID.read_text().strip()
        except OSError:
            name = ""  # then no two sweeps are of the same run
        # CLOCK_BOOTTIME goes on while the machine sleeps; time.monotonic does not.
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return name, time.monotonic() if clock is None else time.clock_gettime(clock)
