"""The command line of classifiers: fit, list, predict, evaluate, export, import, publish."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.ingest import ingest
from service.cli.labelled_files import LabelledFile, labelled_files
from service.cli.terminal import Key, Url, errors, explained, progress
from service.client.client import ApiError, Client
from service.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Classifiers of a running service.")
LOCAL = "http://127.0.0.1:8000"
TOO_MUCH = frozenset({"too_many_items", "upload_too_large"})
PREDICTED_AT_ONCE = 32

Name = Annotated[str, typer.Argument(help="Of the classifier.")]
Labelled = Annotated[
    Path,
    typer.Argument(
        help="Folder with one sub-folder per class, or CSV: path, label[, subject_id, study_id].",
        exists=True,
    ),
]
Stored = Annotated[
    str | None,
    typer.Option(
        help="Store the images in this collection first: for more than one request holds."
    ),
]
Version = Annotated[int | None, typer.Option(min=1, help="Instead of the published one.")]


@contextmanager
def _service(url: str, key: str | None) -> Iterator[Client]:
    with explained(), Client(url, key=key) as client:
        yield client


@app.command()
def fit(
    name: Name,
    source: Labelled,
    collection: Stored = None,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Fit a classifier from labelled images, and say how good it is."""
    with _service(url, key) as client:
        files = labelled_files(source)
        if collection is None:
            images = [file.path.read_bytes() for file in files]
            with _hint():
                made = client.fit_images(name, images, [file.example for file in files])
        else:
            body = {"name": name, "collection": collection}
            made = client.fit(body | {"examples": _stored(client, collection, files)})
        typer.echo(_line(made))
        for warning in made["report"]["warnings"]:
            errors.print(warning, markup=False, highlight=False, soft_wrap=True)


@app.command("list")
def list_all(url: Url = LOCAL, key: Key = None) -> None:
    """List classifiers with the accuracy that their published versions report."""
    with _service(url, key) as client:
        for found in client.classifiers():
            typer.echo(_line(found))


@app.command()
def predict(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)],
    version: Version = None,
    coverage: Annotated[float, typer.Option(help="Of the prediction sets.")] = 0.9,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder for a PNG per file of where the answer comes from.")
    ] = None,
    cine: Annotated[
        bool, typer.Option("--cine", help="The files are frames of one cine, in order.")
    ] = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Predict image files; one JSON object per line and file, and one for the cine."""
    if cine and len(files) > PREDICTED_AT_ONCE * 8:
        raise typer.BadParameter(f"a cine has at most {PREDICTED_AT_ONCE * 8} frames")
    step = len(files) if cine else PREDICTED_AT_ONCE
    failed = 0
    with _service(url, key) as client:
        for start in range(0, len(files), step):
            part = files[start : start + step]
            answer = client.predict(
                name,
                [path.read_bytes() for path in part],
                version=version,
                coverage=coverage,
                heatmap="png" if heatmaps else None,
                cine=cine,
            )
            for number, (path, item) in enumerate(zip(part, answer["items"], strict=True), start):
                failed += "problem" in item
                _write_heatmap(heatmaps, number, path, item.pop("heatmap", None))
                typer.echo(json.dumps({"file": str(path), "version": answer["version"], **item}))
            if answer["cine"] is not None:
                typer.echo(json.dumps({"cine": answer["cine"]}))
    if failed:
        errors.print(f"[red]{failed} of {len(files)} files failed[/red]")
        raise typer.Exit(1)


@app.command()
def evaluate(
    name: Name,
    source: Labelled,
    collection: Stored = None,
    version: Version = None,
    allow_known: Annotated[
        bool,
        typer.Option(
            "--allow-known", help="Also evaluate on examples that the version was fitted from."
        ),
    ] = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Evaluate a version on labelled images of other patients; prints one JSON object."""
    with _service(url, key) as client:
        files = labelled_files(source)
        body: dict[str, Any] = {"allow_known": allow_known}
        images: list[bytes] = []
        if collection is None:
            body["examples"] = [file.example for file in files]
            images = [file.path.read_bytes() for file in files]
        else:
            body |= {"collection": collection}
            body["examples"] = _stored(client, collection, files)
        with _hint():
            found = client.evaluate(name, body, images=images, version=version)
        typer.echo(json.dumps(found))


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="File to write: .json for import, or .onnx.")],
    version: Version = None,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Write a version to a file; JSON holds embeddings of examples: keep it as patient data."""
    with _service(url, key) as client:
        if out.suffix not in {".json", ".onnx"}:
            raise InputError("expected a file that ends in .json or .onnx")
        if out.suffix == ".onnx":
            data = client.export_onnx(name, version=version or "published")
        else:
            data = json.dumps(client.export(name, version=version or "published")).encode()
        out.write_bytes(data)
        typer.echo(f"wrote {len(data)} bytes")


@app.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="That export wrote.", exists=True, dir_okay=False)],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Create a classifier from JSON that export wrote, under a name of its own."""
    with _service(url, key) as client:
        try:
            document = json.loads(file.read_bytes())
        except ValueError as error:
            raise InputError("expected the JSON that export writes") from error
        if not isinstance(document, dict):
            raise InputError("expected the JSON that export writes")
        typer.echo(_line(client.import_classifier(name, document)))


@app.command()
def publish(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="An earlier one rolls back.")],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Let a version predict from now on."""
    with _service(url, key) as client:
        typer.echo(_line(client.publish(name, version)))


@contextmanager
def _hint() -> Iterator[None]:
    """Say what helps against the limits of one request."""
    try:
        yield
    except ApiError as error:
        if error.code in TOO_MUCH:
            raise InputError(f"{error}; with --collection the images go in parts") from error
        raise


def _stored(client: Client, collection: str, files: Sequence[LabelledFile]) -> list[dict[str, str]]:
    """The files as labelled scans of a collection, which is made when there is none.

    Raises:
        InputError: a file that the service does not take; nothing is fitted from the others.
    """
    if collection not in {found["name"] for found in client.collections()}:
        client.create_collection(collection)
    said = [{k: v for k, v in file.example.items() if k != "label"} for file in files]
    paths = [file.path for file in files]
    with progress("sending", len(files)) as advance:
        done = ingest(client, collection, paths, said, on_done=advance)
    if done.problems:
        path, why = done.problems[0]
        raise InputError(f"{len(done.problems)} files were refused, first {path}: {why}")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    known = client.known(collection, digests)
    return [
        {"scan_id": known[digest], "label": file.label}
        for digest, file in zip(digests, files, strict=True)
    ]


def _write_heatmap(
    folder: Path | None, number: int, path: Path, heatmap: dict[str, Any] | None
) -> None:
    """Numbered in the order of the command: two folders may hold files of one name."""
    if folder is None or heatmap is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:04d}-{path.stem}.png").write_bytes(base64.b64decode(heatmap["png"]))


def _line(found: dict[str, Any]) -> str:
    """Name, version, accuracy with its interval, classes."""
    report = found["report"] or {}
    accuracy, interval = report.get("balanced_accuracy"), report.get("interval_95")
    said = "not evaluated"
    if accuracy is not None and interval is not None:
        said = f"balanced accuracy {accuracy:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
    calibrated = "calibrated" if found["calibrated"] else "not calibrated"
    version = f"version {found['published_version']} of {found['latest_version']}"
    return "\t".join((found["name"], version, said, calibrated, ", ".join(found["classes"])))
