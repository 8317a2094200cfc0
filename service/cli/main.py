"""The command line: serve, demo, keys, embed, ingest, openapi, classifiers, and ``cli_data``'s."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from service.access.keys import DEFAULT_WORKSPACE, create_key, workspace_id_of
from service.app import create_app
from service.catalog.interface import Catalog
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli import classifier_commands
from service.cli import data_commands as cli_data
from service.cli import demo as steps
from service.cli.ingest import image_files
from service.cli.ingest import ingest as send_folder
from service.cli.ingest_report import Report
from service.cli.terminal import Key, Url, console, errors, explained, progress
from service.client.client import Client
from service.errors import InputError
from service.observability import configure_logging
from service.server import local_service
from service.server import serve as run_service
from service.settings import Settings, program_version, read_settings

# A traceback with local variables could print keys and labels.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
keys = typer.Typer(no_args_is_help=True, help="API keys of the catalog in SONOPROBE_DATA_DIR.")
app.add_typer(keys, name="keys")
app.add_typer(cli_data.app)
app.add_typer(classifier_commands.app, name="classifiers")
EMBED_AT_ONCE = 32
DEMO_QUERIES = 200
Workspace = Annotated[str, typer.Option(help="Tenant that the key opens.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sonoprobe {program_version()}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    """Few-shot classification and similarity search for ultrasound frames."""


@app.command()
def serve() -> None:
    """Run the service; settings come from SONOPROBE_* (docs/settings.md)."""
    with explained():
        settings = read_settings()
        configure_logging(settings.log_level)
        if not run_service(settings):
            raise typer.Exit(1)


@app.command()
def demo(
    images: Annotated[
        Path | None,
        typer.Option(help="Folder with one sub-folder per class.", exists=True, file_okay=False),
    ] = None,
    labelled: Annotated[
        int, typer.Option(min=0, help="Labelled frames per class; 0 = half of the samples, or 10.")
    ] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Random choices of labelled frames.")] = 20,
) -> None:
    """Upload frames, search similar ones, teach a classifier; on simulated frames by default."""
    configure_logging("WARNING")
    folder = images or steps.SAMPLES
    shots = labelled or (5 if images is None else 10)
    with explained(), tempfile.TemporaryDirectory() as scratch:
        settings = read_settings().model_copy(update={"data_dir": Path(scratch), "drain_s": 0.0})
        started = time.perf_counter()
        with local_service(settings) as local, Client(local.url, key=local.key) as client:
            encoder = client.ready()["encoder_id"]
            console.print(
                f"Service ready in {time.perf_counter() - started:.1f} s at {local.url}, "
                f"encoder {encoder}, key {local.key[:9]}... (of this run only)",
                highlight=False,
            )
            _run_demo(client, folder, shots, repeats, simulated=images is None)
    console.print(
        "\nServe it yourself: [bold]sonoprobe keys create --name me; sonoprobe serve[/bold]\n"
        "API docs then at http://127.0.0.1:8000/docs"
    )


def _run_demo(client: Client, folder: Path, shots: int, repeats: int, *, simulated: bool) -> None:
    found = steps.find_examples(folder)
    started = time.perf_counter()
    with progress("embedding", len(found)) as advance:
        done, stored = steps.upload(client, found, on_done=advance)
    spent_s = time.perf_counter() - started
    kind = "simulated" if simulated else "given"
    console.print(
        f"Embedded and stored {done.sent} {kind} frames of {len({s.label for s in stored})} "
        f"classes in {spent_s:.1f} s ({done.sent / spent_s:.0f} per second), "
        f"{done.known} known already, {len(done.problems)} refused",
        highlight=False,
    )
    near = steps.search(client, stored, queries=DEMO_QUERIES)
    label, hits = near.example
    shown = ", ".join(f"{name} {score:.2f}" for name, score in hits)
    console.print(
        f"Searched {near.queries} of them among all other groups: best hit of the same class "
        f"{near.same_class:.0%} (chance {near.chance:.0%}); a {label} found: {shown}",
        highlight=False,
    )
    with progress("teaching", repeats) as advance:
        taught = steps.teach(client, stored, labelled=shots, repeats=repeats, on_done=advance)
    console.print(
        f"Taught {taught.classes} classes from {taught.labelled_per_class} labelled frames each: "
        f"balanced accuracy [bold]{100 * taught.balanced_accuracy:.1f} ± "
        f"{100 * taught.deviation:.1f} %[/bold] on the {taught.judged} frames of other groups "
        f"(mean ± SD of {taught.repeats} random choices; chance {100 / taught.classes:.0f} %)",
        highlight=False,
    )
    if taught.reported is not None and taught.reported_interval is not None:
        low, high = taught.reported_interval
        console.print(
            f"The first classifier says of itself, by cross-validation on its examples alone: "
            f"{100 * taught.reported:.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %)",
            highlight=False,
        )


@contextmanager
def _catalog() -> Iterator[Catalog]:
    catalog = open_catalog(read_settings().data_dir)
    try:
        yield catalog
    finally:
        catalog.close()


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="Who will use it.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    with explained(), _catalog() as catalog:
        record, token = create_key(catalog, name, workspace)
        errors.print(f"key {record.key_id} for workspace {workspace}; shown once:")
        typer.echo(token)


@keys.command("list")
def keys_list(workspace: Workspace = DEFAULT_WORKSPACE) -> None:
    """List keys, revoked ones included."""
    with explained(), _catalog() as catalog:
        for key in catalog.list_keys(workspace_id_of(catalog, workspace)):
            state = f"revoked {key.revoked_at}" if key.revoked_at else "active"
            typer.echo(f"{key.key_id}\t{key.name}\t{key.created_at}\t{state}")


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="As listed.")],
    workspace: Workspace = DEFAULT_WORKSPACE,
) -> None:
    """Revoke a key at once and for ever."""
    with explained(), _catalog() as catalog:
        owner_id = workspace_id_of(catalog, workspace)
        typer.echo(f"revoked {catalog.revoke_key(owner_id, key_id).key_id}")


@app.command()
def embed(
    files: Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)],
) -> None:
    """Embed files on this machine, without a server; one JSON object per line and file."""
    configure_logging("WARNING")
    failed = 0
    with explained(), tempfile.TemporaryDirectory() as scratch:
        settings = read_settings().model_copy(update={"data_dir": Path(scratch), "drain_s": 0.0})
        with local_service(settings) as local, Client(local.url, key=local.key) as client:
            for start in range(0, len(files), EMBED_AT_ONCE):
                part = files[start : start + EMBED_AT_ONCE]
                answer = client.embed([path.read_bytes() for path in part])
                for path, item in zip(part, answer["items"], strict=True):
                    failed += "problem" in item
                    line = {"file": str(path), "encoder_id": answer["encoder_id"], **item}
                    typer.echo(json.dumps(line))
    if failed:
        errors.print(f"[red]{failed} of {len(files)} files failed[/red]")
        raise typer.Exit(1)


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(help="Images, at any depth.", exists=True, file_okay=False)
    ],
    collection: Annotated[str, typer.Option(help="Created when there is none.")],
    url: Url = "http://127.0.0.1:8000",
    key: Key = None,
    label_task: Annotated[
        str | None, typer.Option(help="Label each image of this task by its sub-folder.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Requests at the same time.")] = 4,
    report: Annotated[
        Path | None,
        typer.Option(help="What became of each file, .csv or .jsonl; a later run goes on from it."),
    ] = None,
) -> None:
    """Send a folder to a running service; run it again after a break, nothing is sent twice."""
    with explained(), Client(url, key=key) as client:
        files = image_files(folder)
        if not files:
            raise InputError("expected a folder that holds images, found none")
        metadata = [_labels(path, folder, label_task) for path in files]
        if collection not in {found["name"] for found in client.collections()}:
            client.create_collection(collection)
        with progress("sending", len(files)) as advance:
            done = send_folder(
                client,
                collection,
                files,
                metadata,
                workers=workers,
                report=None if report is None else Report(report),
                on_done=advance,
            )
    for path, why in done.problems:
        said = escape(f"{path}: {why}")
        errors.print(f"[red]refused[/red] {said}", highlight=False, soft_wrap=True)
    passed_over = f", {done.skipped} settled before" if done.skipped else ""
    typer.echo(
        f"{done.sent} stored, {done.known} known already, {len(done.problems)} refused"
        + passed_over
    )
    if done.problems:
        raise typer.Exit(1)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the service."""
    document = create_app(Settings.model_construct()).openapi()
    typer.echo(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False))


def _labels(path: Path, folder: Path, task: str | None) -> dict[str, Any]:
    if task is None or path.parent == folder:
        return {}
    return {"labels": {task: path.relative_to(folder).parts[0]}}


if __name__ == "__main__":
    app()
