"""Landlock: a decoder reads the libraries of Python and of the system, and no other file.

See landlock(7). It needs Linux 5.13, and a kernel that was built and started with it.
"""

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_ALL_OF_1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15  # since versions 2, 3 and 5
_NET = 0b11  # bind and connect of TCP, since version 4
_SCOPED = 0b11  # abstract sockets and signals of others, since version 6
_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/self")
_SERVICE = Path(__file__).parents[2]


def readable_paths() -> Iterator[str]:
    """What a decoder may read: where its modules and their libraries are."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    yield from (sysconfig.get_path(name) for name in names)
    yield from (os.path.realpath(path) for path in sys.path if path.endswith("-packages"))
    for prefix in (sys.prefix, sys.base_prefix):
        yield from (f"{prefix}/{name}" for name in ("lib", "lib64"))
    yield str(_SERVICE)
    yield from (*_SYSTEM, *_DEVICES, "/sys/devices/system/cpu")


def close_file_system() -> bool:
    """Leave only ``readable_paths`` to this thread, for ever; return whether the kernel does so.

    Call it before another thread starts, and after the process gave up new privileges.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, 0, _VERSION_FLAG)
    if version < 1:
        return False
    attributes = _attributes(version)
    rules = libc.syscall(_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for path in readable_paths():
            _allow(libc, rules, path)
        return bool(libc.syscall(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _attributes(version: int) -> bytes:
    """struct landlock_ruleset_attr: everything that this version of the kernel can refuse."""
    access = _ALL_OF_1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL)):
        access |= right if version >= since else 0
    if version < 4:
        return struct.pack("=Q", access)
    if version < 6:
        return struct.pack("=QQ", access, _NET)
    return struct.pack("=QQQ", access, _NET, _SCOPED)


def _allow(libc: ctypes.CDLL, rules: int, path: str) -> None:
    """Allow to read the file or everything below the folder, where there is one."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = os.path.isdir(path)  # noqa: PTH112 - one of many strings
        access = _READ_FILE | (_READ_DIR | _EXECUTE if is_folder else 0)
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, handle), 0)
    finally:
        os.close(handle)
