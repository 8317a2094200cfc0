"""What the catalog holds, as frozen dataclasses; nothing here knows how it is stored.

Shape suffixes: D embedding width. Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Scalar: TypeAlias = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Collection:
    """A named gallery, bound to one encoder. ``version`` grows with each change of its fields.

    Attributes:
        keep_images: the embedded pixels are kept, so that another encoder can read them.
        retention_days: older scans are deleted; None = never.
    """

    name: str
    encoder_id: str
    dim: int
    description: str
    created_at: str
    version: int
    scans: int
    keep_images: bool = False
    retention_days: float | None = None
    intake: Mapping[str, Any] = field(default_factory=dict)  # what it refuses


@dataclass(frozen=True, slots=True)
class PolicyPatch:
    """Changes to a collection; what ``set_fields`` does not name stays.

    Attributes: as of ``Collection``.
    """

    description: str = ""
    keep_images: bool = False
    retention_days: float | None = None
    set_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ScanImage:
    """Facts of the uploaded file and of what of it was embedded; never its name.

    Attributes:
        content_sha256: of the pixels that the encoder saw.
        frames: in the file.
        frames_used: whose embeddings were pooled.
        regions_used: of each frame.
        analysis: what was seen in the frame, as answers give it.
    """

    sha256: str
    kind: str
    format: str
    width_px: int
    height_px: int
    content_sha256: str
    frames: int = 1
    frames_used: int = 1
    frame_rate_hz: float | None = None
    regions_used: int = 1
    analysis: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One kept frame of a cine, or region of a frame; ``copies`` are those that it stands for.

    Attributes:
        place: number in its file; where n regions of each frame were embedded, the number times n
            and the region (``service.embedding.pooling``).
    """

    place: int
    time_s: float | None
    copies: int
    embedding_D: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """The kept frames of many scans, as arrays of one length N, by ascending frame.

    Attributes:
        row_ids_N: int64, the scan of each.
        places_N: int64, as ``ClipFrame.place``.
        times_s_N: float64, NaN where unknown.
        embeddings_ND: float32.
    """

    row_ids_N: npt.NDArray[np.int64]
    places_N: npt.NDArray[np.int64]
    times_s_N: npt.NDArray[np.float64]
    embeddings_ND: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NewScan:
    """A scan to be stored; ``scan_id`` None lets the catalog choose one.

    Attributes:
        image_png: stored only where the collection keeps images.
        created_at: when it was stored first, of a scan that comes from elsewhere; None = now.
    """

    scan_id: str | None
    image: ScanImage
    embedding_D: npt.NDArray[np.float32]
    thumbnail_jpeg: bytes
    subject_id: str | None = None
    study_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    image_png: bytes | None = None
    created_at: str | None = None
    frames: tuple[ClipFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """A stored scan without its vector. ``row_id`` is the int64 its vector has in an index."""

    row_id: int
    scan_id: str
    collection: str
    encoder_id: str
    image: ScanImage
    subject_id: str | None
    study_id: str | None
    labels: Mapping[str, str]
    attributes: Mapping[str, Scalar]
    created_at: str
    updated_at: str
    version: int


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A scan with everything that belongs to it; ``png`` where images are kept.

    Attributes:
        embedding_D: float32.
    """

    scan: Scan
    embedding_D: npt.NDArray[np.float32]
    jpeg: bytes
    png: bytes | None
    frames: tuple[ClipFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledScans:
    """Many scans as columns of one length N: what a fit needs of them and nothing else.

    Attributes:
        labels: all labels of each scan.
        embeddings_ND: float32.
    """

    scan_ids: list[str]
    sha256s: list[str]
    subject_ids: list[str | None]
    study_ids: list[str | None]
    labels: list[Mapping[str, str]]
    embeddings_ND: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredScan:
    """The answer to one NewScan; ``created`` is False when the same bytes were there already."""

    scan: Scan
    created: bool


@dataclass(frozen=True, slots=True)
class Range:
    """Values between two bounds; None = open on that side.

    Bounds are both numbers, or both text (code point order); numbers never meet text.
    """

    least: str | int | float | None = None
    most: str | int | float | None = None
    above: str | int | float | None = None  # greater, not equal
    below: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class ScanFilter:
    """Conditions joined by AND; a tuple of values means any of them; empty means no condition.

    Attributes:
        label_presence, attribute_presence: whether a scan has the name at all, null included.
        has_subject, has_study: whether one is known.
        created, updated: UTC times as the catalog writes them.
        all_of, any_of: filters that must all pass, or of which one must.
        none_of: filters of which none may pass.
    """

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    subject_ids: tuple[str, ...] = ()
    study_ids: tuple[str, ...] = ()
    not_subject_ids: tuple[str, ...] = ()
    not_study_ids: tuple[str, ...] = ()
    label_presence: Mapping[str, bool] = field(default_factory=dict)
    attribute_presence: Mapping[str, bool] = field(default_factory=dict)
    attribute_ranges: Mapping[str, Range] = field(default_factory=dict)
    has_subject: bool | None = None
    has_study: bool | None = None
    created: Range = field(default_factory=Range)
    updated: Range = field(default_factory=Range)
    all_of: "tuple[ScanFilter, ...]" = ()
    any_of: "tuple[ScanFilter, ...]" = ()
    none_of: "tuple[ScanFilter, ...]" = ()

    @property
    def is_empty(self) -> bool:
        """Whether every scan passes."""
        return self == ScanFilter()


@dataclass(frozen=True, slots=True)
class Facet:
    """How often each value of one label or attribute occurs, commonest first.

    Attributes:
        others: scans with a value that the limit left out.
        missing: scans that pass the filter and lack the name.
    """

    values: tuple[tuple[Scalar, int], ...]
    others: int
    missing: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts over the scans that pass one filter."""

    scans: int
    subjects: int
    studies: int
    labels: Mapping[str, Facet]
    attributes: Mapping[str, Facet]


@dataclass(frozen=True, slots=True)
class ScanPatch:
    """Changes to a scan: a value sets, None in ``labels`` or ``attributes`` removes that entry.

    ``subject_id`` and ``study_id`` change only when named in ``set_fields``.
    """

    labels: Mapping[str, str | None] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    subject_id: str | None = None
    study_id: str | None = None
    set_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Author:
    """The key by which something was made; both None when the service asks for no key."""

    key_id: str | None = None
    key_name: str | None = None


class NewExample(NamedTuple):
    """One labelled example of a version to be stored.

    A tuple, because a fit may store 100,000 and a dataclass takes twice as long to make.

    Attributes:
        group: equal numbers = same patient, study or image; they mean nothing outside the version.
        example_id: of an example that the classifier has already; None = a new one.
        scan: (collection, scan_id) of a stored scan; its vector and subject are read from there.
        sha256: of the image file.
        subject_id, study_id, embedding_D: of an upload, which is kept here; None for a scan.
    """

    label: str
    group: int
    example_id: str | None = None
    scan: tuple[str, str] | None = None
    sha256: str | None = None
    subject_id: str | None = None
    study_id: str | None = None
    embedding_D: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A fitted classifier to be stored; report and settings are JSON objects.

    Attributes:
        artifact: the portable document of the classifier; opaque here.
        out_of_fold: scores of heads that had not seen the examples; opaque here, may be empty.
        kind: ``single_label`` or ``multi_label``; equal for all versions of a classifier.
    """

    encoder_id: str
    classes: tuple[str, ...]
    artifact: bytes
    report: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    out_of_fold: bytes = b""
    examples: tuple[NewExample, ...] = ()
    author: Author = field(default_factory=Author)
    kind: str = "single_label"


@dataclass(frozen=True, slots=True)
class ClassifierVersion:
    """A stored version, which never changes; ``examples`` is how many it was fitted from."""

    number: int
    encoder_id: str
    classes: tuple[str, ...]
    artifact: bytes
    out_of_fold: bytes
    report: Mapping[str, Any]
    settings: Mapping[str, Any]
    author: Author
    created_at: str
    examples: int
    kind: str = "single_label"


@dataclass(frozen=True, slots=True)
class Classifier:
    """A stored classifier with its published version.

    Attributes:
        latest: the greatest version number.
        revision: grows with each new version and each publishing.
    """

    classifier_id: str
    name: str
    created_at: str
    revision: int
    latest: int
    published: ClassifierVersion


@dataclass(frozen=True, slots=True)
class VersionExample:
    """One example that a version was fitted from.

    Attributes:
        is_kept: whether its vector is there; not when the scan was deleted or the subject erased.
        subject_id, study_id: as they are known now.
    """

    example_id: str
    label: str
    group: int
    scan: tuple[str, str] | None
    sha256: str | None
    subject_id: str | None
    study_id: str | None
    is_kept: bool


@dataclass(frozen=True, slots=True)
class ErasedSubject:
    """Receipt of erasing a subject, a study or a scan, with the classifiers that learnt from it.

    Attributes:
        uploads: examples that were uploaded to classifiers and never stored as scans.
    """

    scans: tuple[tuple[str, str], ...]  # (collection, scan_id)
    row_ids: tuple[tuple[str, int], ...]  # (collection, row_id)
    classifiers: tuple[str, ...]
    uploads: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_after`` is the sort key to go on from, None on the last page."""

    items: tuple[T, ...]
    next_after: str | None
