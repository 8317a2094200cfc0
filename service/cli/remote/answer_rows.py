"""Answers of the service as lines for a person, with tabs between their fields."""

from collections.abc import Iterator

from sonoprobe_client.models import (
    CollectionAnswer,
    ComparisonAnswer,
    ErasureAnswer,
    FacetsAnswer,
    HitAnswer,
    LabelledSummary,
    OperationAnswer,
    ReviewItemAnswer,
    ScanAnswer,
    ScanDeleted,
    ScanRecord,
    UsedLimitAnswer,
)


def collection_row(found: CollectionAnswer) -> str:
    """Name, scans, what is kept."""
    kept = "images kept" if found.keep_images else "no images kept"
    days = "" if found.retention_days is None else f"for {found.retention_days:g} days"
    return "\t".join(filter(None, (found.name, f"{found.scans} scans", kept, days)))


def label_counts(facets: FacetsAnswer) -> Iterator[str]:
    """One line for each class of each task."""
    for task, facet in facets.labels.items():
        for value in facet.values:
            yield f"{task}\t{value.value}\t{value.scans} scans"


def labels_of(scan: ScanAnswer | ScanRecord) -> str:
    """Such as ``finding:benign view:long``."""
    return " ".join(f"{task}:{label}" for task, label in sorted(scan.labels.items()))


def scan_row(scan: ScanAnswer) -> str:
    """Scan, patient, study, labels."""
    return "\t".join((scan.scan_id, scan.subject_id or "-", scan.study_id or "-", labels_of(scan)))


def hit_row(hit: HitAnswer) -> str:
    """Score, scan, patient, labels."""
    scan = hit.scan
    return "\t".join((f"{hit.score:.4f}", scan.scan_id, scan.subject_id or "-", labels_of(scan)))


def review_row(item: ReviewItemAnswer) -> str:
    """Scan or example, label, the guess of the classifier, why it is listed."""
    names = [item.scan.scan_id if item.scan else "", *(e.example_id for e in _examples(item))]
    what = " and ".join(filter(None, names))
    return "\t".join((what or "-", item.label or "-", item.guess or "-", item.reason))


def _examples(item: ReviewItemAnswer) -> Iterator[LabelledSummary]:
    for example in (item.example, item.other):
        if example is not None:
            yield example


def comparison_rows(found: ComparisonAnswer) -> Iterator[str]:
    """Both versions, each difference with its interval, the verdict."""
    for version in (found.first, found.second):
        accuracy = version.balanced_accuracy
        told = "not evaluated" if accuracy is None else f"balanced accuracy {accuracy:.3f}"
        yield f"version {version.version}\t{told}"
    for difference in found.differences:
        label = f" of {difference.label}" if difference.label is not None else ""
        if difference.value is None or difference.low is None or difference.high is None:
            told = f"cannot tell: {difference.cannot_tell_because}"
        else:
            interval = f"({difference.low:+.3f} to {difference.high:+.3f})"
            told = f"{difference.value:+.3f} {interval}\t{difference.verdict}"
        yield f"{difference.metric}{label}\t{told}"
    yield f"{found.shared_examples} shared examples of {found.groups} groups: {found.verdict}"


def receipt_rows(receipt: ErasureAnswer | ScanDeleted) -> Iterator[str]:
    """What is gone, and what the reader still has to do."""
    if isinstance(receipt, ErasureAnswer):
        yield f"{len(receipt.scans)} scans and {receipt.uploads} uploads erased"
        for scan in receipt.scans:
            yield f"erased\t{scan.collection}\t{scan.scan_id}"
    else:
        yield f"erased\t{receipt.deleted}"
    for copy in receipt.copies:
        yield f"stays as a copy\t{copy.collection}\t{copy.scan_id}"
    for classifier in receipt.classifiers:
        yield f"learnt from it\t{classifier}"
    if receipt.operation is not None:
        yield f"refit\t{receipt.operation.operation_id}"
    if receipt.backups_know is False:
        yield "backups do not know it yet: a restore of one would bring it back"


def operation_row(found: OperationAnswer) -> str:
    """Id, kind, state, progress, why it failed."""
    progress = f"{found.progress.done} of {found.progress.total}"
    reason = "" if found.problem is None else found.problem.code
    return "\t".join(filter(None, (found.operation_id, found.kind, found.state, progress, reason)))


def limit_row(found: UsedLimitAnswer) -> str:
    """Limit, used, most."""
    used = "-" if found.used is None else f"{found.used:g}"
    most = "no limit" if found.most is None else f"of {found.most:g}"
    return "\t".join((found.limit, used, most))
