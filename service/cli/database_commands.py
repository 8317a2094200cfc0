"""Commands for a catalog in PostgreSQL: migrate, copy, and the workspaces of its shards."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.access.keys import DEFAULT_WORKSPACE, require_workspace_name, workspace_id_of
from service.access.workspace_registry import WorkspaceRegistry
from service.catalog.audit.audit_copy import copy_chains
from service.catalog.audit.sqlite_audit import AUDIT_FILE, open_to_read
from service.catalog.data_folder import owned
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, open_catalog
from service.cli.audited import audited
from service.cli.remote.answer_rows import operation_row
from service.cli.terminal import (
    AsJson,
    Key,
    Server,
    catalog_at,
    client_at,
    errors,
    explained,
    show,
)
from service.errors import InputError, InvalidSettings, NotSupported
from service.jobs.job_requests import WorkspaceDeletion
from service.opening.catalog_opening import postgres_of, with_driver
from service.settings import Settings, read_settings

if TYPE_CHECKING:  # psycopg is an extra
    from service.catalog.postgres.postgres_catalog import PostgresCatalog
    from service.catalog.postgres.shards.workspace_move import OnStep

app = typer.Typer()
workspaces = typer.Typer(
    no_args_is_help=True, help="Workspaces of the catalog, and the databases where they are."
)
FOUND_AT = "directory"  # what an operator sees of the shard without a name
TOLD_EVERY = 10_000  # rows
Name = Annotated[str, typer.Argument(help="Name of the workspace.")]


@app.command()
def migrate(
    service_role: Annotated[
        str | None,
        typer.Option(
            help="Role of the service, which then may use the tables and not change them."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create or update the tables in SONOPROBE_CATALOG and SONOPROBE_SHARDS, as their owner.

    Several may run at the same time. Replicas refuse to start over tables of another version.
    """
    with explained(), with_driver():
        from service.catalog.postgres.shards.shard_migration import migrate_all

        settings = read_settings()
        url = _required_url(settings)
        done = migrate_all(url, settings.shard_urls(), service_role=service_role)
    states = {n or FOUND_AT: "migrated" if new else "up to date" for n, new in done.items()}
    lines = [f"{name}: {state}" for name, state in states.items()]
    if service_role is not None:
        lines.append(f"{service_role} may use the tables")
    show(states, lines, as_json=as_json)


