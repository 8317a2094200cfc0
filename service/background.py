"""Threads whose work may wait while somebody's request is answered."""

import os
import sys

LAST = 19  # the least urgent niceness
TURN_S = 0.001  # Python's own 5 ms is what each step of a request would wait for a fit


def step_back(by: int) -> None:
    """Make the calling thread less urgent than it is, where each thread has its own niceness.

    Args:
        by: steps; counted from where the process stands, for nobody may go back up to 0.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LAST, own + by))


def take_short_turns() -> None:
    """Let the threads of this process take turns in Python more often than they do by themselves.

    An answer passes through several threads, and each waits for its turn.
    """
    sys.setswitchinterval(TURN_S)
