"""The command line: serve, demo, keys, embed, openapi, and the commands of the room."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from service.app import create_app
from service.cli import (
    audit_commands,
    classifier_commands,
    data_commands,
    database_commands,
    erasure_commands,
    ingest_commands,
    key_commands,
    monitor_commands,
    policy_commands,
)
from service.cli import demo as steps
from service.cli.remote import (
    collection_commands,
    label_commands,
    operation_commands,
    outcome_commands,
    patient_commands,
    scan_commands,
    search_commands,
)
from service.cli.terminal import (
    AsJson,
    console,
    errors,
    explained,
    progress,
    scratch_service,
)
from service.observability import configure_logging
from service.server import serve as run_service
from service.settings import Settings, program_version, read_settings, unknown_variables
from sonoprobe_client import Client

# A traceback with local variables could print keys and labels.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)
app.add_typer(key_commands.app, name="keys")
app.add_typer(policy_commands.app, name="policy")
app.add_typer(data_commands.app)
app.add_typer(database_commands.app)
app.add_typer(database_commands.workspaces, name="workspace")
app.add_typer(ingest_commands.app)
app.add_typer(ingest_commands.pseudonyms, name="pseudonyms")
app.add_typer(classifier_commands.app, name="classifiers")
app.add_typer(monitor_commands.app)
app.add_typer(outcome_commands.app, name="outcomes")
app.add_typer(erasure_commands.app, name="erasures")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(collection_commands.app, name="collections")
app.add_typer(collection_commands.top)
app.add_typer(scan_commands.app, name="scans")
app.add_typer(search_commands.app)
app.add_typer(label_commands.app)
app.add_typer(patient_commands.app)
app.add_typer(operation_commands.app, name="operations")
app.add_typer(operation_commands.top)
EMBED_AT_ONCE = 32


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"sonoprobe {program_version()}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Few-shot classification and similarity search for ultrasound frames."""
    os.umask(0o077)  # whatever a command writes may hold patient data
    if context.invoked_subcommand == "serve":
        return  # it logs them
    for variable, nearest in unknown_variables().items():
        hint = f"; the nearest is {nearest}" if nearest else ""
        line = escape(f"unknown setting {variable}, ignored{hint}")
        errors.print(f"[yellow]warning[/yellow] {line}", highlight=False, soft_wrap=True)


@app.command()
def serve() -> None:
    """Run the service. Environment variables SONOPROBE_* set it up; see docs/settings.md."""
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
    repeats: Annotated[int, typer.Option(min=1, help="Random choices of labels.")] = 20,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the data here, in an empty or a new folder.")
    ] = None,
) -> None:
    """Upload frames, find similar ones and fit a classifier; on simulated frames by default."""
    configure_logging("WARNING")
    folder = images or steps.SAMPLES
    shots = labelled or (5 if images is None else 10)
    started = time.perf_counter()
    with scratch_service(keep) as (local, client):
        encoder = client.ready().encoder_id
        console.print(
            f"Service ready in {time.perf_counter() - started:.1f} s at {local.url}, "
            f"encoder {encoder}, key {local.key[:9]}... (of this run only)",
            highlight=False,
        )
        _run_demo(client, folder, shots, repeats, simulated=images is None)
    console.print(
        "\nServe it yourself: [bold]sonoprobe keys create --name me; sonoprobe serve[/bold]\n"
        "Console and API docs then at http://127.0.0.1:8000/console/ and /docs"
    )
    if keep is not None:
        console.print(
            "Look at this demo in the browser, at http://127.0.0.1:8000/console/, with\n"
            f"[bold]SONOPROBE_DATA_DIR={escape(str(keep))} SONOPROBE_REQUIRE_KEY=false "
            f"{escape(sys.executable)} -m service serve[/bold]",
            soft_wrap=True,
            highlight=False,
        )


def _run_demo(client: Client, folder: Path, shots: int, repeats: int, *, simulated: bool) -> None:
    examples = steps.find_examples(folder)
    started = time.perf_counter()
    with progress("embedding", len(examples)) as advance:
        done, stored = steps.upload(client, examples, on_done=advance)
    spent_s = time.perf_counter() - started
    kind = "simulated" if simulated else "given"
    console.print(
        f"Embedded and stored {done.sent} {kind} frames of {len({s.label for s in stored})} "
        f"classes in {spent_s:.1f} s ({done.sent / spent_s:.0f} per second), "
        f"{done.known} known already, {len(done.problems)} refused",
        highlight=False,
    )
    console.print(steps.search(client, stored), highlight=False)
    with progress("teaching", repeats) as advance:
        lines = steps.teach(client, stored, labelled=shots, repeats=repeats, on_done=advance)
    for line in lines:
        console.print(line, highlight=False)


@app.command()
def embed(
    files: Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Embed files without a running service; print one JSON object per file and line.

    With --json all in one array.
    """
    configure_logging("WARNING")
    failed = 0
    lines: list[dict[str, Any]] = []
    with scratch_service() as (_, client):
        for start in range(0, len(files), EMBED_AT_ONCE):
            batch = files[start : start + EMBED_AT_ONCE]
            answer = client.embed([path.read_bytes() for path in batch])
            for path, item in zip(batch, answer.items, strict=True):
                failed += item.problem is not None
                line = {"file": str(path), "encoder_id": answer.encoder_id, **item.document()}
                lines.append(line)
                if not as_json:
                    typer.echo(json.dumps(line))
    if as_json:
        typer.echo(json.dumps(lines))
    if failed:
        errors.print(f"[red]{failed} of {len(files)} files failed[/red]")
        raise typer.Exit(1)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the service."""
    document = create_app(Settings.model_construct()).openapi()
    typer.echo(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False))


if __name__ == "__main__":
    app()
