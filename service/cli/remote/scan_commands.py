"""Commands for the scans of a collection: list, show, copy, delete, relabel, thumbnails."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from service.cli.csv_table import TableRow, read_table
from service.cli.ingesting.ingest_table import attribute_value
from service.cli.remote.answer_rows import receipt_rows, scan_row
from service.cli.remote.search_commands import filter_of
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, errors, progress, show
from service.errors import InputError
from sonoprobe_client import ChangedSince, NotFound
from sonoprobe_client.bodies import ScanPatchBody
from sonoprobe_client.models import CopiedScan, NearDuplicateAnswer, ScanAnswer

app = typer.Typer(no_args_is_help=True, help="Scans of a collection.")
Collection = Annotated[str, typer.Argument(help="Name of the collection.")]
ScanId = Annotated[str, typer.Argument(help="Id of the scan.")]
COPIES_PER_REQUEST = 200
PLAIN: tuple[Literal["subject_id", "study_id"], ...] = ("subject_id", "study_id")


@app.command("list")
def list_scans(
    collection: Collection,
    label: Annotated[list[str] | None, typer.Option(help="TASK:CLASS; repeatable.")] = None,
    subject_id: Annotated[str | None, typer.Option(help="Of this patient, a pseudonym.")] = None,
    study_id: Annotated[str | None, typer.Option(help="Of this study, a pseudonym.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="NAME:VALUE; repeatable.")] = None,
    where: Annotated[
        str | None, typer.Option("--filter", help="A filter as JSON, as in POST .../search.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Scans at most; default: all.")] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """List the scans of a collection: id, patient, study, labels."""
    with client_at(url, key) as client:
        scans = client.scans(
            collection,
            label=label or (),
            subject_id=subject_id,
            study_id=study_id,
            attribute=attribute or (),
            where=None if where is None else filter_of(where),
        )
        chosen = islice(scans, limit)
        if as_json:
            show([scan.document() for scan in chosen], (), as_json=True)
        else:
            show(None, map(scan_row, chosen), as_json=False)


@app.command("show")
def show_scan(
    collection: Collection,
    scan_id: ScanId,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Show one scan with its attributes."""
    with client_at(url, key) as client:
        scan = client.scan(collection, scan_id)
        show(scan.document(), _fields(scan), as_json=as_json)


@app.command("delete")
def delete_scans(
    collection: Collection,
    scan_ids: Annotated[list[str], typer.Argument(help="Ids of the scans.")],
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit the classifiers anew that learnt from them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Nothing takes a deletion back.")
    ] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Delete scans for ever, and print a receipt for each; it stops at the first that fails."""
    with client_at(url, key) as client:
        if not yes and not typer.confirm(f"delete {len(scan_ids)} scans for ever?", err=True):
            raise typer.Exit(1)
        gone = []
        try:
            for scan_id in scan_ids:
                gone.append(client.delete_scan(collection, scan_id, refit=refit))
        finally:  # the receipts of those that are gone
            lines = [line for receipt in gone for line in receipt_rows(receipt)]
            show([receipt.document() for receipt in gone], lines, as_json=as_json)


@app.command("copy")
def copy_scans(
    collection: Collection,
    to: Annotated[str, typer.Option(help="The other collection, which exists.")],
    scan_ids: Annotated[list[str] | None, typer.Argument(help="Ids; or --filter.")] = None,
    where: Annotated[
        str | None, typer.Option("--filter", help="All that pass, as JSON, as in POST .../search.")
    ] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Store scans in another collection as well, without their files.

    Run it again after a failure: what the other collection has already stays as it is.
    """
    with client_at(url, key) as client:
        if bool(scan_ids) == (where is not None):
            raise InputError("expected either ids of scans or --filter")
        if where is not None:
            chosen = [scan.scan_id for scan in client.scans(collection, where=filter_of(where))]
        else:
            chosen = list(scan_ids or ())
        items: list[CopiedScan] = []
        with progress("copying", len(chosen)) as advance:
            for start in range(0, len(chosen), COPIES_PER_REQUEST):
                batch = chosen[start : start + COPIES_PER_REQUEST]
                items += client.copy_scans(collection, batch, to).items
                advance(len(batch))
        failed = [item for item in items if item.problem is not None]
        for item in failed:
            reason = item.problem.detail if item.problem else ""
            errors.print(f"{item.scan_id}: {reason}", markup=False, highlight=False)
        created = sum(bool(item.created) for item in items)
        known = len(items) - created - len(failed)
        line = f"{created} scans copied, {known} were there before, {len(failed)} failed"
        show([item.document() for item in items], [line], as_json=as_json)
    if failed:
        raise typer.Exit(1)


