"""Answers about classifiers as lines for a person, with tabs between their fields."""

from collections.abc import Iterator

from sonoprobe_client.models import (
    ClassifierAnswer,
    HeadReportAnswer,
    MonitorAnswer,
    OutcomeFiguresAnswer,
    ReferenceAnswer,
    SigningKeyAnswer,
    VersionAnswer,
    VersionReport,
    WindowUsageAnswer,
)


def classifier_row(found: ClassifierAnswer) -> str:
    """Name, version, accuracy with its interval, classes."""
    calibrated = "calibrated" if found.calibrated else "not calibrated"
    version = f"version {found.published_version} of {found.latest_version}"
    classes = ", ".join(found.classes)
    return "\t".join((found.name, version, accuracy_of(found.report), calibrated, classes))


def version_row(found: VersionAnswer) -> str:
    """Number, whether it predicts, accuracy, examples, when it was made."""
    state = "published" if found.published else ""
    examples = f"{found.examples} examples"
    fields = (f"version {found.version}", state, accuracy_of(found.report), examples)
    return "\t".join(filter(None, (*fields, found.created_at)))


def accuracy_of(report: VersionReport | None) -> str:
    """Balanced accuracy with its interval."""
    if report is None or report.balanced_accuracy is None or report.interval_95 is None:
        return "not evaluated"
    low, high = report.interval_95
    return f"balanced accuracy {report.balanced_accuracy:.3f} ({low:.3f} to {high:.3f})"


def unlabelled_row(head: HeadReportAnswer) -> str:
    """Whether scans without a label took part."""
    found = head.unlabelled
    if found is None:
        return ""
    verb = "used" if found.used else "not used"
    return f"{found.scans} unlabelled scans {verb}: {found.because}"


def signing_key_row(found: SigningKeyAnswer) -> str:
    """Id, name, what the key is for, the key."""
    state = "signs" if found.signs else "own, retired" if found.own else "trusted"
    return "\t".join((found.key_id, found.name, state, found.public_key))


def monitor_rows(found: MonitorAnswer) -> Iterator[str]:
    """Windows, the reference, the last tests, accuracy in use."""
    yield f"{found.classifier} version {found.version}"
    for window in found.windows:
        yield "\t".join((window.window, f"{window.answers} answers", *_figures(window)))
    reference = found.reference
    if reference is None:
        yield f"no reference: {found.no_reference_because}"
    else:
        yield "\t".join(("reference", f"{reference.groups} groups", *_figures(reference)))
    if found.not_tested_because:
        yield f"not tested: {found.not_tested_because}"
    for test in found.latest:
        alarms = [figure.figure for figure in test.figures if figure.alarms]
        said = f"ALARM: {', '.join(alarms)}" if alarms else "as usual"
        yield f"last {test.window} answers\t{said}"
    for head in found.outcomes.labels:
        yield from _accuracy_in_use(head)


def _accuracy_in_use(head: OutcomeFiguresAnswer) -> Iterator[str]:
    accuracy = head.accuracy
    if accuracy is None:
        return
    label = "" if head.label is None else f"{head.label}: "
    interval = f"({accuracy.low:.3f} to {accuracy.high:.3f})"
    patients = f"{head.outcomes} outcomes of {head.groups} patients"
    yield f"{label}right in use {accuracy.value:.3f} {interval}, {patients}"


def _figures(of: WindowUsageAnswer | ReferenceAnswer) -> list[str]:
    named = {
        "abstained_share": of.abstained_share,
        "similarity_median": of.similarity_median,
        "confidence_mean": of.confidence_mean,
    }
    return [f"{name} {value:.3f}" for name, value in named.items() if value is not None]
