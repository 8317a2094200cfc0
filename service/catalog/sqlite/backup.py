"""Backups of a catalog: made while it is in use, checked and restored; they follow erasures.

A backup is a folder with ``catalog.sqlite`` and ``backup.json`` (sha256, bytes, time, counts).
It gets its name only when it is complete and on disk. Names are times in the order of the backups:
behind one that was made on a clock ahead, they run ahead of the clock. The manifest has the time.

A cycle makes a new backup and then updates the older ones: what was erased from the catalog (scans,
studies, subjects, collections, classifiers, kept images) is deleted from them as well, its bytes
are overwritten, and their digests are written again. Beside the backups ``erasures.jsonl`` lists
the erasures, so that a restore to an empty machine applies them too (``erasure_ledger``).
"""

import json
import math
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.catalog.clock import TOLERANCE, Clock, SystemClock
from service.catalog.codec import from_json
from service.catalog.data_folder import PRIVATE_FOLDER, make_private, make_private_folder, sync
from service.catalog.erasure_ledger import LEDGER, Erasure, ErasureLedger
from service.catalog.ids import file_sha256
from service.catalog.redaction import Redact, drop_scores
from service.catalog.sqlite import schema
from service.catalog.sqlite.database import Database, connect, opened_to_read, translated
from service.catalog.sqlite.erasure import erase_again, erasures_in, note
from service.errors import CatalogFailure, DamagedBackup, InputError

FILE, MANIFEST = "catalog.sqlite", "backup.json"
FOLLOWING = "backup.json.following"  # the manifest's name while the copy is being changed
PREFIX = "sonoprobe-"
MOMENT = "%Y%m%dT%H%M%S.%fZ"
PAGES_AT_ONCE = 2000  # 8 MB between two reports of progress


@dataclass(frozen=True, slots=True)
class Backup:
    """The content of ``backup.json``."""

    created_at: str
    schema: int
    sha256: str
    bytes: int
    scans: int


