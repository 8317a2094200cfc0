"""Requests to a gallery and its answers; records of the catalog are passed on.

Shape suffixes: D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from service.arrays import Floats as Floats
from service.catalog.erasure_records import ErasedSubject as ErasedSubject
from service.catalog.filter_records import Facet as Facet
from service.catalog.filter_records import Facets as Facets
from service.catalog.filter_records import Range as Range
from service.catalog.filter_records import ScanFilter as ScanFilter
from service.catalog.operation_records import Reembedding as Reembedding
from service.catalog.plain_text import require_name as require_name
from service.catalog.plain_text import require_value as require_value
from service.catalog.records import Collection as Collection
from service.catalog.records import IgnoredField as IgnoredField
from service.catalog.records import Page as Page
from service.catalog.records import PolicyPatch as PolicyPatch
from service.catalog.records import Scalar as Scalar
from service.catalog.records import Scan as Scan
from service.catalog.records import ScanImage as ScanImage
from service.catalog.records import ScanPatch as ScanPatch
from service.catalog.records import StoredScan as StoredScan
from service.catalog.subject_records import HeldSubject as HeldSubject
from service.catalog.vector_search import IndexStatistics as IndexStatistics

GroupField: TypeAlias = Literal["subject", "study", "cine"]
SameField: TypeAlias = Literal["subject", "study"]
MatchUnit: TypeAlias = Literal["scan", "frame"]


@dataclass(frozen=True, slots=True)
class ScanFacts:
    """What the caller knows of one uploaded image; every field is optional."""

    scan_id: str | None = None
    subject_id: str | None = None
    study_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueryExample:
    """One example to search by: a stored scan or an embedding.

    Attributes:
        scan_id: of a stored scan; None for an embedding.
        embedding_D: float32, of any length but zero; None for a stored scan.
        encoder_id: of the embedding; checked unless None.
    """

    scan_id: str | None = None
    embedding_D: Floats | None = None
    encoder_id: str | None = None


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search over one or several collections.

    Attributes:
        collections: are searched as if they were one.
        positive, negative: examples to find and examples to avoid.
        stored_in: collection of the scans that the examples name; None = the first.
        k: most hits.
        where: only scans that pass.
        match: a cine scores as a whole, or as its nearest frame.
        group_by, group_size: only the best ``group_size`` hits per subject, study or cine.
        diversity: 0 = best first; up to 1 = hits that differ from each other rank higher.
        min_score: lowest cosine.
        exclude_same: leave out scans of the same subject or study as the examples.
        subject_id, study_id: of an uploaded example, for ``exclude_same``.
        with_vectors: return the embedding of each hit.
    """

    collections: tuple[str, ...]
    positive: tuple[QueryExample, ...]
    negative: tuple[QueryExample, ...] = ()
    stored_in: str | None = None
    k: int = 10
    where: ScanFilter = field(default_factory=ScanFilter)
    match: MatchUnit = "scan"
    group_by: GroupField | None = None
    group_size: int = 1
    diversity: float = 0.0
    min_score: float = -1.0
    exclude_same: SameField | None = None
    subject_id: str | None = None
    study_id: str | None = None
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class NearestFrame:
    """The frame of a cine, or region of a frame, that is nearest to a query.

    Attributes:
        index: of the frame in its file, from 0.
        region: of the frame, 0 = the largest.
        score: cosine.
    """

    index: int
    region: int
    time_s: float | None
    score: float


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A similar scan.

    Attributes:
        score: cosine, in [-1, 1].
        frame: None for a still of one region.
        embedding_D: None unless the request has ``with_vectors``.
    """

    score: float
    scan: Scan
    frame: NearestFrame | None = None
    embedding_D: Floats | None = None
