"""What was erased, as digests: in the catalog, and in ``erasures.jsonl`` beside its backups.

A catalog that is lost takes its erasures with it, so its backups would bring erased patients back.
Therefore each erasure is also written to the folder of the backups before it is acknowledged, one
JSON object per line, and forced to disk. A folder that cannot be reached does not stop an erasure:
the catalog knows it already, and it is written as soon as the folder is there again.

What a digest is of depends on the kind:

    scan        workspace, row number and sha256 of the file
    subject     workspace and subject id
    study       workspace, "study" and study id
    collection  workspace, "collection", internal number and time of creation
    images      the same, of a collection whose kept images were dropped
    classifier  workspace, "classifier" and classifier id
    workspace   workspace, "workspace" and workspace id: everything in it
    row         not a digest: the row number of a scan that a catalog of schema 1 erased

Earlier programs left out when a collection was created. What they noted is still followed.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from service.catalog.codec import from_json
from service.catalog.data_folder import sync
from service.catalog.ids import digest_of, new_id, now
from service.errors import CatalogFailure, DamagedBackup

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)
LEDGER = "erasures.jsonl"
ErasureKind: TypeAlias = Literal[
    "scan", "row", "subject", "study", "collection", "images", "classifier", "workspace"
]


@dataclass(frozen=True, slots=True)
class Erasure:
    """One thing that was erased; see the module for ``digest``."""

    erasure_id: str
    kind: ErasureKind
    workspace_id: str
    digest: str
    erased_at: str


def new_erasure(kind: ErasureKind, workspace_id: str, digest: str) -> Erasure:
    """The record of an erasure that happens now."""
    return Erasure(new_id("era"), kind, workspace_id, digest, now())


def workspace_erasure(workspace_id: str) -> Erasure:
    """The record of the deletion of a workspace that happens now."""
    digest = digest_of_kind("workspace", workspace_id, workspace_id)
    return new_erasure("workspace", workspace_id, digest)


def scan_digest(workspace_id: str, row_id: int, sha256: str) -> str:
    """Of a scan: no other scan of any catalog has the same."""
    return digest_of(workspace_id, row_id, sha256)


def digest_of_kind(kind: ErasureKind, workspace_id: str, identity: str | int) -> str:
    """Of a study, a classifier or a workspace; of a collection as earlier programs named it."""
    word = "collection" if kind == "images" else kind
    return digest_of(workspace_id, word, identity)


def collection_digest(workspace_id: str, collection_id: int, created_at: str) -> str:
    """Of a collection: no other collection of any catalog has the same.

    The number alone may stand for several, because catalogs can go on from one backup twice.
    """
    return digest_of(workspace_id, "collection", collection_id, created_at)


class ErasureLedger:
    """The file ``erasures.jsonl`` in a folder of backups. Thread safe."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / LEDGER
        self._lock = threading.Lock()
        self._owed: list[Erasure] = []

    @property
    def owed(self) -> int:
        """Number of erasures that could not be written yet."""
        return len(self._owed)

    def note(self, erasures: Sequence[Erasure]) -> bool:
        """Write erasures, and those that are owed; return whether all are on disk now."""
        with self._lock:
            self._owed += erasures
            try:
                self._append(self._owed)
            except CatalogFailure as error:
                fields = {"erasures": len(self._owed), "code": error.code}
                log.error("erasures not written beside the backups", extra=fields)
                return False
            self._owed = []
        return True

    def settle(self, erasures: Sequence[Erasure]) -> bool:
        """Write those of all erasures that the file lacks, and create it; as ``note``."""
        if not self.file.parent.is_dir():
            if erasures:
                log.error("no folder of backups to write erasures to")
            return False
        try:
            known = {erasure.erasure_id for erasure in self.read()}
        except FileNotFoundError:
            known = set()
        except (DamagedBackup, CatalogFailure) as error:
            log.error("erasures beside the backups not read", extra={"code": error.code})
            return False
        with self._lock:
            self._owed = [e for e in erasures if e.erasure_id not in known]
        return self.note(())

    def read(self) -> tuple[Erasure, ...]:
        """All erasures, oldest first.

        A line that a kill cut off is left out: its erasure was not acknowledged as written.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedBackup: a line is not what was written.
            CatalogFailure: the file cannot be read.
        """
        try:
            whole, _, _ = self.file.read_bytes().rpartition(b"\n")
            return tuple(from_json(Erasure, json.loads(line)) for line in whole.splitlines())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CatalogFailure("the erasures beside the backups cannot be read") from error
        except ValueError as error:
            raise DamagedBackup("the erasures beside the backups are damaged") from error

    def set_aside(self) -> None:
        """Rename a damaged file, so that a whole one can be written."""
        aside = self.file.with_name(f"{LEDGER}.damaged-{now().replace(':', '')}")
        try:
            self.file.rename(aside)
        except OSError as error:
            raise CatalogFailure("the backup folder cannot be written") from error
        log.error("damaged erasures beside the backups renamed", extra={"file": aside.name})

    def _append(self, erasures: Sequence[Erasure]) -> None:
        lines = "".join(f"{json.dumps(asdict(erasure))}\n" for erasure in erasures).encode()
        try:
            is_new = not self.file.exists()
            with _locked(self.file) as handle:
                _drop_torn_line(handle)
                _write_all(handle, lines)
                os.fsync(handle)
            if is_new:
                sync(self.file.parent)
        except OSError as error:
            raise CatalogFailure("the erasures beside the backups cannot be written") from error


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The open file, which no other process writes meanwhile (not on Windows)."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _drop_torn_line(handle: int) -> None:
    """Cut off what a kill left of a line, and go to the end."""
    end = os.lseek(handle, 0, os.SEEK_END)
    step = 4096
    place = end
    while place > 0:
        start = max(0, place - step)
        os.lseek(handle, start, os.SEEK_SET)
        newline = os.read(handle, place - start).rfind(b"\n")
        if newline >= 0:
            place = start + newline + 1
            break
        place = start
    if place < end:
        os.ftruncate(handle, place)
    os.lseek(handle, place, os.SEEK_SET)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
