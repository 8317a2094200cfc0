"""What both engines do with the rows that are copied."""

from collections.abc import Iterator, Sequence

from service.catalog.copying.copy_interface import Accept
from service.catalog.plain_text import name_of
from service.catalog.records import ExportRow, NewScan, StoredScan
from service.errors import InputError, ServiceError, UnknownItem


def require_other(source: str, target: str) -> None:
    """Raises InputError: a collection is not copied into itself."""
    if source == target:
        raise InputError("expected another collection to copy to, got the same")


def chosen(
    scan_ids: Sequence[str], rows: Sequence[ExportRow], accept: Accept
) -> list[NewScan | ServiceError]:
    """By the place of its id: the scan to store, or why there is none."""
    by_id = {row.scan.scan_id: row for row in rows}
    found = [by_id.get(name_of(scan_id)) for scan_id in scan_ids]
    missing = "no such scan in this collection"
    return [UnknownItem(missing) if row is None else accept(new_scan_of(row)) for row in found]


def new_scan_of(row: ExportRow) -> NewScan:
    """A stored scan as a new one. It keeps its age, so that it is not kept longer than its source.

    The ids of the subject and the study are pseudonyms already where the workspace makes them.
    """
    scan = row.scan
    return NewScan(
        scan_id=scan.scan_id,
        image=scan.image,
        embedding_D=row.embedding_D,
        thumbnail_jpeg=row.jpeg,
        subject_id=scan.subject_id,
        study_id=scan.study_id,
        labels=scan.labels,
        attributes=scan.attributes,
        image_png=row.png,
        created_at=scan.created_at,
        frames=row.frames,
    )


def in_place(
    choices: Sequence[NewScan | ServiceError], stored: Sequence[StoredScan | ServiceError]
) -> list[StoredScan | ServiceError]:
    """The refusals among the choices, and in the place of each scan what became of it."""
    answers: Iterator[StoredScan | ServiceError] = iter(stored)
    return [next(answers) if isinstance(choice, NewScan) else choice for choice in choices]
