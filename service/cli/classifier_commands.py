"""Commands for classifiers: fit, list, predict, evaluate, export, import, sign, publish."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.classifiers.signing.signatures import (
    key_id_of,
    read_public_key,
    verify_document,
    verify_file,
)
from service.cli.labelled_files import labelled_files
from service.cli.remote import version_commands
from service.cli.remote.classifier_rows import classifier_row, signing_key_row, unlabelled_row
from service.cli.stored_labels import store_examples, write_labels
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, errors, explained, show
from service.errors import InputError, UntrustedSignature
from sonoprobe_client import ApiError
from sonoprobe_client.bodies import EvaluationBody, NewClassifierBody, RefitBody
from sonoprobe_client.models import FailedItem

app = typer.Typer(no_args_is_help=True, help="Fit and use the classifiers of a running service.")
app.add_typer(version_commands.app)
TOO_MUCH = frozenset({"too_many_items", "upload_too_large"})
PREDICT_FILES = 32
MAX_CINE_FRAMES = 256

Name = Annotated[str, typer.Argument(help="Name of the classifier.")]
Labelled = Annotated[
    Path,
    typer.Argument(
        help="Folder with one sub-folder per class, or CSV: path, label[, subject_id, study_id].",
        exists=True,
    ),
]
Stored = Annotated[
    str | None,
    typer.Option(help="Collection that stores the images first, if they exceed one request."),
]
Version = Annotated[int | None, typer.Option(min=1, help="Version; default: published.")]


@app.command()
def fit(
    name: Name,
    source: Labelled,
    collection: Stored = None,
    task: Annotated[
        str | None,
        typer.Option(help="Label task of the collection; default: the name of the classifier."),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(help="Collection whose other scans take part unlabelled, where that helps."),
    ] = None,
    views: Annotated[
        bool,
        typer.Option("--views", help="Fit to seven views of each image; predictions take longer."),
    ] = False,
    of_examples: Annotated[
        bool,
        typer.Option("--views-of-examples", help="The same, and predictions take no longer."),
    ] = False,
    no_views: Annotated[
        bool,
        typer.Option(
            "--no-views",
            help="Fit to each image as it is. Default: --views-of-examples where it takes seconds.",
        ),
    ] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Fit a classifier from labelled images and print its accuracy.

    With a collection the labels are written into its scans, and every scan with a label of the
    task takes part; `refit` then learns later labels.
    """
    if views + of_examples + no_views > 1:
        raise typer.BadParameter("expected one of --views, --views-of-examples and --no-views")
    with client_at(url, key, retries=0) as client:
        files = labelled_files(source)
        body: NewClassifierBody = {"name": name}
        if views or of_examples or no_views:
            body["views"] = "examples" if of_examples else views
        if unlabelled is not None:
            body["unlabelled"] = {"collection": unlabelled}
        if collection is None:
            images = [file.path.read_bytes() for file in files]
            with _hint():
                examples = [file.example for file in files]
                answer = client.fit_images(name, images, examples, fields=body)
        else:
            labels = write_labels(client, collection, task or name, files)
            typer.echo(str(labels), err=as_json)
            answer = client.fit({**body, "collection": collection, "task": task or name})
        report = answer.report
        heads = report.labels if unlabelled and report else ()
        lines = [classifier_row(answer), *filter(None, map(unlabelled_row, heads))]
        show(answer.document(), lines, as_json=as_json)
        for warning in report.warnings if report else ():
            errors.print(warning, markup=False, highlight=False, soft_wrap=True)


