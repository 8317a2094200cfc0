"""Moving the oldest entries of an audit log into a file, from which their chains still verify."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from service.access.audit.audit_archive import drafted
from service.access.audit.audit_entries import AuditEvent, Who
from service.access.audit.audit_verification import ENTRIES_AT_ONCE, MOVED, Archived
from service.catalog.audit.audit_records import (
    AuditHead,
    AuditStore,
    ChainedEntry,
    continues,
    empty_head,
)
from service.catalog.data_folder import PRIVATE_FILE, sync
from service.catalog.ids import now
from service.errors import AuditDiffers, AuditFailure

_BEFORE, _BETWEEN, _AFTER = '{"entry":', ',"sha256":"', '"}'
_DIGEST_DIGITS = 64


def line_of(entry: ChainedEntry) -> str:
    """An entry as a line of JSON: its canonical text, and the digest of the chain there."""
    return f"{_BEFORE}{entry.text}{_BETWEEN}{entry.sha256}{_AFTER}"


def move_out(store: AuditStore, before: str, file: Path, who: Who) -> dict[str, int]:
    """Write the entries before a moment into a new file, and delete them when they are on disk.

    Each chain gets an entry that tells number and digest of its last moved one. A crash leaves the
    file, and some chains as they were: another run moves the rest into another file.

    Returns:
        {chain: how many entries were moved}, for chains of which some were.

    Raises:
        AuditDiffers: a chain does not verify, so nothing more of it is moved.
        AuditFailure: the file exists already, or cannot be written.
        NotSupported: the role of the database may not delete entries; there is no file then.
    """
    store.require_movable()
    beginnings = store.beginnings()
    moved: list[tuple[AuditHead, int]] = []
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        with file.open("w", encoding="utf-8", newline="\n") as lines:
            for head in store.heads():
                start = beginnings.get(head.chain, empty_head(head.chain))
                last = _written(store, start, before, lines)
                if last.seq > start.seq:
                    moved.append((last, last.seq - start.seq))
            lines.flush()
            os.fsync(lines.fileno())
        sync(file.absolute().parent)
    except OSError as error:
        raise AuditFailure("the file for the moved entries cannot be written") from error
    for last, _ in moved:
        facts, names = {"last": last.seq}, {"sha256": [last.sha256]}
        event = AuditEvent(last.chain, MOVED, who, "ok", names=names, facts=facts)
        store.move_out(last, drafted(store, event))
    return {last.chain: count for last, count in moved}


def _written(store: AuditStore, start: AuditHead, before: str, lines: TextIO) -> AuditHead:
    """Write what is older and continues ``start``; return the last entry. Raises AuditDiffers."""
    last = start
    while True:
        entries = store.read(start.chain, after=last.seq, limit=ENTRIES_AT_ONCE)
        older = _first_older(entries, before)
        if not older:
            return last
        if not continues(last, older):
            raise AuditDiffers("the chain does not verify: nothing of it is moved")
        lines.writelines(f"{line_of(entry)}\n" for entry in older)
        last = AuditHead(start.chain, older[-1].seq, older[-1].sha256, now())
        if len(older) < len(entries):
            return last


def _first_older(entries: Sequence[ChainedEntry], before: str) -> list[ChainedEntry]:
    """The entries until the first one that is not older."""
    older: list[ChainedEntry] = []
    for entry in entries:
        if str(entry.fields.get("at", "")) >= before:
            break
        older.append(entry)
    return older


def archived_in(files: Sequence[Path]) -> Archived | None:
    """The entries of each chain in files of moved entries, oldest first; None = no file.

    The files are read once to learn where each chain is, and then once more, chain by chain.

    Raises:
        AuditFailure: a file cannot be read, or is no such file.
    """
    if not files:
        return None
    runs: dict[str, list[_Run]] = {}
    with _readable():
        for file in files:
            for run in _runs(file):
                runs.setdefault(run.chain, []).append(run)

    def entries_of(chain: str) -> Iterator[ChainedEntry]:
        for run in runs.get(chain, ()):
            with _readable(), run.file.open("rb") as lines:
                lines.seek(run.start)
                for _ in range(run.entries):
                    yield _entry_of(lines.readline().decode().rstrip("\n"))

    return entries_of


@dataclass(slots=True)
class _Run:
    """Lines of one chain that follow each other in a file, from the byte ``start`` on."""

    chain: str
    file: Path
    start: int
    entries: int = 0


def _runs(file: Path) -> Iterator[_Run]:
    """The runs of a file, in order. Raises ValueError, KeyError, OSError."""
    run: _Run | None = None
    at = 0
    with file.open("rb") as lines:
        for line in lines:
            chain = _entry_of(line.decode().rstrip("\n")).chain
            if run is None or run.chain != chain:
                if run is not None:
                    yield run
                run = _Run(chain, file, at)
            run.entries += 1
            at += len(line)
    if run is not None:
        yield run


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise AuditFailure("expected a readable file of moved audit entries") from error


def _entry_of(line: str) -> ChainedEntry:
    """Raises ValueError, KeyError: the line is none."""
    digest_at = len(line) - len(_AFTER) - _DIGEST_DIGITS
    text = line[len(_BEFORE) : digest_at - len(_BETWEEN)]
    digest = line[digest_at : digest_at + _DIGEST_DIGITS]
    bytes.fromhex(digest)
    fields = json.loads(text)
    entry = ChainedEntry(str(fields["chain"]), int(fields["seq"]), text, digest)
    if line_of(entry) != line:
        raise ValueError("not a line of a moved entry")
    return entry
