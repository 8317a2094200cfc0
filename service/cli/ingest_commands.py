"""Commands that send a folder, and that make and use the key of pseudonyms."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from service.access.pseudonyms import Pseudonyms, read_pseudonyms, write_key
from service.cli.file_reading import FileReader, file_to_send
from service.cli.folder_walk import PassedOver, WalkedFile, content_of, real, walk
from service.cli.ingesting.ingest import Ingested, ensure_collection
from service.cli.ingesting.ingest import ingest as send_files
from service.cli.ingesting.ingest_report import Report, Settled, path_text
from service.cli.ingesting.ingest_table import FileTable, MissingFile, read_file_table
from service.cli.terminal import (
    LOCAL_URL,
    AsJson,
    Key,
    NewCollection,
    Url,
    client_at,
    errors,
    explained,
    progress,
    show,
)
from service.errors import InputError
from service.imaging.formats.dicom_identity import plain_id

app = typer.Typer()
pseudonyms = typer.Typer(no_args_is_help=True, help="The key of pseudonyms from DICOM headers.")
NOT_CLEAN = 3  # exit code: all images are there, but the report names others or odd ones
NO_IMAGES = "expected a folder that holds images, found none"
MAX_SHOWN = 20  # names on the terminal of each kind; the report has all
REMARKS = {
    "duplicate": "have the same bytes as another file of the folder",
    "same_pixels": "show the same pixels as a stored scan",
    "kept_as_stored": "are stored with other ids, labels or attributes, which were kept",
    "subject_conflict": "have a subject in the table that contradicts their PatientID",
    "several_issuers": "have a PatientID that occurs with several issuers, or without one",
    "no_patient_id": "are DICOM without a PatientID, and no row gives their subject",
    "no_key": "are DICOM without a subject: --table or --pseudonym-key gives them one",
}
_ODD = frozenset({"kept_as_stored", "subject_conflict", "several_issuers", "no_patient_id"})
KeyFile = Annotated[
    Path,
    typer.Option(
        "--pseudonym-key",
        envvar="SONOPROBE_PSEUDONYM_KEY_FILE",
        help="File of the key, from 'sonoprobe pseudonyms create-key'.",
    ),
]


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="Folder of images.", exists=True, file_okay=False)],
    collection: NewCollection,
    url: Url = LOCAL_URL,
    key: Key = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV of the files to send: path, scan_id, subject_id, study_id, label, "
            "label:TASK, attribute:NAME.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    label_task: Annotated[
        str | None,
        typer.Option(help="Task of the column label; without a table, of the sub-folders."),
    ] = None,
    pseudonym_key: Annotated[
        Path | None,
        typer.Option(
            envvar="SONOPROBE_PSEUDONYM_KEY_FILE",
            help="File of the key that turns PatientID and StudyInstanceUID into pseudonyms.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of parallel requests.")] = 4,
    report: Annotated[
        Path | None, typer.Option(help="File for the outcome of each file, .csv or .jsonl.")
    ] = None,
    ignore_others: Annotated[
        bool,
        typer.Option("--ignore-others", help="Exit with 0 although other files were passed over."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a folder to a running service; run it again, with the same report, to continue.

    The content of a file decides, not its name. The exit code is 0 when every image is stored, 1
    when one failed, and 3 when files that are no images were passed over or stored scans keep
    other ids or labels; the report names them.
    """
    with client_at(url, key, retries=0) as client:
        reader = FileReader(_key_of(pseudonym_key), any_content=False, listed=table is not None)
        lines = None if report is None else Report(report)
        rows = None if table is None else read_file_table(table, folder, label_task)
        own = {real(p): code for p, code in ((table, "table"), (report, "report")) if p}
        found = [_unless_own(file, own) for file in walk(folder)]
        files, not_sent = _chosen(found, folder, rows)
        if not files and not not_sent:
            raise InputError(NO_IMAGES)
        if files and ensure_collection(client, collection):
            errors.print(escape(f"{collection} is a new collection"), highlight=False)
        with progress("sending", len(files)) as advance:
            done = send_files(
                client,
                collection,
                files,
                [_metadata(path, folder, rows, label_task) for path in files],
                folder=folder,
                reader=reader,
                not_sent=not_sent,
                workers=workers,
                report=lines,
                on_done=advance,
            )
        _tell(done, has_report=report is not None, as_json=as_json)
        if not (done.sent or done.known or done.skipped or done.problems):
            raise InputError(NO_IMAGES)
    raise typer.Exit(_exit_code(done, ignore_others=ignore_others))