@app.command()
def refit(
    name: Name,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the version.")] = False,
    collection: Annotated[str | None, typer.Option(help="Instead of the one it has.")] = None,
    task: Annotated[str | None, typer.Option(help="Label task of that collection.")] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Fit a new version from the labels that the collection of the classifier has now."""
    with client_at(url, key) as client:
        try:
            source: RefitBody = {"collection": collection, "task": task}
            made = client.refit(name, {**source, "publish": publish})
        except ApiError as error:
            if error.code != "nothing_changed":
                raise
            told = "nothing changed: the latest version has learnt these labels already"
            show(error.problem, [told], as_json=as_json)
            return
        of = made.settings
        counts = f"{of.added} added, {of.relabelled} relabelled, {of.dropped} dropped"
        told = f"version {made.version}: {counts}, {of.not_kept} not kept"
        lines = [told, classifier_row(client.classifier(name))]
        show(made.document(), lines, as_json=as_json)


@app.command("list")
def list_all(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """List the classifiers with the accuracy of their published versions."""
    with client_at(url, key) as client:
        found = list(client.classifiers())
        show([c.document() for c in found], map(classifier_row, found), as_json=as_json)


@app.command()
def predict(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="Image files.", exists=True, dir_okay=False)],
    version: Version = None,
    coverage: Annotated[float, typer.Option(help="Coverage of the prediction sets.")] = 0.9,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder for one heat map (PNG) per file.")
    ] = None,
    cine: Annotated[
        bool, typer.Option("--cine", help="The files are frames of one cine, in order.")
    ] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Predict image files; print one JSON object per line for each file and for the cine.

    With --json all in one array.
    """
    if cine and len(files) > MAX_CINE_FRAMES:
        raise typer.BadParameter(f"a cine has at most {MAX_CINE_FRAMES} frames, got {len(files)}")
    step = len(files) if cine else PREDICT_FILES
    failed = 0
    lines: list[dict[str, Any]] = []
    with client_at(url, key) as client:
        for start in range(0, len(files), step):
            batch = files[start : start + step]
            answer = client.predict(
                name,
                [path.read_bytes() for path in batch],
                version=version,
                coverage=coverage,
                heatmap="png" if heatmaps else None,
                cine=cine,
            )
            version = answer.version  # of all files, also when another one is published meanwhile
            for number, (path, item) in enumerate(zip(batch, answer.items, strict=True), start):
                failed += isinstance(item, FailedItem)
                fields = item.document()
                _write_heatmap(heatmaps, number, path, fields.pop("heatmap", None))
                lines.append({"file": str(path), "version": version, **fields})
            if answer.cine is not None:
                lines.append({"cine": answer.cine.document(), "version": version})
            if not as_json:
                show(None, map(json.dumps, lines), as_json=False)
                lines.clear()
    if as_json:
        show(lines, (), as_json=True)
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
        typer.Option("--allow-known", help="Also evaluate on examples of the fit."),
    ] = False,
    on_refused: Annotated[
        Literal["fail", "leave-out"],
        typer.Option(help="fail, or leave-out: evaluate on what is not refused."),
    ] = "fail",
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Evaluate a version on labelled images of other patients; print one JSON object."""
    with client_at(url, key, retries=0) as client:
        files = labelled_files(source)
        body: EvaluationBody = {"allow_known": allow_known}
        body["on_refused"] = "leave_out" if on_refused == "leave-out" else "fail"
        images: list[bytes] = []
        if collection is None:
            body["examples"] = [file.example for file in files]
            images = [file.path.read_bytes() for file in files]
        else:
            body["collection"] = collection
            body["examples"] = store_examples(client, collection, files)
        with _hint():
            evaluation = client.evaluate(name, body, images=images, version=version)
        show(evaluation.document(), [json.dumps(evaluation.document())], as_json=as_json)


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="File to write: .json (for import) or .onnx.")],
    version: Version = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Write a version to a file; JSON holds embeddings of examples: protect it as patient data.

    JSON is signed inside; the signature of NAME.onnx is written to NAME.onnx.sig.
    """
    with client_at(url, key) as client:
        number = version or "published"
        if out.suffix == ".onnx":
            data, signature = client.export_signed_onnx(name, version=number)
            out.with_name(f"{out.name}.sig").write_bytes(signature)
        elif out.suffix == ".json":
            data = json.dumps(client.export(name, version=number)).encode()
        else:
            raise InputError(f"expected a file that ends in .json or .onnx, got {out.suffix!r}")
        out.write_bytes(data)
        show({"bytes": len(data)}, [f"wrote {len(data)} bytes"], as_json=as_json)