def back_up(
    file: Path,
    folder: Path,
    *,
    keep: int = 7,
    on_page: Callable[[int, int], None] = lambda done, total: None,
    redact: Redact = drop_scores,
    clock: Clock | None = None,
) -> Path:
    """Run one cycle: copy the catalog, erase from older copies, drop the oldest ones.

    Writers of the catalog are not blocked; the copy does not hold what they add meanwhile.

    Args:
        file: the catalog, which may be in use.
        folder: of all backups; created if necessary.
        keep: maximal number of backups, including the new one.
        on_page: called with the number of pages copied and of all; its exception stops the copy.
        redact: removes the scores of erased examples, as for ``open_catalog``.
        clock: None = that of the machine.

    Returns:
        The folder of the new backup.

    Raises:
        CatalogFailure: the catalog cannot be read, or the folder cannot be written (a full disk).
    """
    try:
        make_private_folder(folder)
        ledger = _settled_ledger(file, folder)
        for left in folder.glob(f".{PREFIX}*"):  # of a cycle that was interrupted
            shutil.rmtree(left)
        present = (clock or SystemClock()).now()
        name = _next_name(folder, present)
        unfinished = folder / f".{name}"
        unfinished.mkdir(mode=PRIVATE_FOLDER)
        try:
            _copy(file, unfinished / FILE, on_page)
            _describe(unfinished, present.strftime(MOMENT))
            unfinished.rename(folder / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(folder)
        ledger.settle(erasures_of(file))  # those that were made while the copy was written
        erasures = [*erasures_of(file), *ledger.read()]
        others = [backup for backup in backups_in(folder) if backup.name != name]
        for other in others:
            follow(other, erasures, redact=redact)
        for oldest in others[: max(0, len(others) + 1 - keep)]:
            shutil.rmtree(oldest)
    except OSError as error:
        raise CatalogFailure("the backup folder cannot be written") from error
    return folder / name


def backups_in(folder: Path) -> list[Path]:
    """The complete backups in a folder, oldest first."""
    return sorted(
        path
        for path in folder.glob(f"{PREFIX}*")
        if (path / MANIFEST).is_file() or (path / FOLLOWING).is_file()
    )


def newest_age_s(folder: Path, *, clock: Clock | None = None) -> float:
    """Time since the newest backup was made; infinite when there is none.

    Backups from the future are left out: they were made on a clock ahead, and nobody knows when.
    """
    present = (clock or SystemClock()).now()
    ages = [present - made for made in map(_made_at, backups_in(folder)) if made is not None]
    past = [max(0.0, age.total_seconds()) for age in ages if age >= -TOLERANCE]
    return min(past, default=math.inf)


def _next_name(folder: Path, present: datetime) -> str:
    """The present time, or the next moment after the last name."""
    named = [_moment(backup.name.removeprefix(PREFIX)) for backup in backups_in(folder)]
    later = (moment + timedelta(microseconds=1) for moment in named if moment is not None)
    return PREFIX + max([present, *later]).strftime(MOMENT)


def _made_at(backup: Path) -> datetime | None:
    """When a backup was made; None = its manifest is damaged."""
    text = _created_at(backup)
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _created_at(backup: Path) -> str | None:
    for name in (MANIFEST, FOLLOWING):
        with suppress(OSError, ValueError, TypeError):
            return from_json(Backup, json.loads((backup / name).read_text())).created_at
    return None


def follow(backup: Path, erasures: Sequence[Erasure], *, redact: Redact = drop_scores) -> bool:
    """Delete from a backup what was erased since it was made; return whether it changed.

    After an interruption the backup has no digest until the next call succeeds.

    Raises:
        CatalogFailure: the backup cannot be written.
    """
    with translated(), closing(connect(backup / FILE, mode="rw")) as connection:
        schema.refuse_foreign(connection)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        changed = erase_again(connection, erasures, redact)
        if changed and (backup / MANIFEST).exists():
            (backup / MANIFEST).replace(backup / FOLLOWING)
            sync(backup)
        connection.execute("COMMIT" if changed else "ROLLBACK")
    if changed or (backup / FOLLOWING).exists():
        named = backup.name.removeprefix(PREFIX)
        _describe(backup, _created_at(backup) or named)
    return changed


def restore(
    backup: Path, file: Path, *, without_erasures: bool = False, redact: Redact = drop_scores
) -> Path | None:
    """Replace the catalog by a backup; data that was erased after the backup stays erased.

    The erasures are those of the catalog that is replaced, and those beside the backup. The caller
    owns the data folder (``data_folder.owned``). An interruption leaves either the old catalog or
    the new one.

    Args:
        backup: folder of one backup.
        file: path of the catalog; an existing catalog is renamed.
        without_erasures: bring back what was erased since.

    Returns:
        The path of the earlier catalog; None when there was none.

    Raises:
        DamagedBackup: the backup differs from what was written, or the erasures beside it do.
        InputError: what was erased after the backup is not known.
        CatalogFailure: a disk is full.
    """
    verify(backup)
    if file.exists():
        _fold_log(file)
    erasures = [] if without_erasures else _erasures_since(backup, file)
    fresh = file.with_name(f".{file.name}.restoring")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        make_private_folder(fresh)
        make_private(fresh / FILE)
        shutil.copyfile(backup / FILE, fresh / FILE)
        _renew(fresh / FILE, erasures, redact)
        sync(fresh / FILE)
        earlier = _keep_aside(file) if file.exists() else None
        (fresh / FILE).replace(file)  # in one step: there is a catalog at every moment
        shutil.rmtree(fresh)
        sync(file.parent)
    except OSError as error:
        raise CatalogFailure("the data folder cannot be written") from error
    return earlier


def _renew(file: Path, erasures: Sequence[Erasure], redact: Redact) -> None:
    """Apply erasures to the copy of a backup, and make it a catalog to go on from."""
    with translated(), closing(connect(file, mode="rw")) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        erase_again(connection, erasures, redact)
        connection.execute("DELETE FROM answers")
        connection.execute("COMMIT")
    with closing(Database(file)) as database, database.write() as connection:  # of this schema
        note(connection, erasures)
        connection.execute("DELETE FROM retention_clock")
        # Later backups may hold scans and collections with the next numbers, and must not lose
        # them when the new ones are erased: numbers from now on come from the time, in ms.
        number = round(1000 * time.time())
        move = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?"
        start = "INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)"
        for table in ("scans", "collections"):
            if not connection.execute(move, (number, table)).rowcount:
                connection.execute(start, (number, table))


def _erasures_since(backup: Path, file: Path) -> list[Erasure]:
    """What the earlier catalog and the folder of the backup know of erasures. Raises as above."""
    with opened_to_read(backup / FILE, immutable=True) as connection:
        of_backup = {erasure.erasure_id for erasure in erasures_in(connection)}
        workspaces = _workspaces(connection)
    own: list[Erasure] | None = None
    with suppress(CatalogFailure):  # damaged, which may be the reason to restore
        if file.exists():
            with opened_to_read(file) as connection:
                known = erasures_in(connection)
                gone = {e.workspace_id for e in known if e.kind == "workspace"}
                is_same = workspaces <= _workspaces(connection) | gone
                own = known if is_same else None
    try:
        beside = list(ErasureLedger(backup.parent).read())
    except FileNotFoundError as error:
        if own is None:
            raise InputError(
                f"there is no {LEDGER} beside the backup: what was erased since then would come "
                "back; put the file there, or confirm it with --without-erasures"
            ) from error
        return own
    if own is None and of_backup - {erasure.erasure_id for erasure in beside}:
        raise DamagedBackup(
            f"{LEDGER} beside the backup is older than the backup: put the newest one there, or "
            "restore with --without-erasures"
        )
    return [*(own or ()), *beside]


def _workspaces(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT workspace_id FROM workspaces")}


def verify(backup: Path) -> Backup:
    """The manifest of a backup whose digest is right. Raises DamagedBackup."""
    try:
        manifest = from_json(Backup, json.loads((backup / MANIFEST).read_text()))
        digest = file_sha256(backup / FILE)
    except (OSError, ValueError, TypeError) as error:
        raise DamagedBackup("expected a folder with backup.json and catalog.sqlite") from error
    if digest != manifest.sha256:
        raise DamagedBackup(f"the backup has sha256 {digest}, expected {manifest.sha256}")
    return manifest


def erasures_of(file: Path) -> list[Erasure]:
    """All erasures that a catalog knows. Raises CatalogFailure."""
    with opened_to_read(file) as connection:
        return erasures_in(connection)


def _settled_ledger(file: Path, folder: Path) -> ErasureLedger:
    """The erasures beside the backups, with all that the catalog knows."""
    ledger = ErasureLedger(folder)
    try:
        ledger.read()
    except FileNotFoundError:
        pass
    except DamagedBackup:  # the catalog knows all of them
        ledger.set_aside()
    if not ledger.settle(erasures_of(file)):
        raise CatalogFailure("the erasures beside the backups cannot be written")
    return ledger


def _copy(file: Path, to: Path, on_page: Callable[[int, int], None]) -> None:
    make_private(to)
    with opened_to_read(file) as source, closing(sqlite3.connect(to)) as copy:
        # An open transaction makes the copy of one moment, however long it takes, so that it
        # never restarts because of other writers.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()

        def report(_status: int, remaining: int, total: int) -> None:
            on_page(total - remaining, total)

        source.backup(copy, pages=PAGES_AT_ONCE, progress=report)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file without a log
    sync(to)


def _describe(backup: Path, created_at: str) -> None:
    file = backup / FILE
    with opened_to_read(file, immutable=True) as connection:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        scans = int(connection.execute("SELECT count(*) FROM scans").fetchone()[0])
    manifest = Backup(created_at, version, file_sha256(file), file.stat().st_size, scans)
    draft = backup / f"{MANIFEST}.draft"
    make_private(draft)
    draft.write_text(json.dumps(asdict(manifest), indent=1))
    sync(draft)
    draft.replace(backup / MANIFEST)
    (backup / FOLLOWING).unlink(missing_ok=True)
    sync(backup)


def _fold_log(file: Path) -> None:
    """Move the write-ahead log of a stopped service into the file, unless that is damaged."""
    with suppress(CatalogFailure), translated(), closing(connect(file, mode="rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _keep_aside(file: Path) -> Path:
    """Give the catalog that will be replaced a second name, with the log of a damaged one."""
    moment = datetime.now(UTC).strftime(MOMENT)
    aside = file.with_name(f"{file.name}.before-{moment}")
    try:
        aside.hardlink_to(file)
    except OSError:  # a file system without links
        make_private(aside)
        shutil.copyfile(file, aside)
    for suffix in ("-wal", "-shm"):  # they would damage another catalog
        log = file.with_name(file.name + suffix)
        if log.exists() and log.stat().st_size:
            log.replace(aside.with_name(aside.name + suffix))
        log.unlink(missing_ok=True)
    return aside
