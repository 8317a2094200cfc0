"""Commands for erasures in a catalog on PostgreSQL: replay them after a restore, vacuum."""

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.access.audit.audit_archive import mark_restored
from service.access.audit.audit_heads import HeadsFile
from service.catalog.audit.audit_place import store_of
from service.catalog.erasure_ledger import LEDGER, Erasure, ErasureLedger
from service.cli.audited import audited, command_user
from service.cli.terminal import AsJson, errors, explained, show
from service.errors import InputError
from service.opening.catalog_opening import postgres_of
from service.settings import read_settings

app = typer.Typer(no_args_is_help=True, help="Erasures in a catalog on PostgreSQL.")
Folders = Annotated[
    list[Path] | None,
    typer.Option(
        "--ledger",
        help=f"Folder with {LEDGER}, one per replica; default SONOPROBE_BACKUP_DIR.",
        exists=True,
        file_okay=False,
    ),
]


@app.command()
def replay(
    ledger: Folders = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase from a restored database what was erased after the time to which it was restored.

    Run it before the service starts on the restored database, and again if it was interrupted.
    """
    with explained():
        settings = read_settings()
        folders = ledger or ([settings.backup_dir] if settings.backup_dir else [])
        if not folders:
            raise InputError("expected --ledger or SONOPROBE_BACKUP_DIR")
        erasures = _read(folders)
        catalog = postgres_of(settings)
        try:
            if not dry_run and settings.audit:
                mark_restored(store_of(catalog), HeadsFile(settings.heads_dir()), command_user())
            with nullcontext() if dry_run else audited(settings, catalog, "erasures.replay"):
                done = catalog.replay_erasures(erasures, dry_run=dry_run)
            if not dry_run:
                catalog.settle_erasures()
                catalog.finish_erasures()
            owed = catalog.erasures_unvacuumed
        finally:
            catalog.close()
        if as_json:
            typer.echo(json.dumps(asdict(done) | {"dry_run": dry_run, "unvacuumed": owed}))
            return
        verb = "would be erased" if dry_run else "erased"
        typer.echo(
            f"{done.unknown} of {len(erasures)} erasures were not known; {done.scans} scans, "
            f"{done.examples} examples, {done.collections} collections, {done.classifiers} "
            f"classifiers and the images of {done.images} collections {verb}"
        )
        if done.foreign:
            errors.print(
                f"{done.foreign} erasures are of workspaces that the database does not have",
                highlight=False,
            )
        _tell_owed(owed)


@app.command()
def vacuum(
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="Write tables and indexes anew, which locks each meanwhile and needs its size "
            "in free space: then no remains are left in free places of their pages.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove erased rows from the files of the database, as a running service does by itself."""
    with explained():
        catalog = postgres_of(read_settings())
        try:
            owed = catalog.finish_erasures(rewrite=rewrite)
        finally:
            catalog.close()
        told = "vacuumed" if not owed else "not all is vacuumed"
        show({"unvacuumed": owed}, [told], as_json=as_json)
        _tell_owed(owed)
        if owed:
            raise typer.Exit(1)


def _read(folders: list[Path]) -> list[Erasure]:
    """The erasures of all ledgers, each once. Raises InputError, DamagedBackup, CatalogFailure."""
    found: dict[str, Erasure] = {}
    for folder in folders:
        try:
            found |= {erasure.erasure_id: erasure for erasure in ErasureLedger(folder).read()}
        except FileNotFoundError as error:
            raise InputError(f"there is no {LEDGER} in one of the folders") from error
    return sorted(found.values(), key=lambda erasure: erasure.erased_at)


def _tell_owed(owed: int) -> None:
    if owed:
        errors.print(
            f"The rows of {owed} erasures are still in the files: another transaction may see "
            "them, or a replica vacuums now. A running service tries again.",
            highlight=False,
            soft_wrap=True,
        )
