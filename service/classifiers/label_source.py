"""The source of a version's labels, and how it differs from what the version has learnt.

The labels of scans are the truth, and a version is what was fitted from them at one time. Its
settings hold the source. Later labels are found by comparing, not by times: a label that changed
while the fit ran is a change as well.

A person may correct a version by hand (``relabel``, ``drop``, named scans). Such a correction
stands until the label of the scan changes, so three states are compared: the labels that the fit
read (``seen``), the examples of the version (``ours``), and the labels of today (``theirs``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from service.catalog.filter_records import ScanFilter
from service.catalog.records import ClassifierVersion, VersionExample
from service.classifiers.fitting import names_patients
from service.classifiers.requests import ExampleSelection
from service.errors import InputError
from service.fewshot.portable import from_plain

SOURCE = "source"  # in the settings of a version
UNLABELLED = "unlabelled"  # the same


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Where the examples of a version come from.

    Attributes:
        collection: None = no labels of a collection: named scans and uploads only.
        task: label task of the collection; ``tasks`` for multi-label classifiers.
        filter: of the request, as it was written.
        where: the same as the catalog takes it; None = it names subjects or studies. Such a filter
            is not kept, because erasing a subject could not reach it.
        by_hand: ids of scans of the collection that the fit got by name and not by their label.
        overrides: scan id -> label as it was read, where a correction by hand went before it.
        read_for: number of the version whose fit read the labels; None = this one.
        scans, uploads: examples of each kind.
    """

    collection: str | None = None
    task: str | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    filter: Mapping[str, Any] | None = None
    where: ScanFilter | None = None
    by_hand: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    read_for: int | None = None
    scans: int = 0
    uploads: int = 0

    @classmethod
    def of(cls, selection: ExampleSelection) -> "LabelSource":
        """The source of a request."""
        if selection.collection is None or not (selection.task or selection.tasks):
            return cls()
        kept = not names_patients(selection.where)
        return cls(
            selection.collection,
            selection.task,
            selection.tasks,
            selection.filter if kept else None,
            selection.where if kept else None,
        )

    @classmethod
    def of_version(cls, version: ClassifierVersion) -> "LabelSource | None":
        """The source of a stored version; None for an import, or one of release 0.1.0."""
        stored = version.settings.get(SOURCE)
        return None if stored is None else from_plain(cls, stored)

    def inherited(self, version: int) -> "LabelSource":
        """The source of a version that was made from ``version`` without reading labels."""
        return replace(self, read_for=self.read_for or version)

    def to_json(self) -> dict[str, Any]:
        """For the settings of a version."""
        return asdict(self)

    @property
    def place(self) -> tuple[Any, ...]:
        """Equal for sources of the same labels."""
        return self.collection, self.task, dict(self.tasks), self.where

    @property
    def has_labels(self) -> bool:
        """Whether its labels can be read again."""
        return self.collection is not None and self.where is not None

    @property
    def selection(self) -> ExampleSelection:
        """The request that reads its labels. Raises InputError: it has none."""
        if self.collection is None or self.where is None:
            raise InputError("the source has no labels of a collection")
        return ExampleSelection(self.collection, self.task, self.tasks, self.where)


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """How many labels of the source the version has not learnt.

    Attributes:
        newer: scans with a label that the version has no example of.
        changed: examples whose scans have another label by now.
        removed: examples whose scans have no label by now, fail the filter, or are deleted.
        not_counted_because: why the counts are None.
    """

    newer: int | None = None
    changed: int | None = None
    removed: int | None = None
    not_counted_because: str | None = None


@dataclass(frozen=True, slots=True)
class SourceMerge:
    """What has to change so that a version has the labels of its source.

    Attributes:
        newer: scan ids to add; ``changed`` those to relabel, with the label; ``removed`` to drop.
    """

    newer: tuple[str, ...]
    changed: Mapping[str, str]
    removed: tuple[str, ...]

    @property
    def counts(self) -> SourceChanges:
        """How many of each."""
        return SourceChanges(len(self.newer), len(self.changed), len(self.removed))

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to change."""
        return not (self.newer or self.changed or self.removed)


def collections_read(version: ClassifierVersion) -> tuple[str, ...]:
    """The collections that a refit of a version reads: of its labels and of unlabelled scans."""
    source = LabelSource.of_version(version)
    unlabelled = version.settings.get(UNLABELLED) or {}
    names = (source and source.collection, unlabelled.get("collection"))
    return tuple(name for name in names if name)


def seen_labels(source: LabelSource, root: Sequence[VersionExample]) -> dict[str, str]:
    """Scan id -> label that the fit read; ``root`` are the examples of that fit."""
    by_hand = frozenset(source.by_hand)
    learnt = labels_in(root, source.collection or "")
    labels = {scan_id: label for scan_id, label in learnt.items() if scan_id not in by_hand}
    return {**labels, **source.overrides}


def merged(
    seen: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> SourceMerge:
    """Scan id -> label, of three states; a correction by hand stands while the label is as seen."""
    newer: list[str] = []
    changed: dict[str, str] = {}
    for scan_id, label in theirs.items():
        if seen.get(scan_id) == label:
            continue
        if scan_id not in ours:
            newer.append(scan_id)
        elif ours[scan_id] != label:
            changed[scan_id] = label
    removed = [scan_id for scan_id in ours if scan_id in seen and scan_id not in theirs]
    return SourceMerge(tuple(newer), changed, tuple(removed))


def labels_in(
    examples: Sequence[VersionExample], collection: str, *, kept: bool = True
) -> dict[str, str]:
    """Scan id -> label of the examples of a collection; by default of those that still exist."""
    return {
        example.scan[1]: example.label
        for example in examples
        if example.scan is not None
        and example.scan[0] == collection
        and (example.is_kept or not kept)
    }
