"""The records of the catalog: frozen dataclasses, independent of how they are stored.

Shape suffixes: D embedding width. Times are UTC, ISO 8601 with a trailing ``Z``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Scalar: TypeAlias = str | int | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of scans of one encoder. ``version`` grows with each change of its fields.

    Attributes:
        keep_images: keep the embedded pixels, so that another encoder can embed them.
        retention_days: delete older scans; None = never.
        retention_held: older scans that the last sweep kept, because they are too many at once.
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
    intake: Mapping[str, Any] = field(default_factory=dict)  # what it refuses and stores
    retention_held: int = 0


@dataclass(frozen=True, slots=True)
class PolicyPatch:
    """New values for the fields of a ``Collection`` that ``set_fields`` names."""

    description: str = ""
    keep_images: bool = False
    retention_days: float | None = None
    set_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ScanImage:
    """Facts about an uploaded file and its embedded part, without the file name.

    Attributes:
        content_sha256: of the embedded pixels.
        frames: in the file.
        frames_used: number of embeddings that were pooled.
        regions_used: of each frame.
        analysis: result of the frame analysis, as in answers.
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
    """A kept frame of a cine, or region of a frame, that stands for ``copies`` equal frames.

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
        row_ids_N: int64, the scans of the frames.
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
    """A scan to store; the catalog chooses the ``scan_id`` if it is None.

    Attributes:
        image_png: stored only where the collection keeps images.
        created_at: time of an imported scan; None = now.
    """

    scan_id: str | None
    image: ScanImage
    embedding_D: npt.NDArray[np.float32]
    thumbnail_jpeg: bytes  # empty: none is stored
    subject_id: str | None = None
    study_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    image_png: bytes | None = None
    created_at: str | None = None
    frames: tuple[ClipFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """A stored scan without its vector; ``row_id`` identifies the vector in an index."""

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
    """A scan with all its data; ``png`` is None unless the collection keeps images."""

    scan: Scan
    embedding_D: npt.NDArray[np.float32]
    jpeg: bytes
    png: bytes | None
    frames: tuple[ClipFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledScans:
    """The data of many scans that a fit needs, as columns of length N.

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
class IgnoredField:
    """A value that was sent and ignored, such as of ``labels.view``; ``kept`` is the stored one."""

    field: str
    sent: Scalar
    kept: Scalar


@dataclass(frozen=True, slots=True)
class StoredScan:
    """The answer to a NewScan; ``created`` is False if its subject had the image before.

    Attributes:
        ignored: what the NewScan says otherwise; the stored scan is not changed.
        copies: scan ids with the same file or pixels under another subject or none, at most 100.
    """

    scan: Scan
    created: bool
    ignored: tuple[IgnoredField, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScanPatch:
    """Changes to a scan; None in ``labels`` or ``attributes`` removes the entry.

    ``subject_id`` and ``study_id`` change only if ``set_fields`` names them.
    """

    labels: Mapping[str, str | None] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    subject_id: str | None = None
    study_id: str | None = None
    set_fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RenamedLabel:
    """How many scans were renamed, and how many had the new label before."""

    renamed: int
    merged_into: int


@dataclass(frozen=True, slots=True)
class Author:
    """The API key or access token of the request; both None if the service requires no key.

    Of a token, ``key_id`` is ``oidc_`` with a digest of issuer and subject.
    """

    key_id: str | None = None
    key_name: str | None = None


UNLABELLED = -1  # the group of a scan that a fit used without a label; its label is empty


class NewExample(NamedTuple):
    """One example of a version to store: a labelled one, or an unlabelled scan.

    A tuple, because a fit may store 100,000 and dataclasses take twice as long to create.

    Attributes:
        group: equal = same patient, study or image; has no meaning outside the version.
            ``UNLABELLED`` = a scan that the fit used without a label, after all labelled ones.
        example_id: of an existing example of the classifier; None = a new one.
        scan: (collection, scan_id) of a stored scan, which has the vector and the subject.
        sha256: of the image file.
        subject_id, study_id, embedding_D: of an upload; None for a stored scan. Of a fit with views
            the embeddings of the six other views follow in the same array, float32 (7 D,).
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
    """A fitted classifier to store; report and settings are JSON objects.

    Attributes:
        artifact: the portable document of the classifier; opaque here.
        out_of_fold: scores of heads that did not see the examples; opaque here, may be empty.
        kind: ``single_label`` or ``multi_label``; the same for all versions of a classifier.
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

    @property
    def labelled(self) -> int:
        """The number of examples with a label."""
        return sum(example.group != UNLABELLED for example in self.examples)


@dataclass(frozen=True, slots=True)
class ClassifierVersion:
    """A stored version, which never changes; ``examples`` is the number of labelled ones."""

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
        forgettings: of its workspace, as ``Catalog.forgettings``. What was read of the classifier
            may be kept in memory as long as this number stays.
    """

    classifier_id: str
    name: str
    created_at: str
    revision: int
    latest: int
    published: ClassifierVersion
    forgettings: int = 0


@dataclass(frozen=True, slots=True)
class VersionExample:
    """One example that a version was fitted from, labelled or not.

    Attributes:
        is_kept: whether its vector exists; False after the scan or the subject was erased.
        subject_id, study_id: the current values.
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
class Page(Generic[T]):
    """One page of a list; ``next_after`` is the sort key of the next page, None on the last one."""

    items: tuple[T, ...]
    next_after: str | None


def new_page(items: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """A page of ``limit`` items; one item more means that another page follows."""
    return Page(tuple(items[:limit]), key(items[limit - 1]) if len(items) > limit else None)