@app.command("duplicates")
def near_duplicates(
    collection: Collection,
    patients: Annotated[
        Literal["different", "same", "unknown"] | None, typer.Option(help="Only pairs of such.")
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Cosine at least; default: that of the encoder."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Pairs at most.")] = None,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """List pairs of scans that nearly repeat each other, those of different patients first."""
    with client_at(url, key) as client:
        found = client.near_duplicates(
            collection, min_similarity=min_similarity, patients=patients, limit=limit
        )
        show(found.document(), map(_pair_row, found.items), as_json=as_json)


@app.command()
def relabel(
    collection: Collection,
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV: scan_id, and any of subject_id, study_id, label:TASK, attribute:NAME.",
            exists=True,
            dir_okay=False,
        ),
    ],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Change labels, ids and attributes of scans by a table; empty cells change nothing.

    Every row is checked before the first scan is changed. Run it again after a failure: scans that
    are as the table says are left alone.
    """
    with client_at(url, key) as client:
        changes = _changes_of(table)
        changed = unchanged = failed = 0
        with progress("changing", len(changes)) as advance:
            for scan_id, change in changes.items():
                try:
                    scan = client.scan(collection, scan_id)
                    if _has(scan, change):
                        unchanged += 1
                    else:
                        client.patch_scan(collection, scan_id, change, if_match=scan.etag)
                        changed += 1
                except (NotFound, ChangedSince) as error:
                    failed += 1
                    errors.print(f"{scan_id}: {error.code}", markup=False, highlight=False)
                advance(1)
        document = {"changed": changed, "unchanged": unchanged, "failed": failed}
        line = f"{changed} scans changed, {unchanged} were so before, {failed} failed"
        show(document, [line], as_json=as_json)
    if failed:
        raise typer.Exit(1)


@app.command()
def thumbnail(
    collection: Collection,
    scan_id: ScanId,
    out: Annotated[Path, typer.Option(help="JPEG file to write.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Write the small picture of a scan to a file."""
    with client_at(url, key) as client:
        data = client.thumbnail(collection, scan_id)
        out.write_bytes(data)
        show({"bytes": len(data)}, [f"wrote {len(data)} bytes"], as_json=as_json)


def _changes_of(table: Path) -> dict[str, ScanPatchBody]:
    """Scan id -> what the table says of it. Raises InputError."""
    rows = read_table(
        table,
        is_known=lambda c: c in ("scan_id", *PLAIN) or c.startswith(("label:", "attribute:")),
        required=("scan_id",),
        expected="scan_id, and any of subject_id, study_id, label:TASK, attribute:NAME",
    )
    changes: dict[str, ScanPatchBody] = {}
    for row in rows:
        scan_id = row.cells.get("scan_id")
        if scan_id is None or scan_id in changes:
            raise InputError(f"line {row.line}: expected a scan_id that no earlier row has")
        changes[scan_id] = _change_of(row)
    if not changes:
        raise InputError("expected a table with at least one row")
    return changes


def _change_of(row: TableRow) -> ScanPatchBody:
    """Raises InputError: the row changes nothing."""
    change: ScanPatchBody = {}
    for name in PLAIN:
        if name in row.cells:
            change[name] = row.cells[name]
    if labels := _named(row, "label:"):
        change["labels"] = labels
    if attributes := _named(row, "attribute:"):
        values = {name: attribute_value(cell) for name, cell in attributes.items()}
        change["attributes"] = values
    if not change:
        raise InputError(f"line {row.line}: expected a value beside the scan_id")
    return change


def _named(row: TableRow, prefix: str) -> dict[str, str]:
    cells = row.cells.items()
    return {name.removeprefix(prefix): cell for name, cell in cells if name.startswith(prefix)}


def _has(scan: ScanAnswer, change: ScanPatchBody) -> bool:
    """Whether a scan is as it shall be."""
    return (
        scan.subject_id == change.get("subject_id", scan.subject_id)
        and scan.study_id == change.get("study_id", scan.study_id)
        and scan.labels.items() >= change.get("labels", {}).items()
        and scan.attributes.items() >= change.get("attributes", {}).items()
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _fields(scan: ScanAnswer) -> Iterator[str]:
    """One line for each field that a person may look for."""
    yield f"scan\t{scan.scan_id}"
    yield f"subject\t{scan.subject_id or '-'}"
    yield f"study\t{scan.study_id or '-'}"
    yield from (f"label\t{task}\t{label}" for task, label in sorted(scan.labels.items()))
    yield from (f"attribute\t{k}\t{_text(v)}" for k, v in sorted(scan.attributes.items()))
    yield f"stored\t{scan.created_at}"
    yield f"changed\t{scan.updated_at}"


def _pair_row(pair: NearDuplicateAnswer) -> str:
    names = f"{pair.first.scan_id}\t{pair.second.scan_id}"
    same = "same image" if pair.same_image else f"{pair.similarity:.4f}"
    return f"{names}\t{same}\tpatients {pair.patients}\tdiffers: {', '.join(pair.differs) or '-'}"
