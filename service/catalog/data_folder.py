"""A lock that lets one service use a data folder; the system releases it when the process dies.

Short commands (keys, backup, check) need no lock, because SQLite isolates them. A second service
does: its index would miss what the first one stores.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import CatalogFailure, FolderInUse

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Lock the folder, creating it if necessary, while the block runs.

    Raises:
        FolderInUse: another service holds the lock, in this process or another one.
        CatalogFailure: the folder cannot be created or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _open(folder)
    except OSError as error:
        raise CatalogFailure("the data folder cannot be made or opened") from error
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)  # which releases the lock


def _open(folder: Path) -> int:
    if sys.platform == "win32":  # which cannot lock folders
        return os.open(folder / "in-use", os.O_RDWR | os.O_CREAT)
    return os.open(folder, os.O_RDONLY)


def _lock(handle: int) -> None:
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise FolderInUse(
            "another service uses this data folder: stop it first, or set SONOPROBE_DATA_DIR "
            "to another folder"
        ) from error


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk (folders not on Windows)."""
    with suppress(PermissionError):  # Windows cannot open folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
