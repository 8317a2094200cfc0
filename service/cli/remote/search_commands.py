"""The command that finds stored scans which resemble a file or another scan."""

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from service.cli.remote.answer_rows import hit_row
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show
from service.errors import InputError
from sonoprobe_client.bodies import FilterBody, QueryBody, SearchOptions

app = typer.Typer()


@app.command()
def search(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    file: Annotated[
        Path | None, typer.Argument(help="Image file; or --scan-id.", exists=True, dir_okay=False)
    ] = None,
    scan_id: Annotated[str | None, typer.Option(help="A stored scan in place of a file.")] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Hits at most.")] = 10,
    where: Annotated[
        str | None, typer.Option("--filter", help="A filter as JSON, as in POST .../search.")
    ] = None,
    exclude_same: Annotated[
        Literal["subject", "study"] | None,
        typer.Option(help="Leave out scans of the same patient or study."),
    ] = None,
    subject_id: Annotated[
        str | None, typer.Option(help="Patient of the file, for --exclude-same.")
    ] = None,
    study_id: Annotated[
        str | None, typer.Option(help="Study of the file, for --exclude-same.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Find the scans that resemble a file or a stored scan, the nearest first."""
    with client_at(url, key) as client:
        options: SearchOptions = {"k": k}
        if where is not None:
            options["filter"] = filter_of(where)
        if exclude_same is not None:
            options["exclude_same"] = exclude_same
        if subject_id is not None:
            options["subject_id"] = subject_id
        if study_id is not None:
            options["study_id"] = study_id
        if (file is None) == (scan_id is None):
            raise InputError("expected either a file or --scan-id")
        if file is not None:
            found = client.search_image(collection, file, options)
        else:
            found = client.search(collection, cast(QueryBody, {**options, "scan_id": scan_id}))
        show(found.document(), map(hit_row, found.items), as_json=as_json)


def filter_of(text: str) -> FilterBody:
    """The filter that an option holds as JSON. Raises InputError."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InputError("expected a filter as a JSON object")
    return cast(FilterBody, document)