@app.command()
def copy(
    source: Annotated[
        Path,
        typer.Option(
            "--from", help="Data folder that no service uses.", exists=True, file_okay=False
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(help="Address of the empty database; default SONOPROBE_CATALOG."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a whole catalog from a data folder into PostgreSQL and compare both.

    Run it again to continue. Nobody can use the database before the end.
    """
    with explained(), with_driver():
        from service.catalog.audit.postgres_audit import PostgresAudit
        from service.catalog.postgres.postgres_database import PostgresDatabase
        from service.catalog.postgres.shards.catalog_copy import copy_catalog

        settings = read_settings()
        url = to or _required_url(settings)
        if not (source / FILE_NAME).is_file():
            raise InputError("the folder has no catalog")
        with owned(source):
            open_catalog(source, is_owner=True).close()  # migrates one of release 0.1.0
            database = PostgresDatabase(url, settings.shard_urls(), may_arrive=True)
            try:
                if (source / AUDIT_FILE).is_file():  # first: the other copy opens the database
                    with closing(open_to_read(source / AUDIT_FILE)) as log:
                        copy_chains(log, PostgresAudit(database))
                with _told() as on_step:
                    rows = copy_catalog(source / FILE_NAME, database, on_step=on_step)
            finally:
                database.close()
    lines = [f"{table}\t{count}" for table, count in rows.items()]
    show(rows, [*lines, "copied and compared"], as_json=as_json)


@workspaces.command("create")
def create_workspace(
    name: Name,
    shard: Annotated[
        str | None, typer.Option(help="Database of SONOPROBE_SHARDS; default the directory.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create a workspace; `sonoprobe keys create` lets somebody in.

    With --server the key of its administrator is printed once.
    """
    if server is not None:
        with client_at(server, key) as client:
            if shard is not None:
                raise InputError("expected no --shard with --server: the operator chooses it here")
            answer = client.create_workspace(name)
            errors.print(f"workspace {name}, key {answer.key.key_id}; shown once:")
            show(answer.document(), [answer.secret], as_json=as_json)
            return
    with explained():
        require_workspace_name(name)
        settings = read_settings()
        action = "workspace.create"
        if settings.catalog is None and shard is None:
            with catalog_at(settings) as catalog, audited(settings, catalog, action) as names:
                names["workspace"] = [name]
                made = catalog.ensure_workspace(name)
        else:
            with (
                _shared_catalog(settings, "workspace create --shard") as shared,
                audited(settings, shared, action) as names,
            ):
                names["workspace"] = [name]
                made = shared.create_workspace(name, _shard(shard))
        document = {"workspace_id": made.workspace_id, "name": made.name}
        show(document, ["\t".join(document.values())], as_json=as_json)


@workspaces.command("list")
def list_workspaces(as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """List all workspaces, oldest first, and where each is; a server does not tell where."""
    if server is not None:
        with client_at(server, key) as client:
            found = list(client.list_workspaces())
            lines = ["\t".join((w.workspace_id, w.name, w.status)) for w in found]
            show([w.document() for w in found], lines, as_json=as_json)
            return
    with explained():
        settings = read_settings()
        if settings.catalog is None:
            with catalog_at(settings) as catalog:
                placed = [(workspace, "") for workspace in catalog.list_workspaces()]
        else:
            with _shared_catalog(settings, "workspace list") as shared:
                placed = list(shared.placed_workspaces())
    rows = []
    for workspace, shard in placed:
        place = "file" if settings.catalog is None else shard or FOUND_AT
        fields = {"workspace_id": workspace.workspace_id, "name": workspace.name}
        rows.append(fields | {"place": place, "status": workspace.status})
    show(rows, ["\t".join(row.values()) for row in rows], as_json=as_json)


@workspaces.command("suspend")
def suspend_workspace(
    name: Name, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """Refuse all keys of a workspace at once and let its operations wait; its data stays."""
    if server is not None:
        with client_at(server, key) as client:
            done = client.suspend_workspace(name)
            show(done.document(), [f"suspended {name}"], as_json=as_json)
            return
    with explained():
        _change_here(name, "workspace.suspend", WorkspaceRegistry.suspend)
        show({"name": name, "status": "suspended"}, [f"suspended {name}"], as_json=as_json)


@workspaces.command("resume")
def resume_workspace(
    name: Name, as_json: AsJson = False, server: Server = None, key: Key = None
) -> None:
    """End a suspension."""
    if server is not None:
        with client_at(server, key) as client:
            done = client.resume_workspace(name)
            show(done.document(), [f"resumed {name}"], as_json=as_json)
            return
    with explained():
        _change_here(name, "workspace.resume", WorkspaceRegistry.resume)
        show({"name": name, "status": "active"}, [f"resumed {name}"], as_json=as_json)


def _change_here(
    name: str, action: str, change: Callable[[WorkspaceRegistry, str], object]
) -> None:
    """Change a workspace in the catalog of the settings, with an entry in the audit log."""
    settings = read_settings()
    with catalog_at(settings) as catalog, audited(settings, catalog, action) as names:
        change(WorkspaceRegistry(catalog), name)
        names["workspace"] = [name]


@workspaces.command("delete")
def delete_workspace(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Nothing takes a deletion back.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Delete a workspace with everything in it. Its keys are unknown at once.

    A running service deletes the data, or the next one that starts; the operation has the receipt.
    """
    if server is not None:
        with client_at(server, key) as client:
            if not yes:
                held = client.workspace(name)
                _require_consent(held.scans, held.classifiers)
            begun = client.delete_workspace(name)
            show(begun.document(), [operation_row(begun)], as_json=as_json)
            return
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog:
            registry = WorkspaceRegistry(catalog)
            _, contents = registry.get(name)
            if not yes:
                _require_consent(contents.scans, contents.classifiers)
            with audited(settings, catalog, "workspace.delete") as names:
                workspace, contents = registry.begin_deletion(name)
                names["workspace"] = [name]
                request = WorkspaceDeletion(workspace.workspace_id, name, **asdict(contents))
                operator_id = workspace_id_of(catalog, DEFAULT_WORKSPACE)
                operation = catalog.create_operation(operator_id, request.kind, request.to_json())
                names["operation"] = [operation.operation_id]
        told = f"{operation.operation_id}\tof the workspace {DEFAULT_WORKSPACE}"
        show({"operation_id": operation.operation_id}, [told], as_json=as_json)


def _require_consent(scans: int, classifiers: int) -> None:
    """Raises typer.Exit: nobody says yes."""
    if not typer.confirm(f"delete {scans} scans and {classifiers} classifiers for ever?", err=True):
        raise typer.Exit(1)


@workspaces.command("move")
def move(
    name: Name,
    to: Annotated[str, typer.Option(help="Name in SONOPROBE_SHARDS, or directory.")],
    wait_s: Annotated[
        float, typer.Option(min=0, help="Wait for running operations of the workspace, seconds.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Move a workspace to another database while replicas serve it; it can only be read meanwhile.

    Run it again to continue after a failure. A move to where the workspace is gives up an earlier
    one.
    """
    with explained(), with_driver():
        from service.catalog.postgres.shards.workspace_move import move_workspace

        settings = read_settings()
        with (
            _shared_catalog(settings, "workspace move") as shared,
            audited(settings, shared, "workspace.move") as names,
            _told() as on_step,
        ):
            names["workspace"] = [name]
            rows = move_workspace(shared, name, _shard(to), on_step=on_step, wait_s=wait_s)
        told = f"{rows} rows moved" if rows else "nothing to move"
        show({"rows": rows}, [told], as_json=as_json)


def _shard(name: str | None) -> str:
    return "" if name in (None, FOUND_AT) else str(name)


def _required_url(settings: Settings) -> str:
    url = settings.catalog_url()
    if url is None:
        raise InvalidSettings("SONOPROBE_CATALOG: expected postgresql://..., got nothing")
    return url


@contextmanager
def _shared_catalog(settings: Settings, command: str) -> Iterator["PostgresCatalog"]:
    if settings.catalog is None:
        raise NotSupported(f"{command} needs PostgreSQL, and SONOPROBE_CATALOG names none")
    catalog = postgres_of(settings)
    try:
        yield catalog
    finally:
        catalog.close()


@contextmanager
def _told() -> Iterator["OnStep"]:
    """Say now and then on standard error how far the rows are."""
    done: Counter[str] = Counter()

    def on_step(what: str, rows: int) -> None:
        before = done[what]
        done[what] += rows
        if before // TOLD_EVERY != done[what] // TOLD_EVERY:
            errors.print(f"{what}: {done[what]} rows", highlight=False)

    yield on_step
