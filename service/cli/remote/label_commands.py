"""Commands for whoever labels: what to label next, what is doubtful, and the labels."""

from typing import Annotated, Literal

import typer

from service.cli.remote.answer_rows import comparison_rows, labels_of, review_row
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show
from service.errors import InputError

app = typer.Typer()
Collection = Annotated[str, typer.Argument(help="Name of the collection.")]
Classifier = Annotated[str, typer.Argument(help="Name of the classifier.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Lines at most.")]
Version = Annotated[str | None, typer.Option(help="A number, published or latest.")]
Task = Annotated[list[str], typer.Option(help="Label task; repeatable.")]


@app.command()
def label(
    collection: Collection,
    scan_id: Annotated[str, typer.Argument(help="Id of the scan.")],
    task: Annotated[str, typer.Argument(help="Label task.")],
    value: Annotated[str | None, typer.Argument(help="Class; or --remove.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the label.")] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Give a stored scan a label of a task, or remove it."""
    with client_at(url, key) as client:
        if (value is None) != remove:
            raise InputError("expected either a class or --remove")
        scan = client.label(collection, scan_id, task, value)
        show(scan.document(), [f"{scan.scan_id}\t{labels_of(scan)}"], as_json=as_json)


@app.command("next")
def next_scans(
    collection: Collection,
    task: Task,
    classifier: Annotated[
        str | None, typer.Option(help="Ask this classifier, which learns most from them.")
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """List the scans to label next: by a classifier, or as different as possible without one."""
    with client_at(url, key) as client:
        if classifier is not None:
            review = client.review(
                classifier, "next", collection=collection, tasks=task, limit=limit
            )
            show(review.document(), map(review_row, review.items), as_json=as_json)
            return
        found = client.next_scans(collection, task, limit=limit)
        lines = [f"{item.scan.scan_id}\t{item.reason}" for item in found.items]
        show(found.document(), lines, as_json=as_json)


@app.command()
def doubtful(
    classifier: Classifier,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Near-duplicates with different labels instead.")
    ] = False,
    version: Version = None,
    limit: Limit = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """List the labels that a classifier doubts, the most doubtful first."""
    kind: Literal["conflict", "suspect"] = "conflict" if conflicts else "suspect"
    with client_at(url, key) as client:
        review = client.review(classifier, kind, version=version, limit=limit)
        show(review.document(), map(review_row, review.items), as_json=as_json)


@app.command()
def compare(
    classifier: Classifier,
    version: Annotated[str, typer.Argument(help="A number, published or latest.")],
    other: Annotated[str, typer.Argument(help="A number, published or latest.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Compare two versions of a classifier on the examples that both have."""
    with client_at(url, key) as client:
        found = client.compare(classifier, version, other)
        show(found.document(), comparison_rows(found), as_json=as_json)
