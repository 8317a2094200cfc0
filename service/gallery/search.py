"""Similarity search over collections: from nearest rows to hits. Blocking, thread safe.

Shape suffixes: N candidates, P positive and M negative examples, D embedding width.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.vector_search import VectorSearch, require_encoder
from service.embedding.pooling import index_and_region
from service.errors import EncoderMismatch, InputError
from service.gallery.frame_search import BestFrame, FrameSearch
from service.gallery.gallery_records import (
    Collection,
    Floats,
    NearestFrame,
    QueryExample,
    SameField,
    Scan,
    ScanFilter,
    ScanImage,
    SearchHit,
    SearchRequest,
)
from service.gallery.ranking import Query, at_most_per_group, diverse, rounded

MIN_DIVERSE, DIVERSE_PER_HIT = 50, 5  # candidates that diversity chooses from
NEGATIVE_SHARE = 0.5  # Rocchio's usual weight: a negative example pushes half as hard
MIN_LENGTH = 1e-6  # of a vector that has a direction


class SimilaritySearch:
    """Answers search requests over the collections of one encoder."""

    def __init__(self, catalog: Catalog, search: VectorSearch) -> None:
        self._catalog = catalog
        self._search = search
        self._encoder_id = search.encoder_id
        self._dim = search.dim
        self.frames = FrameSearch(catalog)

    def get_own(self, workspace_id: str, name: str) -> Collection:
        """Read a collection of the loaded encoder. Raises UnknownItem, EncoderMismatch."""
        collection = self._catalog.get_collection(workspace_id, name)
        require_encoder(collection, self._encoder_id)
        return collection

    def search(self, workspace_id: str, request: SearchRequest) -> list[SearchHit]:
        """Return the best hits first; with diversity, in the order of choosing.

        Raises:
            UnknownItem: no such collection or scan.
            EncoderMismatch: a collection or vector was made by another encoder.
            InputError: no positive example, examples that cancel out, or a vector of another width.
        """
        names = tuple(dict.fromkeys(request.collections))
        for name in names:
            self.get_own(workspace_id, name)
        query = self._resolve(workspace_id, request)
        if request.match == "frame":
            hits = self.frames.search(
                workspace_id, names, query, lambda name: self.rank(workspace_id, [name], query)
            )
        else:
            hits = self.rank(workspace_id, names, query)
        return self._complete(workspace_id, hits, query)

    def rank(self, workspace_id: str, names: Sequence[str], query: Query) -> list[SearchHit]:
        """The best whole scans of all the collections. Raises UnknownItem."""
        rankings = [self._best_first(workspace_id, name, query) for name in names]
        ranked = heapq.merge(*rankings, key=lambda hit: -hit.score)
        request = query.request
        passed = at_most_per_group(ranked, request.group_by, request.group_size)
        if request.diversity == 0:
            best = list(itertools.islice(passed, request.k))
            return sorted(best, key=lambda hit: (-hit.score, hit.scan.row_id))
        pool = max(MIN_DIVERSE, DIVERSE_PER_HIT * request.k)
        return self._diverse(workspace_id, list(itertools.islice(passed, pool)), query)

    # the query ----------------------------------------------------------------------------

    def _resolve(self, workspace_id: str, request: SearchRequest) -> Query:
        stored_in = request.stored_in or request.collections[0]
        self.get_own(workspace_id, stored_in)
        scans = [
            self._catalog.get_scan(workspace_id, stored_in, example.scan_id)
            for example in (*request.positive, *request.negative)
            if example.scan_id is not None
        ]
        _require_known(request, scans)
        positive_PD = self._embeddings(workspace_id, stored_in, request.positive)
        negative_MD = self._embeddings(workspace_id, stored_in, request.negative)
        where = excluding(request.where, request.exclude_same, request)
        for scan in self._under_all_ids(workspace_id, scans) if request.exclude_same else ():
            where = excluding(where, request.exclude_same, scan)
        return Query(
            replace(request, where=where),
            direction(positive_PD, negative_MD),
            frozenset(scan.row_id for scan in scans),
        )

    def _under_all_ids(self, workspace_id: str, scans: Sequence[Scan]) -> list[Scan]:
        """The scans, and once more as they would be stored now: with pseudonyms, if any."""
        rules = self._catalog.intake_rules(workspace_id)
        if rules.pseudonyms is None:
            return list(scans)
        stored = [(scan, rules.ids(scan.subject_id, scan.study_id)) for scan in scans]
        return [*scans, *(replace(s, subject_id=ids[0], study_id=ids[1]) for s, ids in stored)]

    def _embeddings(
        self, workspace_id: str, collection: str, examples: Sequence[QueryExample]
    ) -> Floats:
        """embeddings_ND of stored scans first, then of the given vectors."""
        ids = [example.scan_id for example in examples if example.scan_id is not None]
        rows = list(self._catalog.embeddings(workspace_id, collection, ids)) if ids else []
        rows += [self._checked(example) for example in examples if example.scan_id is None]
        return np.stack(rows) if rows else np.empty((0, self._dim), np.float32)

    def _checked(self, example: QueryExample) -> Floats:
        if example.encoder_id not in (None, self._encoder_id):
            raise EncoderMismatch(
                f"the vector was made by {example.encoder_id}, loaded is {self._encoder_id}"
            )
        embedding_D = example.embedding_D
        if embedding_D is None or embedding_D.shape != (self._dim,):
            size = 0 if embedding_D is None else embedding_D.size
            raise InputError(f"expected a vector of {self._dim}, got {size}")
        length = float(np.linalg.norm(embedding_D))
        return embedding_D / np.float32(length) if length > MIN_LENGTH else embedding_D

    # ranking ------------------------------------------------------------------------------

    def _diverse(self, workspace_id: str, hits: list[SearchHit], query: Query) -> list[SearchHit]:
        vectors = self._vectors(workspace_id, hits)
        present = [hit for hit in hits if hit.scan.row_id in vectors]
        if not present:
            return []
        rows_ND = np.stack([vectors[hit.scan.row_id] for hit in present])
        scores_N = np.array([hit.score for hit in present], np.float32)
        return [
            present[i] for i in diverse(scores_N, rows_ND, query.request.k, query.request.diversity)
        ]

    def _vectors(self, workspace_id: str, hits: Sequence[SearchHit]) -> dict[int, Floats]:
        vectors: dict[int, Floats] = {}
        for name, row_ids in _rows_by_collection(hits).items():
            ids_N, rows_ND = self._catalog.row_vectors(workspace_id, name, row_ids)
            vectors |= dict(zip(ids_N.tolist(), rows_ND, strict=True))
        return vectors

    def _best_first(self, workspace_id: str, name: str, query: Query) -> Iterator[SearchHit]:
        """Walk down the ranking of one collection; fetch twice as many rows each time."""
        ranking = self._search.ranking(
            workspace_id, name, query.embedding_D, where=query.request.where
        )
        fetch = query.request.k + len(query.hide_row_ids)
        seen = set(query.hide_row_ids)
        while True:
            nearest = ranking(fetch)
            # By id, not by position: a longer search may find a row that a shorter one missed.
            fresh = {
                row_id: rounded(score)
                for row_id, score in zip(nearest.row_ids_K.tolist(), nearest.scores_K, strict=True)
                if row_id not in seen
            }
            scans = self._catalog.get_scans_by_row(workspace_id, name, list(fresh))
            for row_id, score in fresh.items():
                if score < query.request.min_score:
                    return
                if row_id in scans:
                    yield SearchHit(score, scans[row_id])
            seen |= fresh.keys()
            if len(nearest.row_ids_K) < fetch:
                return
            fetch *= 2

    # hits ---------------------------------------------------------------------------------

    def _complete(self, workspace_id: str, hits: list[SearchHit], query: Query) -> list[SearchHit]:
        """Add the nearest frame of each cine and dual screen and, on request, the vectors."""
        with_frames = [
            hit for hit in hits if hit.scan.image.kind == "cine" or hit.scan.image.regions_used > 1
        ]
        best: dict[int, BestFrame] = {}
        for name, row_ids in _rows_by_collection(with_frames).items():
            best |= self.frames.best_frames(workspace_id, name, row_ids, query.embedding_D)
        vectors = self._vectors(workspace_id, hits) if query.request.with_vectors else {}
        return [
            replace(
                hit,
                frame=_frame_of(best.get(hit.scan.row_id), hit.scan.image),
                embedding_D=vectors.get(hit.scan.row_id),
            )
            for hit in hits
        ]


def _rows_by_collection(hits: Sequence[SearchHit]) -> dict[str, list[int]]:
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for hit in hits:
        rows[hit.scan.collection].append(hit.scan.row_id)
    return rows


def _frame_of(best: BestFrame | None, image: ScanImage) -> NearestFrame | None:
    if best is None:
        return None
    index, region = index_and_region(best.place, image.regions_used)
    return NearestFrame(index, region, best.time_s, best.score)


def direction(positive_PD: Floats, negative_MD: Floats | None = None) -> Floats:
    """Mean of the positives minus half the mean of the negatives, unit length, float32 (D,).

    Raises:
        InputError: no positive example, or the examples cancel out.
    """
    if len(positive_PD) == 0:
        raise InputError("expected at least one positive example")
    towards_D = positive_PD.mean(0)
    if negative_MD is not None and len(negative_MD):
        towards_D = towards_D - NEGATIVE_SHARE * negative_MD.mean(0)
    length = float(np.linalg.norm(towards_D))
    if not np.isfinite(length) or length < MIN_LENGTH:
        raise InputError("the query has no direction: its examples cancel out")
    unit_D: Floats = (towards_D / length).astype(np.float32)
    return unit_D


def _require_known(request: SearchRequest, scans: Sequence[Scan]) -> None:
    """Raises InputError: nothing says whose an example is, so none of its own would be left out."""
    same = request.exclude_same
    if same is None or getattr(request, f"{same}_id") is not None:
        return
    wanted = {example.scan_id for example in request.positive}
    unknown = [s.scan_id for s in scans if s.scan_id in wanted and getattr(s, f"{same}_id") is None]
    if None in wanted or unknown:
        what = f"scan {unknown[0]!r}" if unknown else "the query"
        raise InputError(
            f"exclude_same: {what} has no {same}_id, so nothing says which scans are its own; "
            f"state {same}_id, or leave exclude_same out"
        )


def excluding(
    where: ScanFilter, same: SameField | None, origin: Scan | SearchRequest
) -> ScanFilter:
    """Add the condition that hits are not of the origin's own subject or study."""
    if same == "subject" and origin.subject_id is not None:
        return replace(where, not_subject_ids=(*where.not_subject_ids, origin.subject_id))
    if same == "study" and origin.study_id is not None:
        return replace(where, not_study_ids=(*where.not_study_ids, origin.study_id))
    return where
