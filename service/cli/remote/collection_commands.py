"""Commands for the collections of a running service, their classes and their map."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.remote.answer_rows import collection_row, label_counts
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, errors, show
from service.errors import InputError
from sonoprobe_client.bodies import CollectionChangeBody

app = typer.Typer(no_args_is_help=True, help="Collections of a running service.")
top = typer.Typer()
Name = Annotated[str, typer.Argument(help="Name of the collection.")]


@app.command("list")
def list_collections(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """List the collections with how many scans each has."""
    with client_at(url, key) as client:
        found = list(client.collections())
        show([c.document() for c in found], map(collection_row, found), as_json=as_json)


@app.command("show")
def show_collection(
    name: Name, as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None
) -> None:
    """Show a collection and how many scans each class of each task has."""
    with client_at(url, key) as client:
        found, facets = client.collection(name), client.facets(name)
        document = found.document() | {"facets": facets.document()}
        show(document, [collection_row(found), *label_counts(facets)], as_json=as_json)


@app.command("create")
def create_collection(
    name: Name,
    description: Annotated[str, typer.Option(help="What it is for; no patient data.")] = "",
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="Keep the pixels, for heat maps of scans.")
    ] = False,
    retention_days: Annotated[
        float | None, typer.Option(min=0, help="Days after which scans are deleted.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Create a collection for the encoder of the service."""
    with client_at(url, key) as client:
        made = client.create_collection(
            name, description=description, keep_images=keep_images, retention_days=retention_days
        )
        show(made.document(), [collection_row(made)], as_json=as_json)


@app.command("change")
def change_collection(
    name: Name,
    description: Annotated[str | None, typer.Option(help="No patient data.")] = None,
    keep_images: Annotated[
        bool | None,
        typer.Option("--keep-images/--drop-images", help="Keep pixels; drop deletes those kept."),
    ] = None,
    retention_days: Annotated[
        float | None, typer.Option(min=0, help="Days after which scans are deleted; 0: never.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before pixels are lost.")] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Change the description of a collection, whether it keeps images, or for how long scans."""
    changes: CollectionChangeBody = {}
    if description is not None:
        changes["description"] = description
    if keep_images is not None:
        changes["keep_images"] = keep_images
    if retention_days is not None:
        changes["retention_days"] = retention_days or None
    with client_at(url, key) as client:
        if not changes:
            raise InputError("expected something to change")
        is_loss = keep_images is False and not yes
        if is_loss and not typer.confirm("delete the kept images for ever?", err=True):
            raise typer.Exit(1)
        made = client.patch_collection(name, changes)
        show(made.document(), [collection_row(made)], as_json=as_json)


@app.command("delete")
def delete_collection(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Nothing takes a deletion back.")
    ] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Delete a collection with its scans."""
    with client_at(url, key) as client:
        scans = client.collection(name).scans
        if not yes and not typer.confirm(f"delete {scans} scans for ever?", err=True):
            raise typer.Exit(1)
        gone = client.delete_collection(name)
        show(gone.document(), [f"{gone.scans} scans deleted"], as_json=as_json)


@app.command("rename-label")
def rename_label(
    name: Name,
    task: Annotated[str, typer.Argument(help="Label task.")],
    old: Annotated[str, typer.Argument(help="Class as it is.")],
    new: Annotated[str, typer.Argument(help="Class as it shall be.")],
    merge: Annotated[bool, typer.Option("--merge", help="The new name may exist already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Give a class another name in all scans at once."""
    with client_at(url, key) as client:
        done = client.rename_label(name, task, old, new, merge=merge, dry_run=dry_run)
        verb = "would be renamed" if done.dry_run else "renamed"
        show(done.document(), [f"{done.renamed} labels {verb}"], as_json=as_json)


@app.command()
def agreement(
    name: Name,
    task: Annotated[str, typer.Argument(help="Task of one reader.")],
    other_task: Annotated[str, typer.Argument(help="Task of the other reader.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Measure how far two readers agree."""
    with client_at(url, key) as client:
        found = client.agreement(name, task, other_task)
        kappa = found.kappa
        measured = "no kappa: both used one class"
        if kappa is not None:
            measured = f"kappa {kappa.value:.3f} ({kappa.low:.3f} to {kappa.high:.3f})"
        line = f"{found.scans} scans, {found.agreed:.1%} with the same label, {measured}"
        show(found.document(), [line], as_json=as_json)


@top.command("map")
def map_collection(
    name: Name,
    task: Annotated[str | None, typer.Option(help="Task whose labels are given.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Scans at most.")] = 20_000,
    out: Annotated[
        Path | None, typer.Option(help="New CSV: scan_id, x, y, label. Without: as a table.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Place the scans of a collection on a plane, by principal components."""
    with client_at(url, key) as client:
        found = client.map(name, task=task, limit=limit)
    rows = zip(found.scan_ids, found.x, found.y, found.labels, strict=True)
    lines = [f"{scan_id},{x},{y},{_quoted(label)}" for scan_id, x, y, label in rows]
    table = ["scan_id,x,y,label", *lines]
    if out is not None:
        with out.open("x", encoding="utf-8") as file:
            file.write("\n".join(table) + "\n")
        table = [f"wrote {len(lines)} of {found.total} scans"]
    show(found.document(), table, as_json=as_json)
    errors.print(
        f"both axes have {sum(found.explained or []):.1%} of the variance", highlight=False
    )


def _quoted(label: str | None) -> str:
    """A field of a CSV file."""
    text = label or ""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text
