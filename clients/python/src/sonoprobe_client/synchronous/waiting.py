"""How synchronous calls wait; the twin of ``asynchronous/waiting.py``, written by hand."""

import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


def sleep(seconds: float) -> None:
    """Block this thread."""
    time.sleep(seconds)


def in_thread(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Do it here: the caller waits anyway."""
    return work(*arguments)
