"""The time of day, the time since the machine started, and how far a sweep by age believes them.

Nobody can set the time since the start. So a sweep proves the time of day by it: both clocks must
say that the same time has passed since the last sweep of the same run of the machine.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)
TOLERANCE = timedelta(minutes=5)  # a clock that is set right by so much did not jump
MAX_GAP = timedelta(days=31)  # between two sweeps of a machine that was off
SHORT_GAP = timedelta(days=1)  # such as a restart of the machine
FUTURE = timedelta(days=1)  # a scan that claims to be newer was stored while the clock was ahead
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


@dataclass(frozen=True, slots=True)
class LastSweep:
    """A sweep whose clock was believed, by both clocks of its machine."""

    swept_at: str
    boot_id: str
    boot_s: float


@dataclass(frozen=True, slots=True)
class SweepMoment:
    """The time of a sweep.

    Attributes:
        present: by which scans are due.
        since: time of the last sweep, if the time since then is proven; None = it is not.
        is_believed: whether the next sweep may start from it.
        is_near: whether it may even if scans are held.
    """

    present: datetime
    since: datetime | None
    is_believed: bool
    is_near: bool = False


def moment_of(clock: Clock, last_sweep: LastSweep | None) -> SweepMoment:
    """What time it is, by the clocks and by the last sweep; None = there is none to compare."""
    present = clock.now()
    if last_sweep is None:
        return SweepMoment(present, None, is_believed=True)
    last = datetime.fromisoformat(last_sweep.swept_at)
    boot_id, boot_s = clock.since_boot()
    spent_s = boot_s - last_sweep.boot_s
    is_same_boot = bool(boot_id) and boot_id == last_sweep.boot_id and spent_s >= 0
    expected = last + timedelta(seconds=spent_s) if is_same_boot else last
    ahead = present - expected
    if ahead < -TOLERANCE:
        fields = {"behind_s": round(-ahead.total_seconds())}
        log.warning("the clock went back: retention goes on from the last sweep", extra=fields)
        return SweepMoment(expected, last if is_same_boot else None, is_believed=False)
    if is_same_boot and ahead > TOLERANCE:
        fields = {"ahead_s": round(ahead.total_seconds())}
        log.warning("the clock jumped ahead", extra=fields)
        return SweepMoment(present, None, is_believed=False)
    if is_same_boot:
        return SweepMoment(present, last, is_believed=True, is_near=True)
    return SweepMoment(present, None, is_believed=ahead <= MAX_GAP, is_near=ahead <= SHORT_GAP)


def minus(moment: datetime, age: timedelta) -> datetime:
    """The earlier time; the first moment of the calendar where it would end."""
    try:
        return moment - age
    except OverflowError:
        return datetime.min.replace(tzinfo=moment.tzinfo)
