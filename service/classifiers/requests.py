"""What is asked of classifiers, as plain data: a job stores a request and reads it again.

Shape suffixes: D embedding width.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from service.arrays import Floats
from service.catalog.records import Author, ScanFilter
from service.classifiers.examples import Reference, key_of, labels_of
from service.classifiers.fitting import MULTI, SINGLE, FitOptions
from service.errors import InputError
from service.fewshot.portable import from_plain

Labelling: TypeAlias = str | tuple[str, ...]  # a class, or all labels of a multi-label example
ReviewKind: TypeAlias = Literal["next", "suspect", "conflict"]


@dataclass(frozen=True, slots=True)
class ScanExample:
    """A stored scan and what it is learnt as: ``label``, or ``labels`` of a multi-label one."""

    collection: str
    scan_id: str
    label: str | None = None
    labels: tuple[str, ...] | None = None

    @property
    def labelling(self) -> Labelling:
        """Its class, or all its labels."""
        return self.label if self.label is not None else self.labels or ()


@dataclass(frozen=True, slots=True)
class UploadedExample:
    """An uploaded image after embedding, and what it is learnt as.

    Attributes:
        embedding_D: float32, unit length.
    """

    embedding_D: Floats
    sha256: str
    label: Labelling
    subject_id: str | None = None
    study_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExampleSelection:
    """Examples that are stored scans: those of a task, named ones, or both.

    Attributes:
        task: label task of ``collection`` whose values are the classes.
        tasks: for multi-label classifiers: task -> value that means its label is there.
        where: which scans of the task or tasks.
    """

    collection: str | None = None
    task: str | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    where: ScanFilter = field(default_factory=ScanFilter)
    scans: tuple[ScanExample, ...] = ()


@dataclass(frozen=True, slots=True)
class FitRequest:
    """A new classifier, and what it is fitted from."""

    name: str
    examples: ExampleSelection
    options: FitOptions = field(default_factory=FitOptions)
    author: Author = field(default_factory=Author)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> "FitRequest":
        """What ``to_json`` gave. Raises InputError."""
        return from_plain(cls, document)


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """The next version of a classifier.

    Attributes:
        version: number of the version to start from, ``latest`` or ``published``.
        examples: to add; those that the version has already are relabelled.
        options: how to fit; where it is empty, as the version it starts from.
    """

    name: str
    version: str
    examples: ExampleSelection
    relabel: tuple[tuple[Reference, Labelling], ...] = ()
    drop: tuple[Reference, ...] = ()
    options: FitOptions = field(default_factory=FitOptions)
    author: Author = field(default_factory=Author)
    publish: bool = False
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """Which labels to look at.

    Attributes:
        number: of the version.
        collection, tasks: of ``next``: scans of the collection that lack a label for a task.
    """

    name: str
    number: int
    kind: ReviewKind
    limit: int
    collection: str | None = None
    tasks: tuple[str, ...] = ()


def label_key(kind: str, label: Labelling) -> str:
    """The text under which an example of this kind of classifier is stored and compared.

    Raises:
        InputError: a class where a list of labels is expected, or the other way round.
    """
    if kind == MULTI and not isinstance(label, str):
        return key_of(label)
    if kind == SINGLE and isinstance(label, str):
        return label
    raise InputError(
        "a multi-label classifier takes a list of labels per example, and tasks instead of a task; "
        "a single-label one takes a label, and a task"
    )


def labelling_of(kind: str, key: str) -> Labelling:
    """What ``label_key`` made the key of."""
    return tuple(sorted(labels_of(key))) if kind == MULTI else key
