"""Unpack untrusted archives: nothing outside the folder, no links, no bombs.

``tarfile`` has the ``data`` filter (PEP 706) for paths and kinds of members; ``zipfile`` renames
escaping paths silently, so they are refused here first.
"""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from service.errors import InputError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_UNPACKED_BYTES = 500 * 2**30
MAX_MEMBERS = 2_000_000
_CHUNK_BYTES = 2**20


def is_archive(path: Path) -> bool:
    """Whether the name says zip or tar."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> int:
    """Unpack a zip or tar file; the number of files written.

    Nothing is written when a member is refused.

    Args:
        folder: made when absent; files of the same name are overwritten.
        max_bytes: most bytes that all members may hold together, unpacked.

    Raises:
        InputError: damaged, or of a compression that Python cannot read; a member's path leaves
            the folder; a member is a link or device; encrypted; or more bytes than ``max_bytes``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            return _unpack_zip(archive, folder, max_bytes)
        if tarfile.is_tarfile(archive):
            return _unpack_tar(archive, folder, max_bytes)
    except (
        *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError),
        NotImplementedError,  # of zipfile: Deflate64, which Windows writes above 2 GB
    ) as error:
        raise InputError(f"{archive.name} does not unpack: {error}") from error
    raise InputError(f"{archive.name}: expected a zip or tar archive")


def _unpack_zip(archive: Path, folder: Path, max_bytes: int) -> int:
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if not member.is_dir()]
        _check_amount(archive, len(members), sum(member.file_size for member in members), max_bytes)
        for member in members:
            _check_path(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise InputError(f"{archive.name}: {member.filename} is no plain file")
            if member.flag_bits & 0x1:
                raise InputError(f"{archive.name}: {member.filename} is encrypted")
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            # zipfile stops at the declared size, so that the check above bounds what is written
            with opened.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    return len(members)


def _unpack_tar(archive: Path, folder: Path, max_bytes: int) -> int:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        _check_amount(archive, len(members), sum(member.size for member in members), max_bytes)
        for member in members:
            _check_path(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive.name}: {member.name} is no plain file")
        opened.extractall(folder, members, filter="data")
    return sum(member.isfile() for member in members)


def _check_amount(archive: Path, members: int, size_bytes: int, max_bytes: int) -> None:
    if members > MAX_MEMBERS:
        raise InputError(f"{archive.name}: expected at most {MAX_MEMBERS} files, got {members}")
    if size_bytes > max_bytes:
        raise InputError(
            f"{archive.name}: expected at most {max_bytes} bytes unpacked, got {size_bytes}"
        )


def _check_path(archive: Path, name: str) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise InputError(f"{archive.name}: the path {name!r} leaves the folder")
