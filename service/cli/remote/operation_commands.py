"""Commands for the operations of a running service, its limits and its audit log."""

from typing import Annotated

import typer

from service.cli.remote.answer_rows import limit_row, operation_row
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show
from sonoprobe_client.models import AuditEntryAnswer

app = typer.Typer(no_args_is_help=True, help="Operations of a running service.")
top = typer.Typer()
OperationId = Annotated[str, typer.Argument(help="Id of the operation.")]


@app.command("list")
def list_operations(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """List the operations, the newest first."""
    with client_at(url, key) as client:
        found = list(client.operations())
        show([o.document() for o in found], map(operation_row, found), as_json=as_json)


@app.command("show")
def show_operation(
    operation_id: OperationId, as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None
) -> None:
    """Show one operation; with --json its result too."""
    with client_at(url, key) as client:
        found = client.operation(operation_id)
        show(found.document(), [operation_row(found)], as_json=as_json)


@app.command()
def wait(
    operation_id: OperationId,
    timeout_s: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 3600.0,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Wait until an operation has ended; the exit code is 1 if it failed."""
    with client_at(url, key) as client:
        found = client.wait(operation_id, timeout_s=timeout_s)
        show(found.document(), [operation_row(found)], as_json=as_json)


@app.command()
def cancel(
    operation_id: OperationId, as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None
) -> None:
    """Ask an operation to stop."""
    with client_at(url, key) as client:
        found = client.cancel(operation_id)
        show(found.document(), [operation_row(found)], as_json=as_json)


@top.command()
def usage(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """Show how much of the limits the key has used; with the scope admin those of the workspace."""
    with client_at(url, key) as client:
        found = client.usage()
        limits = [*found.key, *(found.workspace or ())]
        show(found.document(), map(limit_row, limits), as_json=as_json)


@top.command()
def whoami(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """Show who the key is to the service, and what it allows until when."""
    with client_at(url, key) as client:
        found = client.me()
        lines = [f"{found.kind}\t{found.key_id or '-'}\t{found.name or '-'}"]
        lines += [f"workspace\t{found.workspace}", f"scopes\t{' '.join(found.scopes)}"]
        for kind, names in (("collections", found.collections), ("classifiers", found.classifiers)):
            if names is not None:
                lines.append(f"{kind}\t{' '.join(names)}")
        show(found.document(), [*lines, f"until\t{found.expires_at or 'revoked'}"], as_json=as_json)


def entries(
    action: Annotated[str | None, typer.Option(help="Such as scans.add.")] = None,
    author: Annotated[str | None, typer.Option(help="Id of a key or token.")] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, refused or failed.")] = None,
    since: Annotated[str | None, typer.Option(help="Time of the oldest.")] = None,
    until: Annotated[str | None, typer.Option(help="Time of the newest.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 100,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """List entries of the audit log of a running service, the newest first; scope audit.read."""
    with client_at(url, key) as client:
        pages = client.audit(
            action=action, author=author, outcome=outcome, since=since, until=until
        )
        found = [entry for entry, _ in zip(pages, range(limit), strict=False)]
        show([e.document() for e in found], map(_entry_row, found), as_json=as_json)


def _entry_row(entry: AuditEntryAnswer) -> str:
    who = f"{entry.who.kind} {entry.who.id}"
    return "\t".join(filter(None, (entry.at, entry.action, who, entry.outcome, entry.code or "")))
