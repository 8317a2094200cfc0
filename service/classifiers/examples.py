"""Labelled examples: from the scans of a collection, from uploads, or from an earlier version.

An example of a multi-label classifier carries its labels as one text, ``key_of`` of them: so it is
stored, compared, corrected and refused like any other.

Shape suffixes: N examples, D embedding width.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.records import LabelledScans, NewExample, Scan, ScanFilter, VersionExample
from service.errors import (
    ConflictingLabels,
    EncoderMismatch,
    InputError,
    TooManyItems,
    UnknownItem,
)
from service.fewshot.label_quality import in_conflict

Floats: TypeAlias = npt.NDArray[np.float32]
_PAGE = 1000


class Example(NamedTuple):
    """One labelled embedding; a tuple for the sake of fits from 100,000.

    Attributes:
        embedding_D: float32, unit length.
        label: its class; of a multi-label classifier the key of its labels.
        group: subject, study, or the image itself; never on both sides of a judgement.
        sha256: of the image file; None when it is not known any more.
        scan: (collection, scan_id) when it is a stored scan.
        example_id: when the classifier has it already.
        file: its place among the files of the request, from 0; None = not uploaded by it.
    """

    embedding_D: Floats
    label: str
    group: str
    sha256: str | None = None
    scan: tuple[str, str] | None = None
    subject_id: str | None = None
    study_id: str | None = None
    example_id: str | None = None
    file: int | None = None

    @property
    def identity(self) -> str:
        """Equal for two examples that are the same image."""
        return self.sha256 or str(self.scan or self.example_id)

    @property
    def called(self) -> str:
        """What an error calls it: by an id of the caller or of ours, never by file or label."""
        if self.scan is not None:
            return f"scan {self.scan[0]}/{self.scan[1]}"
        return self.example_id or f"file {self.file} (sha256 {(self.sha256 or '')[:12]})"


def key_of(labels: Iterable[str]) -> str:
    """One text for a set of labels: equal exactly when the sets are."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def labels_of(key: str) -> frozenset[str]:
    """The labels of a ``key_of``. Raises InputError: it is none."""
    try:
        found = json.loads(key)
    except ValueError as error:
        raise InputError("expected examples with lists of labels") from error
    if not isinstance(found, list):
        raise InputError("expected examples with lists of labels")
    return frozenset(str(name) for name in found)


class Sources:
    """Where the examples of one catalog come from."""

    def __init__(self, catalog: Catalog, *, encoder_id: str, dim: int, max_examples: int) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._max_examples = max_examples

    def of_task(
        self, workspace_id: str, collection: str, task: str, where: ScanFilter
    ) -> list[Example]:
        """Every scan of a collection that carries a label for ``task``.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection was made by another encoder.
            TooManyItems: more scans than one fit may have.
        """
        found = self._labelled(workspace_id, collection, [task], where)
        return _read_examples(collection, found, [labels[task] for labels in found.labels])

    def of_tasks(
        self, workspace_id: str, collection: str, tasks: Mapping[str, str], where: ScanFilter
    ) -> list[Example]:
        """Every scan that carries a label for all ``tasks``, for a multi-label classifier.

        A task gives the label of its name where the scan's value is the one that ``tasks`` holds.

        Raises:
            UnknownItem, EncoderMismatch, TooManyItems: as ``of_task``.
        """
        found = self._labelled(workspace_id, collection, list(tasks), where)
        keys = [
            key_of(name for name, value in tasks.items() if labels[name] == value)
            for labels in found.labels
        ]
        return _read_examples(collection, found, keys)

    def _labelled(
        self, workspace_id: str, collection: str, tasks: Sequence[str], where: ScanFilter
    ) -> LabelledScans:
        self.check_collection(workspace_id, collection)
        there = ScanFilter(label_presence=dict.fromkeys(tasks, True))
        both = replace(where, all_of=(*where.all_of, there))
        return self._catalog.labelled(workspace_id, collection, where=both, most=self._max_examples)

    def scans_of(self, workspace_id: str, collection: str, where: ScanFilter) -> list[Scan]:
        """All scans of a collection that pass. Raises as ``of_task``."""
        self.check_collection(workspace_id, collection)
        scans: list[Scan] = []
        after: str | None = None
        while True:
            page = self._catalog.list_scans(
                workspace_id, collection, where=where, limit=_PAGE, after=after
            )
            scans += page.items
            after = page.next_after
            if len(scans) > self._max_examples:
                raise TooManyItems(f"expected at most {self._max_examples} scans in one request")
            if after is None:
                return scans

    def of_scans(
        self, workspace_id: str, collection: str, labels: Sequence[tuple[str, str]]
    ) -> list[Example]:
        """The named scans with the given labels: (scan_id, label) each.

        Raises:
            UnknownItem: no such collection or scan.
            EncoderMismatch: the collection was made by another encoder.
        """
        self.check_collection(workspace_id, collection)
        labelled = [
            (self._catalog.get_scan(workspace_id, collection, scan_id), label)
            for scan_id, label in labels
        ]
        return self._examples(workspace_id, collection, labelled)

    def of_version(self, workspace_id: str, name: str, number: int) -> list[Example]:
        """Those examples of a version whose vectors are kept; a label may be empty.

        An empty label stands for one that was never recorded (catalogs of schema 1).
        """
        stored = self._catalog.version_examples(workspace_id, name, number)
        kept = [example for example in stored if example.is_kept]
        embeddings_ND = self._catalog.version_embeddings(workspace_id, name, number, dim=self._dim)
        return [
            _known(example, embedding_D)
            for example, embedding_D in zip(kept, embeddings_ND, strict=True)
        ]

    def check_collection(self, workspace_id: str, name: str) -> None:
        """Raises UnknownItem, EncoderMismatch."""
        found = self._catalog.get_collection(workspace_id, name).encoder_id
        if found != self._encoder_id:
            raise EncoderMismatch(
                f"the collection was made by {found}, loaded is {self._encoder_id}"
            )

    def _examples(
        self, workspace_id: str, collection: str, labelled: Sequence[tuple[Scan, str]]
    ) -> list[Example]:
        if not labelled:
            return []
        embeddings_ND = self._catalog.embeddings(
            workspace_id, collection, [scan.scan_id for scan, _ in labelled]
        )
        return [
            Example(
                embedding_D,
                label,
                group_of(scan.subject_id, scan.study_id, scan.image.sha256),
                scan.image.sha256,
                (collection, scan.scan_id),
                scan.subject_id,
                scan.study_id,
            )
            for embedding_D, (scan, label) in zip(embeddings_ND, labelled, strict=True)
        ]


