"""Threads whose work may wait while somebody's request is answered."""

import os
import sys

LAST = 19  # the least urgent niceness


def step_back(by: int) -> None:
    """Make the calling thread less urgent than it is, where each thread has its own niceness.

    Args:
        by: steps; counted from where the process stands, for nobody may go back up to 0.
    """
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, min(LAST, own + by))
