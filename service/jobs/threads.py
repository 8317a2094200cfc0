"""Threads whose work may wait while somebody's request is answered."""

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LAST = 19  # the least urgent niceness
TURN_S = 0.0002  # Python's own 5 ms is what each step of a request would wait for a fit


def lower_priority(by: int) -> None:
    """Make the calling thread less urgent than it is, where each thread has its own niceness.

    Args:
        by: steps; counted from where the process stands, for nobody may go back up to 0.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LAST, own + by))


def shorten_switch_interval() -> None:
    """Let the threads of this process take turns in Python more often than they do by themselves.

    An answer passes through several threads, and each waits for its turn.
    """
    sys.setswitchinterval(TURN_S)


class _Pauses:
    """How many want no collections now, and whether there were any before the first."""

    lock = threading.Lock()
    count = 0
    were_on = False


@contextmanager
def gc_paused() -> Iterator[None]:
    """Let Python look for unused cycles afterwards; many threads may ask for it at once.

    Of a block, or as a decorator of each call.

    It walks through every object there is: half a second, in which no other thread runs, while a
    fit holds 100,000 examples. Cycles that others leave meanwhile wait for their collection.
    """
    with _Pauses.lock:
        if _Pauses.count == 0:
            _Pauses.were_on = gc.isenabled()
            gc.disable()
        _Pauses.count += 1
    try:
        yield
    finally:
        with _Pauses.lock:
            _Pauses.count -= 1
            if _Pauses.count == 0 and _Pauses.were_on:
                gc.enable()