def _read_examples(collection: str, found: LabelledScans, labels: Sequence[str]) -> list[Example]:
    columns = (found.embeddings_ND, labels, found.scan_ids)
    people = (found.sha256s, found.subject_ids, found.study_ids)
    return [
        Example(
            embedding_D,
            label,
            group_of(subject_id, study_id, sha256),
            sha256,
            (collection, scan_id),
            subject_id,
            study_id,
        )
        for embedding_D, label, scan_id, sha256, subject_id, study_id in zip(
            *columns, *people, strict=True
        )
    ]


def _known(example: VersionExample, embedding_D: Floats) -> Example:
    own = example.sha256 or example.example_id
    return Example(
        embedding_D,
        example.label or "",
        group_of(example.subject_id, example.study_id, own),
        example.sha256,
        example.scan,
        example.subject_id,
        example.study_id,
        example.example_id,
    )


def group_of(subject_id: str | None, study_id: str | None, sha256: str) -> str:
    """What must not be split: the subject, else the study, else the image."""
    if subject_id is not None:
        return f"subject:{subject_id}"
    if study_id is not None:
        return f"study:{study_id}"
    return f"image:{sha256}"


def without_repetitions(examples: Iterable[Example]) -> list[Example]:
    """Each image once.

    Raises:
        ConflictingLabels: one image came with two labels.
    """
    found: dict[str, Example] = {}
    conflicts: list[tuple[str, str]] = []
    for example in examples:
        first = found.setdefault(example.identity, example)
        if first.label != example.label:
            conflicts.append((first.called, example.called))
    if conflicts:
        raise ConflictingLabels(in_conflict(conflicts))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Reference:
    """An example of a classifier, by its own id or by its scan."""

    example_id: str | None = None
    scan: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What the next version has otherwise than its base; new examples may correct old ones."""

    add: tuple[Example, ...] = ()
    relabel: tuple[tuple[Reference, str], ...] = ()
    drop: tuple[Reference, ...] = ()


def changed(
    base: Sequence[Example], changes: Changes, *, may_stay: bool = False
) -> tuple[list[Example], dict[str, int]]:
    """The examples of the next version, and how many were added, relabelled and dropped.

    Args:
        may_stay: whether the same examples will do, because something else changes.

    Raises:
        UnknownItem: a reference names no example of the base.
        InputError: nothing would change, or two changes contradict each other.
    """
    by_id = {example.example_id: example for example in base}
    by_scan = {example.scan: example for example in base if example.scan is not None}
    dropped = {_find(by_id, by_scan, reference).example_id for reference in changes.drop}
    labels: dict[str | None, str] = {}
    for reference, label in changes.relabel:
        known = _find(by_id, by_scan, reference).example_id
        if labels.setdefault(known, label) != label:
            raise InputError("one example was given two different labels")
    by_identity = {example.identity: example.example_id for example in base}
    fresh: list[Example] = []
    for example in without_repetitions(changes.add):
        known = by_identity.get(example.identity)
        if known is None:
            fresh.append(example)
        elif labels.setdefault(known, example.label) != example.label:
            raise InputError("one example was given two different labels")
    if dropped & labels.keys():
        raise InputError("one example was both dropped and relabelled")
    kept = [
        example._replace(label=labels.get(example.example_id, example.label))
        for example in base
        if example.example_id not in dropped
    ]
    differs = sum(by_id[e.example_id].label != e.label for e in kept)
    counts = {"added": len(fresh), "relabelled": differs, "dropped": len(dropped)}
    if not may_stay and not any(counts.values()):
        raise InputError("expected a change: examples to add, to relabel or to drop")
    return kept + fresh, counts


def _find(
    by_id: dict[str | None, Example], by_scan: dict[tuple[str, str], Example], wanted: Reference
) -> Example:
    found = by_scan.get(wanted.scan) if wanted.scan is not None else by_id.get(wanted.example_id)
    if found is None:
        raise UnknownItem("the version has no such example")
    return found


def to_records(examples: Sequence[Example], groups: Sequence[str]) -> tuple[NewExample, ...]:
    """For the catalog: groups become numbers, and what a scan tells is left to the scan."""
    numbers: dict[str, int] = {}
    return tuple(
        NewExample(
            label=example.label,
            group=numbers.setdefault(group, len(numbers)),
            example_id=example.example_id,
            scan=example.scan,
            sha256=example.sha256,
            subject_id=None if example.scan else example.subject_id,
            study_id=None if example.scan else example.study_id,
            embedding_D=None if example.scan else example.embedding_D,
        )
        for example, group in zip(examples, groups, strict=True)
    )