@app.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Exported JSON.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Create a classifier from exported JSON, under a new name; say who signed it."""
    with client_at(url, key) as client:
        classifier = client.import_classifier(name, _exported(file))
        signature = classifier.signature
        if signature is not None:
            errors.print(f"signature: {signature.state} {signature.key_id or ''}".rstrip())
        show(classifier.document(), [classifier_row(classifier)], as_json=as_json)


def _exported(file: Path) -> dict[str, Any]:
    """The document in a file. Raises InputError."""
    try:
        document = json.loads(file.read_bytes())
    except ValueError as error:
        raise InputError("expected the JSON that export writes") from error
    if not isinstance(document, dict):
        raise InputError("expected the JSON that export writes")
    return document


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Exported .json or .onnx.", exists=True)],
    public_key: Annotated[
        str, typer.Option(help="Of the signer: base64 of its DER, or a PEM file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check without a service that the owner of a public key signed a file as it is.

    The signature of NAME.onnx is read from NAME.onnx.sig.
    """
    with explained():
        key = read_public_key(_key_text(public_key))
        if file.suffix == ".onnx":
            signature = file.with_name(f"{file.name}.sig").read_bytes()
            verify_file(file.read_bytes(), key, base64.b64encode(signature).decode())
        elif verify_document(_exported(file)) != key:
            raise UntrustedSignature("the file is not signed by this key")
        signer = key_id_of(key)
        show({"signed_by": signer}, [f"signed by {signer}"], as_json=as_json)


def _key_text(argument: str) -> str:
    """The text of a PEM file, else the argument itself."""
    path = Path(argument)
    return path.read_text() if path.suffix and path.is_file() else argument


@app.command("signing-keys")
def signing_keys(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """List whose classifiers the workspace trusts, and the keys of its own."""
    with client_at(url, key) as client:
        found = list(client.signing_keys())
        show([k.document() for k in found], map(signing_key_row, found), as_json=as_json)


@app.command()
def trust(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    public_key: Annotated[str, typer.Argument(help="Base64 of its DER, or a PEM file.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Trust what the owner of a public key signs."""
    with client_at(url, key) as client:
        found = client.trust_signing_key(name, _key_text(public_key))
        show(found.document(), [f"trusted {found.key_id}"], as_json=as_json)


@app.command()
def distrust(
    key_id: Annotated[str, typer.Argument(help="Id of the key, from the list.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Trust a key no longer."""
    with client_at(url, key) as client:
        found = client.distrust_signing_key(key_id)
        show(found.document(), [f"distrusted {found.key_id}"], as_json=as_json)


@app.command("rotate-signing-key")
def rotate_signing_key(as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """Sign with a new key from now on; what the one before signed stays trusted."""
    with client_at(url, key) as client:
        found = client.rotate_signing_key()
        show(found.document(), [f"signs with {found.key_id}"], as_json=as_json)


@app.command()
def publish(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="Version number.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Publish a version, which then predicts; an earlier one rolls back."""
    with client_at(url, key) as client:
        found = client.publish(name, version)
        show(found.document(), [classifier_row(found)], as_json=as_json)


@contextmanager
def _hint() -> Iterator[None]:
    """Suggest a collection when one request is too small for the images."""
    try:
        yield
    except ApiError as error:
        if error.code in TOO_MUCH:
            raise InputError(f"{error}; with --collection the images go in parts") from error
        raise


def _write_heatmap(
    folder: Path | None, number: int, path: Path, heatmap: dict[str, Any] | None
) -> None:
    """Write a heat map under a number, because two folders may hold files of one name."""
    if folder is None or heatmap is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:04d}-{path.stem}.png").write_bytes(base64.b64decode(heatmap["png"]))
