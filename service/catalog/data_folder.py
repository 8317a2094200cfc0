"""A data folder: readable by its owner alone, and locked while a service uses it.

The system releases the lock when the process dies. Short commands (keys, backup, check) need no
lock, because SQLite isolates them. A second service does: its index would miss what the first one
stores.
"""

import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from service.errors import CatalogFailure, FolderInUse

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


log = logging.getLogger(__name__)
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Lock the folder, creating it if necessary, while the block runs.

    Raises:
        FolderInUse: another service holds the lock, in this process or another one.
        CatalogFailure: the folder cannot be created or opened.
    """
    try:
        make_private_folder(folder)
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
        return os.open(folder / "in-use", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
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


def make_private_folder(folder: Path) -> None:
    """Create a folder, and those above it, that only their owner can enter. Raises OSError.

    Folders that exist keep their mode (``tighten`` changes it).
    """
    for place in (*reversed(folder.parents), folder):
        if not place.is_dir():
            place.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def make_private(file: Path) -> None:
    """Create an empty file that only its owner can read, unless it exists. Any error is later's."""
    with suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))


def tighten(folder: Path, patterns: Iterable[str]) -> int:
    """Take the rights of others from a folder, and from the files and folders that it made.

    Links are left alone, and so is a shared folder like /tmp (sticky). What belongs to another user
    cannot be changed: one warning counts it.

    Args:
        patterns: of names in the folder; all that is in a folder of such a name is changed too.

    Returns:
        How many were changed.
    """
    changed = refused = 0
    ours = (place for pattern in patterns for path in folder.glob(pattern) for place in _all(path))
    for place in chain([folder], ours):
        try:
            mode = place.lstat().st_mode
            if stat.S_ISLNK(mode) or mode & stat.S_ISVTX or not mode & 0o077:
                continue
            place.chmod(PRIVATE_FOLDER if stat.S_ISDIR(mode) else PRIVATE_FILE)
            changed += 1
        except FileNotFoundError:  # removed meanwhile, or there is no such folder yet
            continue
        except OSError:
            refused += 1
    if changed:
        log.info("rights of others removed", extra={"paths": changed})
    if refused:
        log.warning("files that others may read belong to another user", extra={"paths": refused})
    return changed


def _all(path: Path) -> Iterator[Path]:
    """The path, and everything in it if it is a folder."""
    yield path
    if not path.is_symlink() and path.is_dir():
        yield from path.rglob("*")
