"""The command for classifiers in use."""

from typing import Annotated, Any

import typer

from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, service_at, show

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
    with service_at(url, key) as client:
        answer = client.monitor(name, version)
        show(answer, _lines(answer), as_json=as_json)
    if answer["alarming"]:
        raise typer.Exit(3)


def _figures(of: dict[str, Any]) -> list[str]:
    fields = ("abstained_share", "similarity_median", "confidence_mean")
    return [f"{field} {of[field]:.3f}" for field in fields if of[field] is not None]


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{answer['classifier']} version {answer['version']}"]
    for window in answer["windows"]:
        count = f"{window['answers']} answers"
        lines.append("\t".join((window["window"], count, *_figures(window))))
    reference = answer["reference"]
    if reference is None:
        lines.append(f"no reference: {answer['no_reference_because']}")
    else:
        count = f"{reference['groups']} groups"
        lines.append("\t".join(("reference", count, *_figures(reference))))
    if answer["not_tested_because"]:
        lines.append(f"not tested: {answer['not_tested_because']}")
    for test in answer["latest"]:
        alarms = [figure["figure"] for figure in test["figures"] if figure["alarms"]]
        said = f"ALARM: {', '.join(alarms)}" if alarms else "as usual"
        lines.append(f"last {test['window']} answers\t{said}")
    for head in answer["outcomes"]["labels"]:
        accuracy = head["accuracy"]
        if accuracy is not None:
            label = "" if head["label"] is None else f"{head['label']}: "
            lines.append(
                f"{label}right in use {accuracy['value']:.3f} "
                f"({accuracy['low']:.3f} to {accuracy['high']:.3f}), "
                f"{head['outcomes']} outcomes of {head['groups']} patients"
            )
    return lines
