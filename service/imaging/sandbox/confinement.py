"""What a decoder process gives up before its first file, as far as the system allows.

A library that a hostile file has taken over can then use memory and time up to the limits and send
pixels to its parent, and little else. Each step goes on without the ones that the system lacks, and
``confine`` tells which hold.
"""

import contextlib
import ctypes
import os
import resource
import struct
import sys
from pathlib import Path

from service.imaging.sandbox.file_access import close_file_system
from service.imaging.sandbox.system_call_filter import refuse_system_calls

_MAX_OPEN_FILES = 32
_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 4, 38  # prctl(2)
_CAPABILITY_VERSION_3 = 0x20080522
MEASURES = ("memory", "privileges", "file_access", "system_calls")


def confine(max_bytes: int) -> dict[str, bool]:
    """Give up everything but decoding, and ``max_bytes`` more memory than now.

    Returns:
        Which of ``MEASURES`` the system applies: ``memory`` limits the address space,
        ``privileges`` are gone and cannot come back, ``file_access`` is limited to libraries, and
        ``system_calls`` for sockets, programs and writing are refused.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN_FILES, _MAX_OPEN_FILES))
    return {
        "memory": _limit_memory(max_bytes),
        "privileges": _drop_privileges(),
        "file_access": close_file_system(),
        "system_calls": refuse_system_calls(),  # last: the others make calls that it refuses
    }


def _limit_memory(max_bytes: int) -> bool:
    """Only Linux tells the size of the address space and holds a limit on it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return False
    limit = pages * resource.getpagesize() + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return True


def _drop_privileges() -> bool:
    """No new privileges, no capabilities, no groups of root, no inspection by other processes."""
    if not sys.platform.startswith("linux"):
        return False
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a container may lack the capability
            os.setgroups([])
    libc = ctypes.CDLL(None, use_errno=True)
    # capset(2): a version and this process; then effective, permitted, inheritable, twice.
    none = libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)) == 0
    fixed = libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    hidden = libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0) == 0
    return bool(none and fixed and hidden)
