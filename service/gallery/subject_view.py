"""What is held of a patient in some collections and classifiers only. Blocking."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from service.catalog.subject_records import HeldSubject
from service.catalog.validation import row_of_cursor
from service.errors import UnknownItem
from service.gallery.gallery_records import Page, Scan

AT_ONCE = 500  # scans of a patient read together


class ReadSubject(Protocol):
    """What is held of a patient under any of some ids, and a page of the scans."""

    def __call__(
        self, workspace_id: str, subject_ids: Sequence[str], *, limit: int, after: str | None
    ) -> tuple[HeldSubject, Page[Scan]]:
        """Raises UnknownItem: nothing is held."""


def subject_within(
    read: ReadSubject,
    workspace_id: str,
    subject_ids: Sequence[str],
    *,
    limit: int,
    after: str | None,
    has_collection: Callable[[str], bool],
    has_classifier: Callable[[str], bool],
) -> tuple[HeldSubject, Page[Scan]]:
    """As ``Gallery.subject``, which is ``read``, of the collections and classifiers that pass.

    The studies are those of the scans; those of uploaded examples are left out.

    Raises:
        UnknownItem: they hold no scan, no uploaded example and no outcome of the patient.
    """
    held, page = read(workspace_id, subject_ids, limit=AT_ONCE, after=None)
    scans = list(page.items)
    while page.next_after is not None:
        _, page = read(workspace_id, subject_ids, limit=AT_ONCE, after=page.next_after)
        scans += page.items
    inside = [scan for scan in scans if has_collection(scan.collection)]
    collections = tuple(part for part in held.collections if has_collection(part.collection))
    classifiers = tuple(part for part in held.classifiers if has_classifier(part.classifier))
    outcomes = {name: n for name, n in held.outcomes_of.items() if has_classifier(name)}
    if not collections and not any(part.uploads for part in classifiers) and not outcomes:
        raise UnknownItem("no scan of this workspace is of this subject")
    studies = {scan.study_id for scan in inside if scan.study_id is not None}
    start = 0 if after is None else row_of_cursor(after)
    rest = [scan for scan in inside if scan.row_id > start]
    last = str(rest[limit - 1].row_id) if len(rest) > limit else None
    part = replace(
        held,
        collections=collections,
        study_ids=tuple(sorted(studies)),
        classifiers=classifiers,
        outcomes_of=outcomes,
    )
    return part, Page(tuple(rest[:limit]), last)
