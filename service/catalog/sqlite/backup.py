"""Backups of a catalog: made while it is in use, checked and restored; they follow erasures.

A backup is a folder with ``catalog.sqlite`` and ``backup.json`` (sha256, bytes, time, counts).
It gets its name only when it is complete and on disk.

A cycle makes a new backup and then updates the older ones: data that was erased from the catalog
(scans, studies, subjects, retention) is deleted from them as well, its bytes are overwritten, and
their digests are written again. Collections that were deleted as a whole stay in older backups.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.catalog.codec import from_json
from service.catalog.data_folder import sync
from service.catalog.ids import file_sha256, subject_digest
from service.catalog.sqlite import schema
from service.catalog.sqlite.database import connect, opened_to_read, translated
from service.errors import CatalogFailure, DamagedBackup

FILE, MANIFEST = "catalog.sqlite", "backup.json"
FOLLOWING = "backup.json.following"  # the manifest's name while the copy is being changed
PREFIX = "sonoprobe-"
PAGES_AT_ONCE = 2000  # 8 MB between two reports of progress

_FORGET_EXAMPLES = """
    UPDATE classifier_examples
    SET sha256 = NULL, subject_id = NULL, study_id = NULL, vector = NULL
    WHERE seq IN (
        SELECT old.seq FROM classifier_examples AS old
        JOIN truth.classifier_examples AS new
            ON new.seq = old.seq AND new.example_id = old.example_id
        WHERE new.vector IS NULL AND new.sha256 IS NULL
    ) OR seq IN (
        SELECT e.seq FROM classifier_examples AS e
        JOIN truth.erased_subjects AS s ON s.workspace_id = e.workspace_id
            AND s.subject_sha256 = subject_digest(e.workspace_id, e.subject_id)
            AND EXISTS (
                SELECT 1 FROM classifiers AS c
                WHERE c.seq = e.classifier_seq AND c.created_at <= s.erased_at
            )
    )
"""
_FORGET_SCANS = """
    DELETE FROM scans WHERE row_id IN (SELECT row_id FROM truth.erased_scans)
    OR row_id IN (
        SELECT o.row_id FROM scans AS o JOIN truth.erased_subjects AS s
            ON s.workspace_id = o.workspace_id AND o.created_at <= s.erased_at
            AND s.subject_sha256 = subject_digest(o.workspace_id, o.subject_id)
        WHERE o.subject_id IS NOT NULL
    )
"""
# Saved answers may repeat erased data: they are all deleted whenever something was erased.
_FOLLOW = (
    _FORGET_EXAMPLES,
    _FORGET_SCANS,
    "DELETE FROM answers",
    "INSERT OR IGNORE INTO erased_scans SELECT * FROM truth.erased_scans",
    "INSERT OR REPLACE INTO erased_subjects SELECT * FROM truth.erased_subjects",
)


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
) -> Path:
    """Run one cycle: copy the catalog, erase from older copies, drop the oldest ones.

    Writers of the catalog are not blocked; the copy does not hold what they add meanwhile.

    Args:
        file: the catalog, which may be in use.
        folder: of all backups; created if necessary.
        keep: maximal number of backups, including the new one.
        on_page: called with the number of pages copied and of all; its exception stops the copy.

    Returns:
        The folder of the new backup.

    Raises:
        CatalogFailure: the catalog cannot be read, or the folder cannot be written (a full disk).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".{PREFIX}*"):  # of a cycle that was interrupted
            shutil.rmtree(left)
        name = PREFIX + datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        unfinished = folder / f".{name}"
        unfinished.mkdir()
        try:
            _copy(file, unfinished / FILE, on_page)
            _describe(unfinished)
            unfinished.rename(folder / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(folder)
        for older in backups_in(folder)[:-1]:
            follow(older, file)
        for oldest in backups_in(folder)[:-keep]:
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


def follow(backup: Path, file: Path) -> bool:
    """Delete from a backup what was erased from the catalog since; return whether it changed.

    After an interruption the backup has no digest until the next call succeeds.

    Raises:
        CatalogFailure: the catalog cannot be read, or the backup cannot be written.
    """
    with translated(), closing(connect(backup / FILE, mode="rw")) as connection:
        schema.refuse_foreign(connection)
        connection.create_function("subject_digest", 2, _digest, deterministic=True)
        connection.execute("ATTACH DATABASE ? AS truth", (f"{file.resolve().as_uri()}?mode=ro",))
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        for statement in _FOLLOW[:2]:
            connection.execute(statement)
        changed = connection.total_changes > before
        for statement in _FOLLOW[2:]:
            connection.execute(statement)
        if changed and (backup / MANIFEST).exists():
            (backup / MANIFEST).replace(backup / FOLLOWING)
            sync(backup)
        connection.execute("COMMIT" if changed else "ROLLBACK")
    if changed or (backup / FOLLOWING).exists():
        _describe(backup)
    return changed


def restore(backup: Path, file: Path) -> Path | None:
    """Replace the catalog by a backup; data that was erased after the backup stays erased.

    The caller owns the data folder (``data_folder.owned``). An interruption leaves either the old
    catalog or the new one.

    Args:
        backup: folder of one backup.
        file: path of the catalog; an existing catalog is renamed.

    Returns:
        The path of the earlier catalog; None when there was none.

    Raises:
        DamagedBackup: the backup differs from what was written.
        CatalogFailure: the erasures of the earlier catalog cannot be read, or a disk is full.
    """
    verify(backup)
    fresh = file.with_name(f".{file.name}.restoring")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        shutil.copyfile(backup / FILE, fresh / FILE)
        if file.exists():
            _fold_log(file)
            follow(fresh, file)
        sync(fresh / FILE)
        earlier = _keep_aside(file) if file.exists() else None
        (fresh / FILE).replace(file)  # in one step: there is a catalog at every moment
        shutil.rmtree(fresh)
        sync(file.parent)
    except OSError as error:
        raise CatalogFailure("the data folder cannot be written") from error
    return earlier


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


def _copy(file: Path, to: Path, on_page: Callable[[int, int], None]) -> None:
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


def _describe(backup: Path) -> None:
    file = backup / FILE
    with opened_to_read(file, immutable=True) as connection:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        scans = int(connection.execute("SELECT count(*) FROM scans").fetchone()[0])
    moment = backup.name.removeprefix(".").removeprefix(PREFIX)
    manifest = Backup(moment, version, file_sha256(file), file.stat().st_size, scans)
    draft = backup / f"{MANIFEST}.draft"
    draft.write_text(json.dumps(asdict(manifest), indent=1))
    sync(draft)
    draft.replace(backup / MANIFEST)
    (backup / FOLLOWING).unlink(missing_ok=True)
    sync(backup)


def _fold_log(file: Path) -> None:
    """Move the write-ahead log of a stopped service into the file."""
    with translated(), closing(connect(file, mode="rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _keep_aside(file: Path) -> Path:
    """Give the catalog that will be replaced a second name; its log is empty already."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = file.with_name(f"{file.name}.before-{moment}")
    try:
        aside.hardlink_to(file)
    except OSError:  # a file system without links
        shutil.copyfile(file, aside)
    for suffix in ("-wal", "-shm"):  # they would damage another catalog
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    return aside


def _digest(workspace_id: str, subject_id: str | None) -> str | None:
    return None if subject_id is None else subject_digest(workspace_id, subject_id)
