"""Collections: the catalog's truth and the index over it, kept in step. Blocking, thread safe.

A write is committed to the catalog first and put into the index second; only then is it
acknowledged. So an index never knows what the catalog does not, and a lost index is rebuilt.

Shape suffixes: N scans, P positive and M negative examples, D embedding width.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.records import (
    Collection,
    ErasedSubject,
    NewScan,
    Scan,
    ScanFilter,
    StoredScan,
)
from service.errors import EncoderMismatch, InputError, ServiceError
from service.retrieval.index import EmbeddingIndex

Floats: TypeAlias = npt.NDArray[np.float32]
GroupField: TypeAlias = Literal["subject", "study"]
NEGATIVE_SHARE = 0.5  # Rocchio's usual weight: a negative example pushes half as hard


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for and how to answer.

    Attributes:
        embedding_D: float32, the direction to search.
        k: most hits.
        where: only scans that pass.
        group_by: at most one hit, the best, per subject or study; scans without one stand alone.
        min_score: least cosine.
        hide_row_ids: the query itself, when it is a stored scan.
    """

    embedding_D: Floats
    k: int
    where: ScanFilter = field(default_factory=ScanFilter)
    group_by: GroupField | None = None
    min_score: float = -1.0
    hide_row_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Hit:
    """A similar scan; ``score`` is the cosine, in [-1, 1]."""

    scan: Scan
    score: float


