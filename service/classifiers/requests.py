"""Requests to classifiers as plain data, which jobs store and read again.

Shape suffixes: D embedding width, V views of an example.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from service.arrays import Floats
from service.catalog.filter_records import ScanFilter
from service.catalog.records import Author
from service.classifiers.examples import Reference, class_name, class_names, key_of, labels_of
from service.classifiers.fitting import MULTI, SINGLE, FitOptions
from service.classifiers.refusals import OnRefused, RefusedExample
from service.errors import InputError
from service.fewshot.portable import from_plain

Labelling: TypeAlias = str | tuple[str, ...]  # a class, or all labels of a multi-label example
ReviewKind: TypeAlias = Literal["next", "suspect", "conflict"]


@dataclass(frozen=True, slots=True)
class ScanExample:
    """A stored scan with its class in ``label``, or with ``labels`` for multi-label."""

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
    """An embedded upload with its class or labels; ``embedding_D`` has unit length.

    Attributes:
        file: its number among the files of the request, from 0.
        views_VD: the embeddings of its views, the first its own; None unless they are needed.
    """

    embedding_D: Floats
    sha256: str
    label: Labelling
    subject_id: str | None = None
    study_id: str | None = None
    file: int | None = None
    views_VD: Floats | None = None


@dataclass(frozen=True, slots=True)
class ExampleSelection:
    """Examples that are stored scans: those of a task, named ones, or both.

    Attributes:
        task: label task of ``collection`` whose values are the classes.
        tasks: of multi-label classifiers, task -> value that means that the label is present.
        where: filter of the scans of the task or tasks; ``filter`` as the request wrote it.
    """

    collection: str | None = None
    task: str | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    where: ScanFilter = field(default_factory=ScanFilter)
    scans: tuple[ScanExample, ...] = ()
    filter: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FitRequest:
    """A new classifier and its examples."""

    name: str
    examples: ExampleSelection
    options: FitOptions = field(default_factory=FitOptions)
    author: Author = field(default_factory=Author)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> "FitRequest":
        """Read ``to_json``. Raises InputError."""
        return from_plain(cls, document)


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """The next version of a classifier.

    Attributes:
        version: number of the version to start from, ``latest`` or ``published``.
        examples: to add; those of the version are relabelled.
        options: how to fit; None = as the version it starts from.
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
class RefitFromSource:
    """The next version of a classifier, with the labels that its source has now.

    Attributes:
        version: number of the version to start from, ``latest`` or ``published``.
        source: another source; None = that of the version.
        options: how to fit; None = as the version it starts from.
    """

    name: str
    version: str = "latest"
    source: ExampleSelection | None = None
    options: FitOptions = field(default_factory=FitOptions)
    author: Author = field(default_factory=Author)
    publish: bool = False
    if_revision: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> "RefitFromSource":
        """Read ``to_json``. Raises InputError."""
        return from_plain(cls, document)


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """Labelled examples to evaluate a version on.

    Attributes:
        allow_known: also use examples that took part in the fit.
        on_refused: whether refused examples fail the request or are left out.
        unusable: uploads that could not be embedded.
    """

    name: str
    number: int
    examples: ExampleSelection
    uploads: tuple[UploadedExample, ...] = ()
    unusable: tuple[RefusedExample, ...] = ()
    allow_known: bool = False
    on_refused: OnRefused = "fail"


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """Which labels to review.

    Attributes:
        number: of the version.
        collection, tasks: for ``next``: scans of the collection that lack a label for a task.
    """

    name: str
    number: int
    kind: ReviewKind
    limit: int
    collection: str | None = None
    tasks: tuple[str, ...] = ()


def label_key(kind: str, label: Labelling) -> str:
    """The text that stores the label or labels of an example.

    Raises:
        InputError: a class where a list of labels is expected, or the other way round; a name that
            no class may have.
    """
    if kind == MULTI and not isinstance(label, str):
        return key_of(class_names(label))
    if kind == SINGLE and isinstance(label, str):
        return class_name(label)
    raise InputError(
        "a multi-label classifier takes a list of labels per example, and tasks instead of a task; "
        "a single-label one takes a label, and a task"
    )


def labelling_of(kind: str, key: str) -> Labelling:
    """The label or labels of a ``label_key``."""
    return tuple(sorted(labels_of(key))) if kind == MULTI else key
