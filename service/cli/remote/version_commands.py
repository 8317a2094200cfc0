"""Commands for a stored classifier and its versions."""

from typing import Annotated

import typer

from service.cli.remote.classifier_rows import accuracy_of, classifier_row, version_row
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show

app = typer.Typer()
Name = Annotated[str, typer.Argument(help="Name of the classifier.")]


@app.command("show")
def show_classifier(
    name: Name, as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None
) -> None:
    """Show a classifier with the report of its published version."""
    with client_at(url, key) as client:
        found = client.classifier(name)
        report = found.report
        lines = [classifier_row(found), f"kind\t{found.kind}", f"made\t{found.created_at}"]
        if report is not None:
            lines.append(f"examples\t{report.examples} of {report.groups} groups")
            lines += [f"warning\t{warning}" for warning in report.warnings]
        show(found.document(), lines, as_json=as_json)


@app.command()
def versions(name: Name, as_json: AsJson = False, url: Url = LOCAL_URL, key: Key = None) -> None:
    """List the versions of a classifier, and which one predicts."""
    with client_at(url, key) as client:
        found = list(client.versions(name))
        show([v.document() for v in found], map(version_row, found), as_json=as_json)


@app.command()
def delete(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Nothing takes a deletion back.")
    ] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Delete a classifier with all of its versions."""
    with client_at(url, key) as client:
        found = client.classifier(name)
        question = f"delete {found.latest_version} versions for ever, {accuracy_of(found.report)}?"
        if not yes and not typer.confirm(question, err=True):
            raise typer.Exit(1)
        gone = client.delete_classifier(name, if_match=found.etag)
        show(gone.document(), [f"deleted {gone.deleted}"], as_json=as_json)
