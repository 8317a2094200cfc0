"""Commands that tell a classifier what its predictions turned out to be."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.csv_table import read_table
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show
from service.errors import InputError
from sonoprobe_client import outcome_of
from sonoprobe_client.bodies import OutcomeBody

app = typer.Typer(no_args_is_help=True, help="What predictions turned out to be.")
PER_REQUEST = 500
COLUMNS = frozenset({"prediction_id", "file", "actual", "patient"})
Name = Annotated[str, typer.Argument(help="Name of the classifier.")]
Predictions = Annotated[
    Path,
    typer.Argument(help="What `classifiers predict` printed.", exists=True, dir_okay=False),
]


@app.command()
def add(
    name: Name,
    predictions: Predictions,
    prediction_id: Annotated[str, typer.Argument(help="Of one of the predictions.")],
    actual: Annotated[
        list[str] | None,
        typer.Argument(help="The true class, or the labels that are present; none: no label is."),
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help="A keyed digest, or the subject_id of stored scans.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Tell the outcome of one prediction; a second one replaces the first."""
    with client_at(url, key) as client:
        known = _by(_items(predictions), "prediction_id")
        item = _found(known, prediction_id, "prediction_id")
        outcome = outcome_of(item, item, actual or [], patient=patient)
        stored = client.put_outcomes(name, [outcome])
        _tell(stored.recorded, stored.replaced, as_json=as_json)


@app.command("add-table")
def add_table(
    name: Name,
    predictions: Predictions,
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV: prediction_id or file, actual[, patient].", exists=True, dir_okay=False
        ),
    ],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Tell the outcomes of many predictions; several rows of one give it several labels.

    A row without ``actual`` says that no label is present. Every row is checked before the first
    outcome is sent.
    """
    with client_at(url, key) as client:
        outcomes = _outcomes_of(table, list(_items(predictions)))
        recorded = replaced = 0
        for start in range(0, len(outcomes), PER_REQUEST):
            stored = client.put_outcomes(name, outcomes[start : start + PER_REQUEST])
            recorded, replaced = recorded + stored.recorded, replaced + stored.replaced
        _tell(recorded, replaced, as_json=as_json)


def _tell(recorded: int, replaced: int, *, as_json: bool) -> None:
    document = {"recorded": recorded, "replaced": replaced}
    show(document, [f"{recorded} outcomes recorded, {replaced} replaced"], as_json=as_json)


def _outcomes_of(table: Path, items: list[dict[str, Any]]) -> list[OutcomeBody]:
    """One per prediction that the table names. Raises InputError."""
    rows = read_table(
        table,
        is_known=lambda column: column in COLUMNS,
        required=("actual",),  # without the column, every row would say that no label is present
        expected="prediction_id or file, actual[, patient]",
    )
    known = {column: _by(items, column) for column in ("prediction_id", "file")}
    actual: dict[str, list[str]] = {}
    chosen: dict[str, tuple[dict[str, Any], str | None]] = {}
    for row in rows:
        named = [column for column in known if column in row.cells]
        if len(named) != 1:
            raise InputError(f"line {row.line}: expected either a prediction_id or a file")
        (column,) = named
        item = _found(known[column], row.cells[column], f"line {row.line}: {column}")
        number, patient = str(item["prediction_id"]), row.cells.get("patient")
        if chosen.setdefault(number, (item, patient))[1] != patient:
            raise InputError(f"line {row.line}: expected one patient for all rows of a prediction")
        labels = actual.setdefault(number, [])
        labels += filter(None, [row.cells.get("actual")])
        if len(set(labels)) < len(labels):
            raise InputError(f"line {row.line}: expected each label of a prediction once")
    if not chosen:
        raise InputError("expected a table with at least one row")
    return [
        outcome_of(item, item, actual[number], patient=patient)
        for number, (item, patient) in chosen.items()
    ]


def _items(file: Path) -> Iterator[dict[str, Any]]:
    """The predictions in a file; those that failed have none. Raises InputError."""
    try:
        text = file.read_text(encoding="utf-8")
        whole = json.loads(text) if text.lstrip().startswith("[") else None
        found = whole if whole is not None else [json.loads(line) for line in text.splitlines()]
        for item in found:
            if "prediction_id" in item:
                yield item
            elif "cine" in item:  # stands behind its frames, which have its version
                yield {**item["cine"], "version": item["version"]}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError("expected what `classifiers predict` prints") from error


def _by(items: Iterator[dict[str, Any]] | list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Value, in NFC as cells are -> item; None where several items have the value."""
    found: dict[str, Any] = {}
    for item in items:
        if name in item:
            value = unicodedata.normalize("NFC", str(item[name]))
            found[value] = None if value in found else item
    return found


def _found(known: Mapping[str, Any], value: str, name: str) -> dict[str, Any]:
    """Raises InputError; the message does not repeat the value, which may name a patient."""
    if value not in known:
        raise InputError(f"{name}: none of the predictions has it")
    item: dict[str, Any] | None = known[value]
    if item is None:
        raise InputError(f"{name}: several predictions have it")
    return item
