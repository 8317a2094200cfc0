"""The files of a folder that is sent: what is read, and what is passed over by which name.

Nothing goes by the suffix of a name: files of a study CD have none, and others have a wrong one.
"""

import codecs
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.errors import UnsupportedFormat
from service.imaging.formats.dicom_identity import is_media_directory
from service.imaging.formats.file_type import family_of, unsupported

HEAD_BYTES = 65_536  # decide the format of a file
# Left by systems and by the media themselves: no image of anybody is missing without them.
COMPANIONS = frozenset({"media_directory", "hidden", "system_file", "table", "report"})
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "autorun.inf", "icon\r"})
_SYSTEM_FOLDERS = frozenset({"__macosx", "$recycle.bin", "system volume information", "@eadir"})
_PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".jxl", ".webp"),
    *(".bmp", ".dib", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"),
    *(".dcm", ".dicom", ".dic", ".ima"),
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mpg", ".mpeg", ".m2v", ".mkv", ".webm"),
    *(".wmv", ".asf", ".flv", ".ts", ".m2ts", ".mts"),
)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Why a file is not sent; ``failed`` where an image may be missing for that reason."""

    code: str
    detail: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class WalkedFile:
    """A file below a folder; ``passed_over`` is None for a file to read."""

    path: Path
    passed_over: PassedOver | None = None


def real(path: Path) -> Path:
    """The path without links; unlike ``resolve``, also of a link that leads to itself."""
    return Path(os.path.realpath(path))


def walk(folder: Path) -> Iterator[WalkedFile]:
    """Every file below a folder, by name within each folder; links are followed.

    A hidden folder, a system's folder and one that cannot be listed are one entry each.
    """
    yield from _walk(folder, frozenset((_identity(folder),)))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[WalkedFile]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        yield WalkedFile(folder, PassedOver("unreadable", type(error).__name__, failed=True))
        return
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            yield WalkedFile(path, _unreachable(path, error))
            continue
        hidden = _hidden(path.name, is_folder=stat.S_ISDIR(mode))
        if stat.S_ISDIR(mode):
            identity = _identity(path)
            if identity in above:
                yield WalkedFile(path, PassedOver("link_loop", "a link to a folder above it"))
            elif hidden:
                detail = f"a folder of {_count(path)} files"
                yield WalkedFile(path, PassedOver(hidden, detail))
            else:
                yield from _walk(path, above | {identity})
        elif hidden:
            yield WalkedFile(path, PassedOver(hidden))
        elif not stat.S_ISREG(mode):
            yield WalkedFile(path, PassedOver("special_file", "a device, pipe or socket"))
        else:
            yield WalkedFile(path)


def _unreachable(path: Path, error: OSError) -> PassedOver:
    hidden = _hidden(path.name, is_folder=False)
    if hidden:
        return PassedOver(hidden)
    code = "broken_link" if path.is_symlink() else "unreadable"
    return PassedOver(code, type(error).__name__, failed=True)


def _hidden(name: str, *, is_folder: bool) -> str:
    """The code of a hidden or a system's file; empty for all others."""
    if name.startswith("."):
        return "hidden"
    known = _SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES
    return "system_file" if name.casefold() in known else ""


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _count(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def judge(path: Path, head: bytes) -> PassedOver | None:
    """Why a file that begins with ``head`` is not sent; None for an image of a known format."""
    claims = path.suffix.casefold() in _PICTURE_SUFFIXES
    if not head:
        return PassedOver("empty", "0 bytes", failed=claims)
    if path.name.casefold() == "dicomdir" or is_media_directory(head):
        return PassedOver("media_directory", "the DICOMDIR of a medium")
    try:
        family_of(head)
    except UnsupportedFormat as error:
        return PassedOver("not_an_image", _content(head, str(error)), failed=claims)
    return None


def _content(head: bytes, message: str) -> str:
    """The format that the message names, or text, or nothing known."""
    if message != str(unsupported(b"\0")):
        return message
    return "text" if _is_text(head) else "bytes of no known format"


def _is_text(head: bytes) -> bool:
    """Whether the start of a file is text in UTF-8, or in UTF-16 with its mark."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return not any(byte < 9 or 13 < byte < 32 for byte in head)


def image_files(folder: Path) -> list[Path]:
    """The files below a folder that are images by their content, in order.

    Files that cannot be read, and files of other content that are named as images, are among
    them: who reads them tells why they fail.
    """
    return [f.path for f in walk(folder) if f.passed_over is None and _is_image(f.path)]


def content_of(path: Path) -> PassedOver | None:
    """As ``judge``; None as well for a file that cannot be read, for its reader to tell why."""
    try:
        with path.open("rb") as stream:
            return judge(path, stream.read(HEAD_BYTES))
    except OSError:
        return None


def _is_image(path: Path) -> bool:
    reason = content_of(path)
    return reason is None or reason.failed
