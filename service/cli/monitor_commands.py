"""The command for classifiers in use."""

from typing import Annotated

import typer

from service.cli.remote.classifier_rows import monitor_rows
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show

app = typer.Typer()


@app.command()
def monitor(
    name: Annotated[str, typer.Argument(help="Name of the classifier.")],
    version: Annotated[
        str | None, typer.Option(help="A number, published or latest; default: published.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Show what a classifier answers in use, against its labelled examples.

    Exit code 3: the last full window of some length alarms.
    """
    with client_at(url, key) as client:
        found = client.monitor(name, version)
        show(found.document(), monitor_rows(found), as_json=as_json)
    if found.alarming:
        raise typer.Exit(3)
