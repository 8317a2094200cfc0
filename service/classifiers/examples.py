"""Labelled examples as columns, and changes of them.

They are columns, because a fit may have 100,000. An example of a multi-label classifier holds its
labels as one text (``key_of``), so that both kinds are stored, compared and corrected alike.

Shape suffixes: N examples, D embedding width, V views of an example.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from service.arrays import Floats
from service.catalog.plain_text import require_name
from service.catalog.records import NewExample
from service.errors import (
    ConflictingLabels,
    InputError,
    UnknownItem,
)
from service.fewshot.fit import MAX_CLASS_NAME
from service.fewshot.label_quality import in_conflict

Ids: TypeAlias = tuple[str | None, str | None]  # of the subject and the study


class Example(NamedTuple):
    """One labelled embedding.

    Attributes:
        embedding_D: float32, unit length.
        label: its class; for a multi-label classifier the key of its labels.
        group: ``group_of``; a fit joins it with those of the same patient (``grouped``).
        sha256: of the image file; None when it is no longer known.
        scan: (collection, scan_id) of a stored scan.
        example_id: of an example of an earlier version.
        file: its number among the files of the request, from 0; None = not uploaded.
        views_VD: of an upload, the embeddings of its views; None where none were made.
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
    views_VD: Floats | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled embeddings as columns of length N, one per field of ``Example``."""

    embeddings_ND: Floats
    labels: Sequence[str]
    groups: Sequence[str]
    sha256s: Sequence[str | None]
    scans: Sequence[tuple[str, str] | None]
    subject_ids: Sequence[str | None]
    study_ids: Sequence[str | None]
    example_ids: Sequence[str | None]
    files: Sequence[int | None]
    views: Sequence[Floats | None]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, rows: Sequence[Example]) -> "Examples":
        """The columns of rows."""
        if not rows:
            return cls(np.empty((0, 0), np.float32), (), (), (), (), (), (), (), (), ())
        embeddings, *columns = zip(*rows, strict=True)
        return cls(np.stack(embeddings), *columns)

    @classmethod
    def joined(cls, parts: Sequence["Examples"]) -> "Examples":
        """All parts in order; a single one is not copied."""
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else cls.of(())
        return cls(
            np.concatenate([part.embeddings_ND for part in filled]),
            *([value for part in filled for value in column_of(part)] for column_of in _COLUMNS),
        )

    def take(self, rows: Sequence[int]) -> "Examples":
        """Some rows, ascending; no copy when they are all."""
        if len(rows) == len(self):
            return self
        columns = ([column_of(self)[row] for row in rows] for column_of in _COLUMNS)
        return Examples(self.embeddings_ND[list(rows)], *columns)

    def ids(self) -> list[Ids]:
        """The subject and the study of each example."""
        return list(zip(self.subject_ids, self.study_ids, strict=True))

    def identities(self) -> list[str]:
        """One text per example, equal for the same image."""
        columns = zip(self.sha256s, self.scans, self.example_ids, strict=True)
        return [sha256 or str(scan or example_id) for sha256, scan, example_id in columns]

    def name(self, row: int) -> str:
        """The name of an example in errors: an id, never a file name or label.

        One of an earlier version has its ``example_id``: whoever reads the error may know the
        classifier and not the collection of the scan. A scan that the request chose has its name.
        """
        example_id, scan = self.example_ids[row], self.scans[row]
        if example_id is not None:
            return f"example {example_id}"
        if scan is not None:
            return f"scan {scan[0]}/{scan[1]}"
        return f"file {self.files[row]} (sha256 {(self.sha256s[row] or '')[:12]})"


_COLUMNS = tuple(
    attrgetter(column.name) for column in fields(Examples) if column.name != "embeddings_ND"
)


def class_name(name: str) -> str:
    """The name in NFC, with plain blanks and none around it.

    Raises:
        InputError: then not of 1 to 128 characters, or with characters that nobody sees.
    """
    composed = require_name(name, "a class name")
    if len(composed) > MAX_CLASS_NAME:
        raise InputError(f"expected class names of at most {MAX_CLASS_NAME} characters")
    return composed


def class_names(names: Iterable[str]) -> list[str]:
    """``class_name`` of each; each spelling is looked at once. Raises InputError."""
    known: dict[str, str] = {}
    return [known.get(name) or known.setdefault(name, class_name(name)) for name in names]


def by_class_name(values: Mapping[str, float] | None) -> dict[str, float] | None:
    """The same values by ``class_name``. Raises InputError: two are of one name."""
    if values is None:
        return None
    named = {class_name(name): value for name, value in values.items()}
    if len(named) < len(values):
        raise InputError("expected one value per class or label, got two spellings of one name")
    return named


def key_of(labels: Iterable[str]) -> str:
    """A text for a set of labels, equal for equal sets."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def labels_of(key: str) -> frozenset[str]:
    """The labels of a ``key_of``. Raises InputError: the text is not a list."""
    try:
        labels = json.loads(key)
    except ValueError:
        labels = None
    if not isinstance(labels, list):
        raise InputError("expected examples with lists of labels")
    return frozenset(map(str, labels))


def group_of(subject_id: str | None, study_id: str | None, sha256: str) -> str:
    """The group of one example by its own ids: the subject, else the study, else the image.

    Other examples may tell the subject of its study: ``joined_by_study``.
    """
    if subject_id is not None:
        return f"subject:{subject_id}"
    if study_id is not None:
        return f"study:{study_id}"
    return f"image:{sha256}"


