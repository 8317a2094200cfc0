"""Collections: the catalog's truth and the index over it, kept in step. Blocking, thread safe.

A write is committed to the catalog first and put into the index second; only then is it
acknowledged. So an index never knows what the catalog does not, and a lost index is rebuilt.
Writers take turns; searches wait for none of them.

Shape suffixes: N scans, P positive and M negative examples, D embedding width.
"""

import heapq
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.ids import content_hash
from service.catalog.interface import Catalog
from service.catalog.operation_records import Reembedding
from service.catalog.records import (
    Collection,
    ErasedSubject,
    NewScan,
    Scan,
    ScanFilter,
    StoredScan,
)
from service.errors import EncoderMismatch, InputError, ServiceError
from service.gallery.indexes import CollectionIndexes, IndexStatistics
from service.gallery.ranking import GroupField, Hit, at_most_per_group, diverse
from service.index.vector_index import EXACT_ROWS, EmbeddingIndex

Floats: TypeAlias = npt.NDArray[np.float32]
SameField: TypeAlias = Literal["subject", "study"]
DIVERSE_LEAST, DIVERSE_PER_HIT = 50, 5  # candidates that diversity chooses from
NEGATIVE_SHARE = 0.5  # Rocchio's usual weight: a negative example pushes half as hard


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for and how to answer.

    Attributes:
        embedding_D: float32, the direction to search.
        k: most hits.
        where: only scans that pass.
        group_by, group_size: at most so many hits, the best, per subject, study or cine.
        diversity: 0 = best first; up to 1 = the more hits differ from each other, the better.
        min_score: least cosine.
        hide_row_ids: the query itself, when it is a stored scan.
    """

    embedding_D: Floats
    k: int
    where: ScanFilter = field(default_factory=ScanFilter)
    group_by: GroupField | None = None
    group_size: int = 1
    diversity: float = 0.0
    min_score: float = -1.0
    hide_row_ids: frozenset[int] = frozenset()


class Gallery:
    """All collections of one catalog that the loaded encoder can serve."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        encoder_id: str,
        dim: int,
        folder: Path | None = None,
        exact_rows: int = EXACT_ROWS,
        recall_every_s: float = 60.0,
    ) -> None:
        self._catalog = catalog
        self._encoder_id = encoder_id
        self._dim = dim
        self._indexes = CollectionIndexes(
            catalog,
            encoder_id=encoder_id,
            dim=dim,
            folder=folder,
            exact_rows=exact_rows,
            recall_every_s=recall_every_s,
        )
        self._lock = threading.RLock()  # of writers

    def rebuild(self) -> int:
        """Open every index, or fill it from the catalog; return the number of scans.

        From then on indexes are kept up in the background, until ``close``.
        """
        with self._lock:
            total = self._indexes.load()
        self._indexes.start()
        return total

    def close(self) -> None:
        """End the work in the background, before the catalog is closed."""
        self._indexes.close()

    def figures(self, workspace_id: str, name: str) -> IndexStatistics:
        """How the index of a collection stands. Raises UnknownItem: no such collection."""
        self._catalog.get_collection(workspace_id, name)
        return self._indexes.figures(workspace_id, name)

    def all_figures(self) -> list[IndexStatistics]:
        """How every index stands."""
        return self._indexes.all_figures()

    def _index(self, workspace_id: str, name: str) -> EmbeddingIndex:
        return self._indexes.of(workspace_id, name)

    # collections --------------------------------------------------------------------------

    def create(
        self,
        workspace_id: str,
        name: str,
        description: str,
        *,
        keep_images: bool = False,
        retention_days: float | None = None,
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
            keep_images=keep_images,
            retention_days=retention_days,
            intake=intake,
        )

    def delete(self, workspace_id: str, name: str, *, if_version: int | None) -> int:
        """Delete a collection and its scans. Raises UnknownItem, PreconditionFailed."""
        with self._lock:
            removed = self._catalog.delete_collection(workspace_id, name, if_version=if_version)
            self._indexes.drop(workspace_id, name)
        return removed

    # scans --------------------------------------------------------------------------------

    def add(
        self, workspace_id: str, name: str, scans: Sequence[NewScan]
    ) -> list[StoredScan | ServiceError]:
        """Store and index; see ``Catalog.add_scans``."""
        with self._lock:
            stored = self._catalog.add_scans(workspace_id, name, scans, encoder_id=self._encoder_id)
            fresh = [
                (item.scan.row_id, content_hash(item.scan.image.sha256), scan.embedding_D)
                for item, scan in zip(stored, scans, strict=True)
                if isinstance(item, StoredScan) and item.created
            ]
            if fresh:
                self._index(workspace_id, name).add(
                    np.array([row_id for row_id, _, _ in fresh], np.int64),
                    np.stack([embedding_D for _, _, embedding_D in fresh]),
                    encoder_id=self._encoder_id,
                    marks_N=np.array([mark for _, mark, _ in fresh], np.uint64),
                )
        self._indexes.wake()
        return stored

    def remove(
        self, workspace_id: str, name: str, scan_id: str, *, if_version: int | None
    ) -> ErasedSubject:
        """Delete one scan. Raises UnknownItem, PreconditionFailed."""
        with self._lock:
            _, receipt = self._catalog.erase_scan(
                workspace_id, name, scan_id, if_version=if_version
            )
            self._unindex(workspace_id, receipt)
        return receipt

    def erase_subject(self, workspace_id: str, subject_id: str) -> ErasedSubject:
        """Remove a subject's scans everywhere. Raises UnknownItem."""
        with self._lock:
            receipt = self._catalog.erase_subject(workspace_id, subject_id)
            self._unindex(workspace_id, receipt)
        return receipt

    def erase_study(self, workspace_id: str, study_id: str) -> ErasedSubject:
        """Remove a study's scans everywhere. Raises UnknownItem."""
        with self._lock:
            receipt = self._catalog.erase_study(workspace_id, study_id)
            self._unindex(workspace_id, receipt)
        return receipt

    def expire(self) -> int:
        """Delete all scans that are past their collection's retention; return how many."""
        removed = 0
        while True:
            with self._lock:  # given back between two steps, so that others come in
                receipts = self._catalog.expire()
                for workspace_id, receipt in receipts:
                    self._unindex(workspace_id, receipt)
            removed += sum(len(receipt.scans) for _, receipt in receipts)
            if not receipts:
                return removed

    def switch(self, workspace_id: str, name: str) -> Reembedding:
        """Exchange the vectors of a moving collection. Raises UnknownItem, Conflict."""
        with self._lock, self._indexes.held(workspace_id, name):
            move = self._catalog.switch_reembedding(workspace_id, name)
            self.reload(workspace_id, name)
        return move

    def reload(self, workspace_id: str, name: str) -> None:
        """Fill the index of one collection anew from the catalog. Raises UnknownItem."""
        with self._lock:
            found = self._catalog.get_collection(workspace_id, name)
            if found.encoder_id == self._encoder_id:
                self._indexes.reload(workspace_id, name)
            else:
                self._indexes.drop(workspace_id, name)

    def _unindex(self, workspace_id: str, receipt: ErasedSubject) -> None:
        by_name: dict[str, list[int]] = {}
        for name, row_id in receipt.row_ids:
            by_name.setdefault(name, []).append(row_id)
        for name, row_ids in by_name.items():
            self._index(workspace_id, name).remove(np.array(row_ids, np.int64), purge=True)
        self._indexes.wake()

    # search -------------------------------------------------------------------------------

    def search(self, workspace_id: str, names: Sequence[str], query: Query) -> list[Hit]:
        """Best hits of all the collections first; with diversity, in the order of choosing.

        Raises:
            UnknownItem: no such collection.
            EncoderMismatch: a collection was made by another encoder.
        """
        rankings = [self._best_first(workspace_id, name, query) for name in dict.fromkeys(names)]
        ranked = heapq.merge(*rankings, key=lambda hit: -hit.score)
        passed = at_most_per_group(ranked, query.group_by, query.group_size)
        if query.diversity == 0:
            best = list(itertools.islice(passed, query.k))
            return sorted(best, key=lambda hit: (-hit.score, hit.scan.row_id))
        pool = max(DIVERSE_LEAST, DIVERSE_PER_HIT * query.k)
        return self._diverse(workspace_id, list(itertools.islice(passed, pool)), query)

    def _diverse(self, workspace_id: str, hits: list[Hit], query: Query) -> list[Hit]:
        vectors: dict[int, Floats] = {}
        for name in {hit.scan.collection for hit in hits}:
            wanted = [hit.scan.row_id for hit in hits if hit.scan.collection == name]
            ids_N, rows_ND = self._catalog.row_vectors(workspace_id, name, wanted)
            vectors |= dict(zip(ids_N.tolist(), rows_ND, strict=True))
        there = [hit for hit in hits if hit.scan.row_id in vectors]
        if not there:
            return []
        rows_ND = np.stack([vectors[hit.scan.row_id] for hit in there])
        scores_N = np.array([hit.score for hit in there], np.float32)
        return [there[i] for i in diverse(scores_N, rows_ND, query.k, query.diversity)]

    def _best_first(self, workspace_id: str, name: str, query: Query) -> Iterator[Hit]:
        """Check at once; then walk down the ranking of one collection as far as asked."""
        collection = self._catalog.get_collection(workspace_id, name)
        if collection.encoder_id != self._encoder_id:
            raise EncoderMismatch(
                f"the collection was made by {collection.encoder_id}, loaded is {self._encoder_id}"
            )
        allowed = None
        if not query.where.is_empty:
            allowed = self._catalog.row_ids_where(workspace_id, name, query.where)
        return self._walk(workspace_id, name, query, allowed)

    def _walk(
        self,
        workspace_id: str,
        name: str,
        query: Query,
        allowed: npt.NDArray[np.int64] | None,
    ) -> Iterator[Hit]:
        """Ask for twice as many each time the caller wants more."""
        index = self._index(workspace_id, name)
        fetch = query.k + len(query.hide_row_ids)
        seen = set(query.hide_row_ids)
        while True:
            found = index.search(
                query.embedding_D[None], k=fetch, encoder_id=self._encoder_id, allowed_ids=allowed
            )[0]
            # By id, not by place: a longer search may find a row that a shorter one missed.
            fresh = {
                row_id: float(score)
                for row_id, score in zip(found.row_ids_K.tolist(), found.scores_K, strict=True)
                if row_id not in seen
            }
            scans = self._catalog.get_scans_by_row(workspace_id, name, list(fresh))
            for row_id, score in fresh.items():
                if score < query.min_score:
                    return
                if row_id in scans:
                    yield Hit(scans[row_id], score)
            seen |= fresh.keys()
            if len(found.row_ids_K) < fetch:
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


def excluding(where: ScanFilter, scan: Scan, same: SameField | None) -> ScanFilter:
    """Add the condition that hits are not of the scan's own subject or study."""
    if same == "subject" and scan.subject_id is not None:
        return replace(where, not_subject_ids=(*where.not_subject_ids, scan.subject_id))
    if same == "study" and scan.study_id is not None:
        return replace(where, not_study_ids=(*where.not_study_ids, scan.study_id))
    return where
