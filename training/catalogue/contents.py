"""What a folder of intermediate results was made of, so that it is never taken for another's.

Shape suffixes: H height, W width.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from service.arrays import Pixels
from service.errors import InputError
from training.catalogue.manifest import ManifestRow

_DIGITS = 24


def content_of(rows: Iterable[ManifestRow]) -> str:
    """Digest of the bytes of the rows' files, in order: 24 hex digits.

    Raises:
        InputError: a file cannot be read; it is named.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(hashlib.sha256(_bytes_of(row.path)).digest())
    return digest.hexdigest()[:_DIGITS]


def content_of_frames(frames: Iterable[Pixels]) -> str:
    """Digest of decoded frames, uint8 (H, W) each, in order: 24 hex digits."""
    digest = hashlib.sha256()
    for frame_HW in frames:
        digest.update(f"{frame_HW.shape}".encode())
        digest.update(frame_HW.tobytes())
    return digest.hexdigest()[:_DIGITS]


def content_of_file(path: Path) -> str:
    """Digest of the bytes of one file: 24 hex digits.

    Raises:
        InputError: it cannot be read; it is named.
    """
    return hashlib.sha256(_bytes_of(path)).hexdigest()[:_DIGITS]


def claim_folder(file: Path, what: str, facts: Mapping[str, Any]) -> None:
    """Note in a folder what its files depend on.

    Args:
        file: of the note, JSON.
        what: kind of run that the folder holds, for the message.

    Raises:
        InputError: they depend on something else.
    """
    if not file.exists():
        write_whole(file, json.dumps(facts, indent=1))
        return
    stored = json.loads(file.read_text(encoding="utf-8"))
    differing = sorted(name for name in {*facts, *stored} if stored.get(name) != facts.get(name))
    if differing:
        raise InputError(
            f"the folder of the run holds another {what}, with other {', '.join(differing)}; use "
            "another one"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a run that is killed leaves all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read") from error
