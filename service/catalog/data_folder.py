"""One service per data folder: a lock that the system gives back when its process dies.

Only who serves needs it. Short commands (keys, backup, check) work beside a service, for SQLite
keeps them apart; a second service would answer from an index that knows nothing of the first.
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
    """Hold the folder, which is made if there is none, while the block runs.

    Raises:
        FolderInUse: another process, or another service of this one, holds it.
        CatalogFailure: the folder cannot be made or opened.
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
        os.close(handle)  # which gives the lock back


def _open(folder: Path) -> int:
    if sys.platform == "win32":  # where folders cannot be locked
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
    """Force a file or a folder's entries to disk; systems that cannot sync folders do not."""
    with suppress(PermissionError):  # Windows opens no folders
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