def subjects_of_studies(ids: Iterable[Ids]) -> dict[str, str | None]:
    """Study -> the only subject that ids name with it; None where they name several."""
    subjects: dict[str, str | None] = {}
    for subject_id, study_id in ids:
        if subject_id is not None and study_id is not None:
            same = subjects.setdefault(study_id, subject_id) == subject_id
            subjects[study_id] = subject_id if same else None
    return subjects


def known_subject(ids: Ids, subjects: Mapping[str, str | None]) -> str | None:
    """The subject, or that of the study in ``subjects_of_studies``; None = nobody is known."""
    subject_id, study_id = ids
    return subjects.get(study_id) if subject_id is None and study_id is not None else subject_id


def joined_by_study(
    groups: Sequence[str], ids: Sequence[Ids], others: Iterable[Ids] = ()
) -> list[str]:
    """Groups of ``group_of``, where a study without a subject joins the subject of the study.

    Frames of one study often differ in whether their subject is known, and must not lie on both
    sides of a split. A study of several subjects (some sites number the studies of each patient)
    stays a group of its own: joining would make one patient of all of them.

    Args:
        ids: of the same rows.
        others: ids of further rows, which may name the subject of a study too.
    """
    subjects = subjects_of_studies(chain(ids, others))
    known = [known_subject(i, subjects) for i in ids]
    return [
        group if subject_id is None else group_of(subject_id, None, "")
        for group, subject_id in zip(groups, known, strict=True)
    ]


def subject_in(group: str) -> str | None:
    """The subject of a ``group_of``; None = nobody is known."""
    return group.removeprefix("subject:") if group.startswith("subject:") else None


def without_repetitions(examples: Examples) -> Examples:
    """Every image once.

    Raises:
        ConflictingLabels: an image has two labels.
    """
    first_row: dict[str, int] = {}
    conflicts: list[tuple[str, str]] = []
    for row, identity in enumerate(examples.identities()):
        first = first_row.setdefault(identity, row)
        if examples.labels[first] != examples.labels[row]:
            conflicts.append((examples.name(first), examples.name(row)))
    if conflicts:
        raise ConflictingLabels(in_conflict(conflicts))
    return examples.take(list(first_row.values()))


@dataclass(frozen=True, slots=True)
class Reference:
    """An example of a classifier, by its own id or by its scan."""

    example_id: str | None = None
    scan: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes from a version to the next; added examples may relabel existing ones.

    Attributes:
        may_stay: whether no change is accepted.
        settings: further ones of the next version.
    """

    add: Examples = field(default_factory=lambda: Examples.of(()))
    relabel: tuple[tuple[Reference, str], ...] = ()
    drop: tuple[Reference, ...] = ()
    may_stay: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def changed(base: Examples, changes: Changes) -> tuple[Examples, dict[str, int]]:
    """The examples of the next version, and how many were added, relabelled and dropped.

    Raises:
        UnknownItem: a reference names no example of the base.
        InputError: nothing would change, or changes contradict each other.
    """
    rows_by_id = {example_id: row for row, example_id in enumerate(base.example_ids)}
    rows_by_scan = {scan: row for row, scan in enumerate(base.scans) if scan is not None}

    def row_of(reference: Reference) -> int:
        if reference.scan is not None:
            row = rows_by_scan.get(reference.scan)
        else:
            row = rows_by_id.get(reference.example_id)
        if row is None:
            raise UnknownItem("the version has no such example")
        return row

    dropped = {row_of(reference) for reference in changes.drop}
    labels: dict[int, str] = {}

    def relabel(row: int, label: str) -> None:
        if labels.setdefault(row, label) != label:
            raise InputError("one example was given two different labels")

    for reference, label in changes.relabel:
        relabel(row_of(reference), label)
    added = without_repetitions(changes.add)
    rows_by_identity = {identity: row for row, identity in enumerate(base.identities())}
    fresh: list[int] = []
    for row, identity in enumerate(added.identities()):
        known = rows_by_identity.get(identity)
        if known is None:
            fresh.append(row)
        else:
            relabel(known, added.labels[row])
    if dropped & labels.keys():
        raise InputError("one example was both dropped and relabelled")
    differs = sum(base.labels[row] != label for row, label in labels.items())
    counts = {"added": len(fresh), "relabelled": differs, "dropped": len(dropped)}
    if not changes.may_stay and not any(counts.values()):
        raise InputError("expected a change: examples to add, to relabel or to drop")
    relabelled = replace(
        base, labels=[labels.get(row, label) for row, label in enumerate(base.labels)]
    )
    kept = relabelled.take([row for row in range(len(base)) if row not in dropped])
    return Examples.joined([kept, added.take(fresh)]), counts


def to_records(examples: Examples, groups: Sequence[str]) -> tuple[NewExample, ...]:
    """Records for the catalog, with groups as numbers; a scan keeps its own ids and embedding."""
    numbers: dict[str, int] = {}
    columns = (
        *(examples.labels, groups, examples.example_ids, examples.scans, examples.sha256s),
        *(examples.subject_ids, examples.study_ids, examples.embeddings_ND, examples.views),
    )
    return tuple(
        NewExample(
            label=label,
            group=numbers.setdefault(group, len(numbers)),
            example_id=example_id,
            scan=scan,
            sha256=sha256,
            subject_id=None if scan else subject_id,
            study_id=None if scan else study_id,
            embedding_D=None if scan else _stored(row_D, views_VD),
        )
        for label, group, example_id, scan, sha256, subject_id, study_id, row_D, views_VD in zip(
            *columns, strict=True
        )
    )


def _stored(embedding_D: Floats, views_VD: Floats | None) -> Floats:
    """The embedding, and behind it those of the other views."""
    if views_VD is None:
        return embedding_D
    return np.concatenate([embedding_D, views_VD[1:].ravel()])
