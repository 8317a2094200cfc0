"""Memory that was freed, given back to the operating system."""

import ctypes
import sys
from contextlib import suppress


def return_freed_memory() -> None:
    """Give it back where the C library can (glibc), else do nothing.

    A build frees some hundred bytes per row in pieces between others. The C library keeps such
    pieces for later, so that they would count as memory of the process until it ends.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no such function
            ctypes.CDLL(None).malloc_trim(0)
