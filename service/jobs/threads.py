"""Priorities and pauses, so that background threads do not delay requests."""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

LAST = 19  # the least urgent niceness
Timed: TypeAlias = Callable[[str], AbstractContextManager[None]]
TURN_S = 0.0002  # with Python's default of 5 ms each step of a request waits for a fit


def lower_priority(by: int) -> None:
    """Raise the niceness of the calling thread, on systems where each thread has its own.

    Args:
        by: steps above the niceness of the process, which cannot be lowered again.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LAST, own + by))


def shorten_switch_interval() -> None:
    """Let the threads of this process switch more often than by default.

    An answer passes through several threads, and each one waits for its turn.
    """
    sys.setswitchinterval(TURN_S)


class _Pauses:
    """The number of callers that pause collections, and whether they were on before."""

    lock = threading.Lock()
    count = 0
    were_on = False


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector in a block or a decorated call; threads may overlap.

    A collection visits every object: half a second, in which no other thread runs, while a fit
    holds 100,000 examples. Cycles that others leave meanwhile are collected afterwards.
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