@pseudonyms.command("create-key")
def create_key(
    file: Annotated[Path, typer.Argument(help="New file.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Write a new random key; whoever has it can link pseudonyms to patients."""
    with explained():
        write_key(file)
        errors.print("Keep a copy: without the key, later files get other pseudonyms.")
        show({"written": str(file)}, (), as_json=as_json)


@pseudonyms.command("subject")
def subject(pseudonym_key: KeyFile, as_json: AsJson = False) -> None:
    """Print a patient's pseudonym, to search or erase the patient; asks for PatientID and issuer.

    Neither can be an argument, because other users of the machine see arguments.
    """
    with explained():
        under = read_pseudonyms(pseudonym_key)
        patient_id = typer.prompt("PatientID", hide_input=True, err=True)
        issuer = typer.prompt("IssuerOfPatientID", default="", show_default=False, err=True)
        found = under.subject(plain_id(patient_id), plain_id(issuer))
        if found is None:
            raise InputError("expected an id that names one patient")
        show({"subject_id": found}, [found], as_json=as_json)


def _key_of(file: Path | None) -> Pseudonyms | None:
    return None if file is None else read_pseudonyms(file)


def _unless_own(file: WalkedFile, own: dict[Path, str]) -> WalkedFile:
    """Table and report may lie in the folder that is sent."""
    code = own.get(real(file.path)) if file.passed_over is None else None
    return file if code is None else WalkedFile(file.path, PassedOver(code))


def _chosen(
    found: Sequence[WalkedFile], folder: Path, rows: FileTable | None
) -> tuple[list[Path], list[Settled]]:
    """The files to send, and the lines about the others. With a table its files are sent."""
    listed = {} if rows is None else dict.fromkeys(rows.metadata, False)
    files: list[Path] = []
    lines: list[Settled] = []
    for file in found:
        reason = file.passed_over
        is_listed = real(file.path) in listed
        if is_listed:
            listed[real(file.path)] = True
        if is_listed or (reason is None and rows is None):
            files.append(file.path)
            continue
        reason = reason or content_of(file.path) or PassedOver("no_row", "no row names it")
        lines.append(file_to_send(file.path, {}, folder).passed_over(reason))
    files += [path for path, was_found in listed.items() if not was_found]  # in hidden folders
    lines += [_missing(row) for row in (() if rows is None else rows.missing)]
    return files, lines


def _missing(row: MissingFile) -> Settled:
    code = "outside_folder" if row.outside else "no_file"
    return Settled(path_text(Path(row.text)), "missing", code, f"line {row.line} of the table")


def _metadata(path: Path, folder: Path, rows: FileTable | None, task: str | None) -> dict[str, Any]:
    """What the table says, and the sub-folder's name as the label of a task that it lacks."""
    metadata = {} if rows is None else dict(rows.metadata[real(path)])
    is_inside = path.is_relative_to(folder) and path.parent != folder
    if task is None or not is_inside or (rows is not None and task in rows.tasks):
        return metadata
    labels = {**metadata.get("labels", {}), task: path.relative_to(folder).parts[0]}
    return metadata | {"labels": labels}


def _tell(done: Ingested, *, has_report: bool, as_json: bool) -> None:
    """Print names of what failed and of what was passed over, then the counts."""
    _list("refused", "red", done.problems, has_report)
    _list("passed over", "yellow", done.passed_over, has_report)
    for code, count in sorted(done.remarks.items()):
        if code in REMARKS:
            errors.print(f"{count} files {REMARKS[code]}", highlight=False, soft_wrap=True)
    counts = f"{done.sent} stored, {done.known} known already, {len(done.problems)} refused"
    reasons = Counter(reason.partition(":")[0] for _, reason in done.passed_over)
    if reasons:
        by_reason = ", ".join(f"{count} {code}" for code, count in sorted(reasons.items()))
        counts += f", {len(done.passed_over)} passed over ({by_reason})"
    counts += f", {done.skipped} settled before" if done.skipped else ""
    document = {
        "stored": done.sent,
        "known": done.known,
        "settled_before": done.skipped,
        "refused": [{"file": str(path), "reason": reason} for path, reason in done.problems],
        "passed_over": [{"file": str(path), "reason": reason} for path, reason in done.passed_over],
        "remarks": dict(done.remarks),
    }
    show(document, [counts], as_json=as_json)


def _list(title: str, colour: str, lines: Sequence[tuple[Path, str]], has_report: bool) -> None:
    for path, reason in lines[:MAX_SHOWN]:
        line = escape(f"{path}: {reason}")
        errors.print(f"[{colour}]{title}[/{colour}] {line}", highlight=False, soft_wrap=True)
    if len(lines) > MAX_SHOWN:
        where = "the report names all" if has_report else "--report FILE names all"
        errors.print(f"and {len(lines) - MAX_SHOWN} more {title}; {where}", highlight=False)


def _exit_code(done: Ingested, *, ignore_others: bool) -> int:
    if done.problems:
        return 1
    others = 0 if ignore_others else len(done.passed_over) - done.companions
    return NOT_CLEAN if others or _ODD & set(done.remarks) else 0
