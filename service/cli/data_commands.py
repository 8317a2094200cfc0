"""Commands for the data folder: backup, restore, check, expire, export, import."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.access.audit.audit_archive import archive, bring_back, write_now
from service.access.audit.audit_entries import SERVICE_CHAIN, AuditEvent
from service.access.audit.audit_heads import HeadsFile
from service.access.keys import DEFAULT_WORKSPACE, WORKSPACE_NAME, workspace_id_of
from service.access.workspace_rules import workspace_rules
from service.catalog.audit.audit_place import store_of
from service.catalog.data_folder import owned
from service.catalog.erasure_records import SweepLimits
from service.catalog.interface import Catalog
from service.catalog.sqlite.backup import back_up, backups_in, restore
from service.catalog.sqlite.inspection import Inspection, inspect
from service.catalog.sqlite.sqlite_catalog import FILE_NAME
from service.classifiers.fitting import without_scores
from service.cli.audited import audited, command_user
from service.cli.terminal import (
    AsJson,
    NewCollection,
    catalog_at,
    errors,
    explained,
    progress,
    show,
)
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import ultrasound_test_of
from service.errors import InputError, NotSupported
from service.gallery.parquet import export_collection, import_collection
from service.opening.catalog_opening import alone
from service.settings import Settings, read_settings

app = typer.Typer()
Workspace = Annotated[str, typer.Option(help="Workspace of the collection.")]


# A service lists each erasure at once, but only in the folder that it knows.
_ERASURES_COME_LATE = (
    "a running service lists what it erases in SONOPROBE_BACKUP_DIR alone: in this folder it is "
    "missing until the next backup, and a restore from here would bring it back"
)


@app.command()
def backup(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of all backups; default SONOPROBE_BACKUP_DIR.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Backups to keep; default SONOPROBE_BACKUP_KEEP.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the catalog, also of a running service; erased data is erased from older backups."""
    with explained():
        settings = _with_file(read_settings(), "backup")
        shelf = folder or settings.backup_dir
        if shelf is None:
            raise InputError("expected --folder or SONOPROBE_BACKUP_DIR")
        with progress("copying", 100) as advance:
            percent = _steps(advance)
            path = back_up(
                settings.data_dir / FILE_NAME,
                shelf,
                keep=keep or settings.backup_keep,
                on_page=lambda done, total: percent(100 * done // max(total, 1), 100),
                redact=without_scores,
            )
        if settings.audit:
            with catalog_at(settings) as catalog, closing(store_of(catalog)) as store:
                archive(store, shelf)
        show({"backup": str(path)}, [str(path)], as_json=as_json)
        errors.print(f"{len(backups_in(shelf))} backups are kept", highlight=False)
        if settings.backup_dir is None or settings.backup_dir.resolve() != shelf.resolve():
            errors.print(_ERASURES_COME_LATE, highlight=False, soft_wrap=True)


@app.command(name="restore")
def restore_backup(
    backup: Annotated[
        Path, typer.Argument(help="A backup, or the folder of all for the newest.", exists=True)
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Rename an existing catalog.")] = False,
    without_erasures: Annotated[
        bool,
        typer.Option("--without-erasures", help="Bring back what was erased after the backup."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the catalog by a backup; data that was erased after the backup stays erased.

    The erasures are read from erasures.jsonl beside the backup, and from an existing catalog.
    """
    with explained():
        settings = _with_file(read_settings(), "restore")
        file = settings.data_dir / FILE_NAME
        chosen = next(iter(reversed(backups_in(backup))), backup)
        with owned(settings.data_dir):
            if file.exists() and not replace:
                raise InputError("the data folder has a catalog: --replace puts it aside")
            earlier = restore(
                chosen, file, without_erasures=without_erasures, redact=without_scores
            )
            with catalog_at(settings, is_owner=True) as catalog:  # proves that it can be read
                catalog.settle_erasures()
                lost = _audited_restore(settings, catalog, chosen.parent)
        document = {"restored": chosen.name, "lost_audit_entries": lost}
        show(document, [f"restored {chosen.name}"], as_json=as_json)
        if lost:
            errors.print(
                f"{lost} entries of the audit log are lost, as it says itself now", highlight=False
            )
        if without_erasures:
            errors.print(
                "What was erased after this backup is back: erase it again.", highlight=False
            )
        if earlier is not None:
            errors.print(
                f"The earlier catalog is {earlier}: delete it when all is well, because no erasure "
                "reaches it there.",
                highlight=False,
                soft_wrap=True,
            )


def _audited_restore(settings: Settings, catalog: Catalog, folder: Path) -> int:
    """Record a restore, after a lost audit log is back; return how many entries are lost."""
    if not settings.audit:
        return 0
    heads = HeadsFile(settings.heads_dir())
    with closing(store_of(catalog)) as store:
        lost = bring_back(store, folder, heads, command_user())
        write_now(store, AuditEvent(SERVICE_CHAIN, "restore", command_user(), "ok"))
        heads.note(store.heads())
    return lost


@app.command()
def check(
    backup: Annotated[
        Path | None, typer.Option(help="Backup to check instead of the data folder.", exists=True)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every page, vector, thumbnail and kept image; the exit code is 1 after damage."""
    with explained():
        place = backup or _with_file(read_settings(), "check").data_dir
        inspection = inspect(place / FILE_NAME)
    typer.echo(_as_json(inspection) if as_json else _as_text(inspection))
    if not inspection.is_sound:
        raise typer.Exit(1)


def _with_file(settings: Settings, command: str) -> Settings:
    """The settings. Raises NotSupported: their catalog is no file."""
    if settings.catalog is not None:
        raise NotSupported(
            f"{command} is for a SQLite file, and SONOPROBE_CATALOG names PostgreSQL: there the "
            "database is backed up, restored and checked with its own tools"
        )
    return settings


def _as_json(inspection: Inspection) -> str:
    return json.dumps({"sound": inspection.is_sound} | asdict(inspection))


def _as_text(inspection: Inspection) -> str:
    summary = (
        f"schema {inspection.schema}: {inspection.scans} scans in {inspection.collections} "
        f"collections, {inspection.classifiers} classifiers"
    )
    findings = sorted(inspection.findings.items())
    lines = [f"{kind}: {', '.join(places[:5])}" for kind, places in findings]
    return "\n".join([summary, *(lines or ["nothing is damaged"])])


@app.command()
def expire(
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm", help="Delete all that is due: the clock of the machine is right."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete scans that are past the retention of their collection, as a running service does.

    Too many at once, on a clock that is not proven, are kept; the exit code is then 1.
    """
    with explained():
        settings = read_settings()
        share, scans = settings.retention_max_share, settings.retention_min_scans
        with catalog_at(settings) as catalog, audited(settings, catalog, "expire"):
            removed = 0
            while receipts := catalog.expire(limits=SweepLimits(share, scans, confirm)):
                removed += sum(len(receipt.scans) for _, receipt in receipts)
            held = [c for _, c in catalog.all_collections() if c.retention_held]
        document = {"deleted": removed, "held": sum(c.retention_held for c in held)}
        show(document, [f"{removed} scans deleted"], as_json=as_json)
        if held:
            total = sum(collection.retention_held for collection in held)
            raise InputError(
                f"{total} scans of {len(held)} collections are kept, because too many are due at "
                "once: check the clock, then use --confirm"
            )


@app.command()
def export(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Export a collection as Parquet files, also from a running service."""
    settings = read_settings()
    with explained(), catalog_at(settings) as catalog:
        owner = workspace_id_of(catalog, workspace)
        total = catalog.get_collection(owner, collection).scans
        recorded = audited(settings, catalog, "export", owner)
        with recorded as names, progress("exporting", total) as advance:
            names["collection"] = [collection]
            on_scan = _steps(advance)
            scans = export_collection(catalog, owner, collection, folder, on_scan=on_scan)
        show({"scans": scans}, [f"{scans} scans exported"], as_json=as_json)


@app.command(name="import")
def import_folder(
    folder: Annotated[Path, typer.Argument(help="Exported folder.", exists=True, file_okay=False)],
    collection: NewCollection,
    workspace: Workspace = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Import an exported collection; run it again to continue.

    No service may use the data folder; those over PostgreSQL may run.
    """
    with explained():
        settings = read_settings()
        if not WORKSPACE_NAME.fullmatch(collection):
            raise InputError("expected a collection of 1 to 64 letters, digits, dots, dashes")
        # A service with a data folder would miss the new scans: its index has those of its start.
        with alone(settings), catalog_at(settings, is_owner=True) as catalog:
            bundle = settings.bundle_dir or SHIPPED_BUNDLE
            workspace_rules(catalog, settings, ultrasound=ultrasound_test_of(bundle))
            owner = workspace_id_of(catalog, workspace)
            recorded = audited(settings, catalog, "import", owner)
            with recorded as names, progress("importing", 0) as advance:
                names["collection"] = [collection]
                on_scan = _steps(advance)
                done = import_collection(catalog, owner, folder, collection, on_scan=on_scan)
        told = f"{done.stored} stored, {done.known} known already"
        show(asdict(done), [told], as_json=as_json)
        if done.erased:
            errors.print(
                f"{done.erased} scans were left out: their subject or study was erased since",
                highlight=False,
            )
        if done.refused:
            errors.print(
                f"{done.refused} scans were left out: the policy of the workspace refuses them",
                highlight=False,
            )
        if done.ignored:
            errors.print(
                f"{done.ignored} of the known scans have other labels or ids in the export, which "
                "were ignored",
                highlight=False,
            )


def _steps(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """Turn a running total into steps of a progress bar."""
    before = 0

    def on_scan(done: int, _total: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return on_scan
