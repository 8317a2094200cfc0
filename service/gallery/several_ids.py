"""One patient under several ids.

Since a workspace makes pseudonyms, an id means the pseudonym; what was stored before has the id as
it was given. Whoever reads or erases a patient means both.
"""

from collections import Counter
from collections.abc import Sequence

from service.catalog.interface import Catalog
from service.catalog.records import Page, Scan, new_page
from service.catalog.subject_records import HeldExamples, HeldScans, HeldSubject
from service.errors import UnknownItem
from service.gallery.gallery_records import ErasedSubject


def held_subject(
    catalog: Catalog,
    workspace_id: str,
    subject_ids: Sequence[str],
    *,
    limit: int,
    after: str | None,
) -> tuple[HeldSubject, Page[Scan]]:
    """What is held under any of the ids, and a page of the scans by row.

    Raises:
        UnknownItem: nothing is held under any of them.
    """
    parts: list[tuple[HeldSubject, Page[Scan]]] = []
    missing: list[UnknownItem] = []
    for subject_id in subject_ids:
        try:
            parts.append(catalog.subject(workspace_id, subject_id, limit=limit + 1, after=after))
        except UnknownItem as error:
            missing.append(error)
    if not parts:
        raise missing[-1]
    scans = sorted((s for _, page in parts for s in page.items), key=lambda scan: scan.row_id)
    page = new_page(scans[: limit + 1], limit, lambda scan: str(scan.row_id))
    return _joined([held for held, _ in parts]), page


def _joined(parts: Sequence[HeldSubject]) -> HeldSubject:
    scans: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    examples: dict[str, HeldExamples] = {}
    for held in parts:
        scans.update({item.collection: item.scans for item in held.collections})
        outcomes.update(held.outcomes_of)
        for item in held.classifiers:
            known = examples.get(item.classifier)
            examples[item.classifier] = item if known is None else _sum(known, item)
    return HeldSubject(
        tuple(HeldScans(name, scans[name]) for name in sorted(scans)),
        tuple(sorted({study for held in parts for study in held.study_ids})),
        tuple(examples[name] for name in sorted(examples)),
        outcomes,
    )


def _sum(first: HeldExamples, second: HeldExamples) -> HeldExamples:
    return HeldExamples(
        first.classifier,
        first.examples + second.examples,
        first.uploads + second.uploads,
        tuple(sorted({*first.versions, *second.versions})),
    )


def one_receipt(receipts: Sequence[ErasedSubject]) -> ErasedSubject:
    """The receipt of several erasures, one after the other."""
    if len(receipts) == 1:
        return receipts[0]
    erased = {scan for receipt in receipts for scan in receipt.scans}
    known = [receipt.backups_know for receipt in receipts]
    return ErasedSubject(
        scans=tuple(scan for receipt in receipts for scan in receipt.scans),
        row_ids=tuple(row for receipt in receipts for row in receipt.row_ids),
        classifiers=tuple(sorted({name for r in receipts for name in r.classifiers})),
        uploads=sum(receipt.uploads for receipt in receipts),
        copies=tuple(
            dict.fromkeys(c for receipt in receipts for c in receipt.copies if c not in erased)
        ),
        backups_know=None if None in known else all(known),
    )
