"""Commands over the data folder: backup, restore, check, expire, export, import."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from service.access.keys import DEFAULT_WORKSPACE, WORKSPACE_NAME, workspace_id_of
from service.catalog.data_folder import owned
from service.catalog.sqlite.backup import back_up, backups_in, restore
from service.catalog.sqlite.inspection import Inspection, inspect
from service.catalog.sqlite.schema import SCHEMA_VERSION
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.cli.terminal import errors, explained, progress
from service.errors import InputError
from service.gallery.parquet import export_collection, import_collection
from service.settings import read_settings

app = typer.Typer()
Workspace = Annotated[str, typer.Option(help="Whose collection it is.")]


@app.command()
def backup(
    folder: Annotated[
        Path | None, typer.Option(help="Of all backups; SONOPROBE_BACKUP_DIR when not given.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Most that stay; SONOPROBE_BACKUP_KEEP.")
    ] = None,
) -> None:
    """Copy the catalog, also beside a running service; older copies follow what was erased."""
    with explained():
        settings = read_settings()
        shelf = folder or settings.backup_dir
        if shelf is None:
            raise InputError("expected --folder or SONOPROBE_BACKUP_DIR")
        with progress("copying", 100) as advance:
            shown = 0

            def on_page(done: int, total: int) -> None:
                nonlocal shown
                percent = 100 * done // max(total, 1)
                advance(percent - shown)
                shown = percent

            file = settings.data_dir / FILE_NAME
            made = back_up(file, shelf, keep=keep or settings.backup_keep, on_page=on_page)
        typer.echo(str(made))
        errors.print(f"{len(backups_in(shelf))} backups are kept", highlight=False)


@app.command(name="restore")
def restore_backup(
    backup: Annotated[
        Path, typer.Argument(help="One backup, or a folder of them: the newest.", exists=True)
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put aside a catalog that is there.")
    ] = False,
) -> None:
    """Put a backup in the catalog's place; what was erased since the backup stays erased."""
    with explained():
        settings = read_settings()
        file = settings.data_dir / FILE_NAME
        chosen = next(iter(reversed(backups_in(backup))), backup)
        with owned(settings.data_dir):
            if file.exists() and not replace:
                raise InputError("the data folder has a catalog: --replace puts it aside")
            earlier = restore(chosen, file)
            open_catalog(settings.data_dir).close()  # brings an older schema up, and proves it
        typer.echo(f"restored {chosen.name}")
        if earlier is not None:
            errors.print(
                f"The earlier catalog is {earlier}: delete it when all is well, for no erasure "
                "reaches it there.",
                highlight=False,
                soft_wrap=True,
            )


@app.command()
def check(
    backup: Annotated[
        Path | None, typer.Option(help="Check this backup instead of the data folder.", exists=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Look over every page, vector, thumbnail and kept image; exit code 1 when one is damaged."""
    with explained():
        found = inspect((backup or read_settings().data_dir) / FILE_NAME)
    typer.echo(_as_json(found) if as_json else _as_text(found))
    if not found.is_sound:
        raise typer.Exit(1)


def _as_json(found: Inspection) -> str:
    counts = {"scans": found.scans, "collections": found.collections}
    counts["classifiers"] = found.classifiers
    said = {"sound": found.is_sound, "schema": SCHEMA_VERSION, **counts, "findings": found.findings}
    return json.dumps(said)


def _as_text(found: Inspection) -> str:
    whole = (
        f"schema {SCHEMA_VERSION}: {found.scans} scans in {found.collections} collections, "
        f"{found.classifiers} classifiers"
    )
    lines = [f"{kind}: {', '.join(where[:5])}" for kind, where in sorted(found.findings.items())]
    return "\n".join([whole, *(lines or ["nothing is damaged"])])


@app.command()
def expire() -> None:
    """Delete scans past their collection's retention now; a running service does so by itself."""
    with explained():
        catalog = open_catalog(read_settings().data_dir)
        try:
            removed = 0
            while receipts := catalog.expire():
                removed += sum(len(receipt.scans) for _, receipt in receipts)
            typer.echo(f"{removed} scans deleted")
        finally:
            catalog.close()


@app.command()
def export(
    collection: Annotated[str, typer.Argument(help="To be written.")],
    folder: Annotated[Path, typer.Argument(help="That is not there yet.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Write a collection as Parquet, also beside a running service."""
    with explained():
        catalog = open_catalog(read_settings().data_dir)
        try:
            owner = workspace_id_of(catalog, workspace)
            total = catalog.get_collection(owner, collection).scans
            with progress("exporting", total) as advance:
                scans = export_collection(
                    catalog, owner, collection, folder, on_scan=_steps(advance)
                )
        finally:
            catalog.close()
        typer.echo(f"{scans} scans exported")


@app.command(name="import")
def import_folder(
    folder: Annotated[Path, typer.Argument(help="Of an export.", exists=True, file_okay=False)],
    collection: Annotated[str, typer.Option(help="Created when there is none.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Read an exported collection; run it again after a break. The service must not run."""
    with explained():
        settings = read_settings()
        if not WORKSPACE_NAME.fullmatch(collection):
            raise InputError("expected a collection of 1 to 64 letters, digits, dots, dashes")
        # A running service would not know of the new scans: its index holds those of its start.
        with owned(settings.data_dir):
            catalog = open_catalog(settings.data_dir)
            try:
                owner = workspace_id_of(catalog, workspace)
                with progress("importing", 0) as advance:
                    done = import_collection(
                        catalog, owner, folder, collection, on_scan=_steps(advance)
                    )
            finally:
                catalog.close()
        typer.echo(f"{done.stored} stored, {done.known} known already")


def _steps(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """From "so many of all" to "so many more"."""
    before = 0

    def on_scan(done: int, _total: int) -> None:
        nonlocal before
        advance(done - before)
        before = done

    return on_scan
