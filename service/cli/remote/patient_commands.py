"""Commands for what is held of a patient, and for its erasure."""

from collections.abc import Iterator
from typing import Annotated

import typer

from service.cli.remote.answer_rows import receipt_rows
from service.cli.terminal import LOCAL_URL, AsJson, Key, Url, client_at, show
from service.errors import InputError
from sonoprobe_client.models import SubjectAnswer

app = typer.Typer()


@app.command()
def subject(
    subject_id: Annotated[str, typer.Argument(help="The subject_id, a pseudonym.")],
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Show what is held of a patient: scans, studies, examples of classifiers."""
    with client_at(url, key) as client:
        found = client.subject(subject_id)
        show(found.document(), _held(found), as_json=as_json)


@app.command()
def erase(
    subject_id: Annotated[str | None, typer.Option(help="Erase this patient.")] = None,
    study_id: Annotated[str | None, typer.Option(help="Erase this study.")] = None,
    scan: Annotated[
        tuple[str, str] | None, typer.Option(help="Erase one scan: COLLECTION SCAN_ID.")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit the classifiers anew that learnt from it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    url: Url = LOCAL_URL,
    key: Key = None,
) -> None:
    """Erase a patient, a study or a scan for ever, and print the receipt."""
    with client_at(url, key) as client:
        if sum(given is not None for given in (subject_id, study_id, scan)) != 1:
            raise InputError("expected one of --subject-id, --study-id and --scan")
        if not yes and not typer.confirm("erase for ever?", err=True):
            raise typer.Exit(1)
        if scan is not None:
            gone = client.delete_scan(*scan, refit=refit)
            show(gone.document(), receipt_rows(gone), as_json=as_json)
            return
        if subject_id is not None:
            receipt = client.erase_subject(subject_id, refit=refit)
        else:
            receipt = client.erase_study(str(study_id), refit=refit)
        show(receipt.document(), receipt_rows(receipt), as_json=as_json)


def _held(found: SubjectAnswer) -> Iterator[str]:
    yield f"{found.scans} scans of {len(found.study_ids)} studies, {found.outcomes} outcomes"
    for held in found.collections:
        yield f"collection\t{held.collection}\t{held.scans} scans"
    for taught in found.classifiers:
        versions = ", ".join(map(str, taught.versions))
        yield f"classifier\t{taught.classifier}\t{taught.examples} examples\tversions {versions}"
