"""Commands for the audit log: verify, export, forget the digests of a workspace."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from service.access.audit.audit_archive import archive, write_now
from service.access.audit.audit_entries import AuditEvent
from service.access.audit.audit_heads import HeadsFile, read_heads
from service.access.audit.audit_moving import archived_in, line_of, move_out
from service.access.audit.audit_verification import Finding, Verification, verify
from service.access.keys import workspace_id_of
from service.catalog.audit.audit_place import store_of
from service.catalog.audit.audit_records import AuditStore
from service.catalog.audit.sqlite_audit import AUDIT_FILE, open_to_read
from service.catalog.ids import timestamp
from service.cli.audited import command_user
from service.cli.remote.operation_commands import entries
from service.cli.terminal import AsJson, catalog_at, errors, explained, show
from service.opening.catalog_opening import postgres_of
from service.settings import Settings, read_settings

app = typer.Typer(no_args_is_help=True, help="The audit log.")
app.command()(entries)
ENTRIES_AT_ONCE = 1000
Copy = Annotated[
    Path | None,
    typer.Option("--file", help=f"An {AUDIT_FILE}, such as that beside the backups.", exists=True),
]
_SAYS = {
    "changed": "entry {seq} is not the one that was written, or the one before it is not",
    "missing": "entries before {seq} are gone",
    "cut": "entry {seq} and what followed it are gone",
    "head": "entry {seq} differs from the head that was noted; all is as noted until "
    "{agrees_until}",
}


@app.command(name="verify")
def verify_log(
    heads: Annotated[
        list[Path] | None,
        typer.Option(
            "--heads",
            help="File with noted heads, such as audit-heads.jsonl or the log of the service, "
            "repeatable; default audit-heads.jsonl of the settings.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    copy: Copy = None,
    moved: Annotated[
        list[Path] | None,
        typer.Option(
            "--moved",
            help="File of entries that `move-out` has written, repeatable, oldest first; then "
            "the chains are verified from their first entry on.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify all chains; the exit code is 1 if an entry was changed, removed or cut off.

    A service may run meanwhile.
    """
    with explained():
        settings = read_settings()
        noted = [head for file in heads or () for head in read_heads(file)]
        if not heads:
            noted += HeadsFile(settings.heads_dir()).read()
        with _store(settings, copy) as store:
            results = verify(store, noted, archived_in(moved or ()))
    if as_json:
        chains = [asdict(result) | {"sound": result.is_sound} for result in results]
        sound = all(result.is_sound for result in results)
        typer.echo(json.dumps({"sound": sound, "chains": chains}))
    else:
        for result in results:
            _tell(result)
        if not noted:
            errors.print("no heads to compare with: a tail that was cut off stays unnoticed")
    if not all(result.is_sound for result in results):
        raise typer.Exit(1)


@app.command(name="export")
def export_log(
    workspace: Annotated[
        str | None, typer.Option(help="Name of one workspace; default all chains.")
    ] = None,
    after: Annotated[
        int, typer.Option(min=0, help="Number of the last entry of an earlier export.")
    ] = 0,
    copy: Copy = None,
    as_json: AsJson = False,
) -> None:
    """Print entries as JSON lines, oldest first: the entry, and the digest of the chain there.

    SHA-256 of the digest before and of the entry's canonical JSON (RFC 8785) is the digest. With
    --json the lines are the items of one array.
    """
    separator = "[" if as_json else ""
    with explained():
        settings = read_settings()
        chains = None
        if workspace is not None:
            with catalog_at(settings) as catalog:
                chains = [workspace_id_of(catalog, workspace)]
        with _store(settings, copy) as store:
            for chain in chains or [head.chain for head in store.heads()]:
                reached = after
                while entries := store.read(chain, after=reached, limit=ENTRIES_AT_ONCE):
                    for entry in entries:
                        typer.echo(separator + line_of(entry), nl=not as_json)
                        separator = "," if as_json else ""
                    reached = entries[-1].seq
        if as_json:
            typer.echo("[]" if separator == "[" else "]")


@app.command(name="move-out")
def move_out_entries(
    file: Annotated[Path, typer.Argument(help="New file for the entries; it must not exist.")],
    before: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Day (UTC) of the first that stays.")
    ],
    as_json: AsJson = False,
) -> None:
    """Move entries from before a day into a file of JSON lines, as `export` prints them.

    The chains go on from there and still verify. Keep the file: `verify --moved FILE` reads it. A
    copy beside the backups keeps what it has. A service may run meanwhile. In PostgreSQL only the
    owner of the tables may, with the own address in SONOPROBE_CATALOG.
    """
    with explained():
        settings = read_settings()
        with _store(settings, None) as store:
            if settings.backup_dir is not None:  # the copy must not miss what goes
                archive(store, settings.backup_dir)
            counts = move_out(store, timestamp(before.replace(tzinfo=UTC)), file, command_user())
            HeadsFile(settings.heads_dir()).note(store.heads())
        lines = [f"{chain}: {count} entries moved" for chain, count in counts.items()]
        show({"moved": counts}, lines or ["no entry is older"], as_json=as_json)


@app.command(name="forget-digests")
def forget_digests(
    workspace: Annotated[str, typer.Option(help="Name of the workspace.")],
    as_json: AsJson = False,
) -> None:
    """Destroy the key of the digests of a workspace, for ever; a new one is made.

    No entry that was written before can be matched with a patient or a study afterwards. The chain
    stays as it is.
    """
    with explained():
        settings = read_settings()
        with catalog_at(settings) as catalog, closing(store_of(catalog)) as store:
            chain = workspace_id_of(catalog, workspace)
            for outcome in ("begun", "ok"):
                event = AuditEvent(chain, "audit.forget-digests", command_user(), outcome)
                write_now(store, event)
                if outcome == "begun":
                    store.destroy_digest_key(chain)
        told = "the key of the digests is destroyed; that of the copy beside the backups goes"
        show({"destroyed": True}, [told, "with the next backup"], as_json=as_json)


@contextmanager
def _store(settings: Settings, copy: Path | None) -> Iterator[AuditStore]:
    """The log of the settings, or a copy, without opening the catalog in a file."""
    if copy is not None or settings.catalog is None:
        with closing(open_to_read(copy or settings.data_dir / AUDIT_FILE)) as store:
            yield store
        return
    catalog = postgres_of(settings)
    try:
        yield store_of(catalog)
    finally:
        catalog.close()


def _tell(result: Verification) -> None:
    unconfirmed = result.entries and result.confirmed < result.last
    tail = f"confirmed by noted heads until {result.confirmed}" if unconfirmed else "all confirmed"
    typer.echo(f"{result.chain}: {result.entries} entries, {tail}")
    if result.moved:
        typer.echo(f"  entries until {result.moved} are in files (--moved reads them as well)")
    for first, last in result.restored:
        typer.echo(f"  a restore lost entries {first} to {last}, as entry {first} says")
    for finding in result.findings:
        typer.echo(f"  {_sentence(finding)}")


def _sentence(finding: Finding) -> str:
    return _SAYS[finding.kind].format(**asdict(finding))