class Galleries:
    """All collections of one catalog that the loaded encoder can serve."""

    def __init__(self, catalog: Catalog, *, encoder_id: str, dim: int) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._indexes: dict[tuple[str, str], EmbeddingIndex] = {}
        self._lock = threading.RLock()

    def rebuild(self) -> int:
        """Fill the index of every collection from the catalog; return the number of scans."""
        total = 0
        with self._lock:
            self._indexes.clear()
            for workspace_id, collection in self._catalog.all_collections():
                if collection.encoder_id == self._encoder_id:
                    row_ids_N, embeddings_ND = self._catalog.vectors(workspace_id, collection.name)
                    self._index(workspace_id, collection.name).add(
                        row_ids_N, embeddings_ND, encoder_id=self._encoder_id
                    )
                    total += len(row_ids_N)
        return total

    def _index(self, workspace_id: str, name: str) -> EmbeddingIndex:
        with self._lock:
            return self._indexes.setdefault(
                (workspace_id, name), EmbeddingIndex(self._dim, self._encoder_id)
            )

    # collections --------------------------------------------------------------------------

    def create(
        self,
        workspace_id: str,
        name: str,
        description: str,
        intake: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Create a collection bound to the loaded encoder; ``intake`` tells what it refuses.

        Raises:
            NameTaken: there is one of this name.
        """
        return self._catalog.create_collection(
            workspace_id,
            name,
            encoder_id=self._encoder_id,
            dim=self._dim,
            description=description,
            intake=intake,
        )

    def delete(self, workspace_id: str, name: str, *, if_version: int | None) -> int:
        """Delete a collection and its scans. Raises UnknownItem, PreconditionFailed."""
        with self._lock:
            removed = self._catalog.delete_collection(workspace_id, name, if_version=if_version)
            self._indexes.pop((workspace_id, name), None)
        return removed

    # scans --------------------------------------------------------------------------------

    def add(
        self, workspace_id: str, name: str, scans: Sequence[NewScan]
    ) -> list[StoredScan | ServiceError]:
        """Store and index; see ``Catalog.add_scans``."""
        with self._lock:
            stored = self._catalog.add_scans(workspace_id, name, scans, encoder_id=self._encoder_id)
            fresh = [
                (item.scan.row_id, scan.embedding_D)
                for item, scan in zip(stored, scans, strict=True)
                if isinstance(item, StoredScan) and item.created
            ]
            if fresh:
                self._index(workspace_id, name).add(
                    np.array([row_id for row_id, _ in fresh], np.int64),
                    np.stack([embedding_D for _, embedding_D in fresh]),
                    encoder_id=self._encoder_id,
                )
        return stored

    def remove(self, workspace_id: str, name: str, scan_id: str, *, if_version: int | None) -> Scan:
        """Delete one scan. Raises UnknownItem, PreconditionFailed."""
        with self._lock:
            scan = self._catalog.delete_scan(workspace_id, name, scan_id, if_version=if_version)
            self._index(workspace_id, name).remove(np.array([scan.row_id], np.int64))
        return scan

    def erase_subject(self, workspace_id: str, subject_id: str) -> ErasedSubject:
        """Remove a subject's scans everywhere. Raises UnknownItem."""
        with self._lock:
            receipt = self._catalog.erase_subject(workspace_id, subject_id)
            for name, row_id in receipt.row_ids:
                self._index(workspace_id, name).remove(np.array([row_id], np.int64))
        return receipt

    # search -------------------------------------------------------------------------------

    def search(self, workspace_id: str, name: str, query: Query) -> list[Hit]:
        """Best hits first; exact.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: the collection was made by another encoder.
        """
        collection = self._catalog.get_collection(workspace_id, name)
        if collection.encoder_id != self._encoder_id:
            raise EncoderMismatch(
                f"the collection was made by {collection.encoder_id}, loaded is {self._encoder_id}"
            )
        allowed = None
        if not query.where.is_empty:
            allowed = self._catalog.row_ids_where(workspace_id, name, query.where)
        hits: list[Hit] = []
        groups: set[str] = set()
        for scan, score in self._best_first(workspace_id, name, query, allowed):
            group = _group_of(scan, query.group_by)
            if group in groups:
                continue
            groups.add(group)
            hits.append(Hit(scan, score))
            if len(hits) == query.k:
                break
        return hits

    def _best_first(
        self,
        workspace_id: str,
        name: str,
        query: Query,
        allowed: npt.NDArray[np.int64] | None,
    ) -> Iterator[tuple[Scan, float]]:
        """Walk down the ranking, asking for twice as many each time the caller wants more."""
        index = self._index(workspace_id, name)
        fetch, seen = query.k + len(query.hide_row_ids), 0
        while True:
            found = index.search(
                query.embedding_D[None], k=fetch, encoder_id=self._encoder_id, allowed_ids=allowed
            )[0]
            row_ids = [int(row_id) for row_id in found.row_ids_K[seen:]]
            scans = self._catalog.get_scans_by_row(workspace_id, name, row_ids)
            for row_id, score in zip(row_ids, found.scores_K[seen:], strict=True):
                if score < query.min_score:
                    return
                if row_id in scans and row_id not in query.hide_row_ids:
                    yield scans[row_id], float(score)
            seen = len(found.row_ids_K)
            if seen < fetch:
                return
            fetch *= 2

    def scans_of(self, workspace_id: str, name: str, scan_ids: Sequence[str]) -> list[Scan]:
        """Read scans by id, in order. Raises UnknownItem."""
        return [self._catalog.get_scan(workspace_id, name, scan_id) for scan_id in scan_ids]

    def vectors_of(self, workspace_id: str, name: str, scan_ids: Sequence[str]) -> Floats:
        """embeddings_ND in the order of ``scan_ids``. Raises UnknownItem."""
        return self._catalog.embeddings(workspace_id, name, scan_ids)


def direction(positive_PD: Floats, negative_MD: Floats | None = None) -> Floats:
    """Mean of the positives minus half the mean of the negatives, unit length, float32 (D,).

    Raises:
        InputError: no positive, or both cancel.
    """
    if len(positive_PD) == 0:
        raise InputError("expected at least one positive example")
    towards_D = positive_PD.mean(0)
    if negative_MD is not None and len(negative_MD):
        towards_D = towards_D - NEGATIVE_SHARE * negative_MD.mean(0)
    length = float(np.linalg.norm(towards_D))
    if not np.isfinite(length) or length < 1e-6:
        raise InputError("the query has no direction: its examples cancel")
    unit_D: Floats = (towards_D / length).astype(np.float32)
    return unit_D


def excluding(where: ScanFilter, scan: Scan, same: GroupField | None) -> ScanFilter:
    """Add the condition that hits are not of the scan's own subject or study."""
    if same == "subject" and scan.subject_id is not None:
        return replace(where, not_subject_ids=(*where.not_subject_ids, scan.subject_id))
    if same == "study" and scan.study_id is not None:
        return replace(where, not_study_ids=(*where.not_study_ids, scan.study_id))
    return where


def _group_of(scan: Scan, group_by: GroupField | None) -> str:
    """A scan without subject or study is its own group; prefixes keep the two apart."""
    named = {"subject": scan.subject_id, "study": scan.study_id, None: None}[group_by]
    return f"row:{scan.row_id}" if named is None else f"named:{named}"
