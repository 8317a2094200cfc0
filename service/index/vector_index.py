"""The vector index of one collection: a cache that the catalog can always rebuild.

Small collections are searched exactly, with all rows in memory (``tail``). Beyond ``EXACT_ROWS``
the rows move to segments on disk, each with a compressed index for candidates and whole rows for
exact scores (``segment``, ``compressed``). New rows stay in the tail until the next build.
Segments are immutable, so a build runs beside searches and writes and takes effect at its end.

Searches take no lock: they read one immutable ``_State``, which writers and builds replace under a
lock. A removal clears a flag that running searches see as well.

A content hash (64 bits of the sha256 of the file) beside each row id detects a catalog that was
restored from a backup and gives the id to another scan.

Shape suffixes: N rows, Q queries, K neighbours, D embedding width.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.arrays import Floats, unit_rows
from service.errors import EncoderMismatch, InputError, ServiceError
from service.index import segment_builder, tail
from service.index.neighbours import ContentHashes, Ids, Neighbours, merged
from service.index.segment import Segment, SegmentLists
from service.index.segment_builder import Plan
from service.index.tail import Tail

EXACT_ROWS = 10_000  # an exact search takes 5 ms of a core (docs/measurements/search.md)
TAIL_ROWS = 4096  # of the tail beside segments; more rows cause a build
RECENT_QUERIES = 64
RECALL_AT = 10

__all__ = ["EmbeddingIndex", "IndexState", "Neighbours"]


@dataclass(frozen=True, slots=True)
class IndexState:
    """Numbers of alive rows, of compressed rows among them, of segments and of rows in the tail.

    Attributes:
        lists: of each segment, oldest first.
    """

    rows: int
    compressed_rows: int
    segments: int
    tail_rows: int
    lists: tuple[SegmentLists, ...] = ()


@dataclass(frozen=True, slots=True)
class _State:
    segments: tuple[Segment, ...]
    tail: Tail


class EmbeddingIndex:
    """Cosine search over the rows of one encoder. Thread safe.

    Args:
        dim: embedding width.
        encoder_id: of every row and query.
        folder: of the segments; None = always exact, in memory.
        exact_rows, tail_rows: see the constants of the same names.
    """

    def __init__(
        self,
        dim: int,
        encoder_id: str,
        *,
        folder: Path | None = None,
        exact_rows: int = EXACT_ROWS,
        tail_rows: int = TAIL_ROWS,
    ) -> None:
        self._dim = dim
        self._encoder_id = encoder_id
        self._folder = folder
        self._exact_rows = exact_rows
        self._tail_rows = tail_rows
        self._writing = threading.Lock()
        self._state = _State((), tail.empty(dim))
        self._in_tail: dict[int, int] = {}  # alive row id -> place; for the writer only
        self._purge = False
        self._closed = False
        self._recent: deque[Floats] = deque(maxlen=RECENT_QUERIES)

    def __len__(self) -> int:
        return self.state().rows

    def state(self) -> IndexState:
        """The numbers of rows and segments."""
        now = self._state
        compressed = sum(len(s) for s in now.segments if s.compressed is not None)
        in_segments = sum(len(segment) for segment in now.segments)
        in_tail = int(np.count_nonzero(now.tail.alive()))
        lists = tuple(segment.lists for segment in now.segments)
        return IndexState(in_segments + in_tail, compressed, len(now.segments), in_tail, lists)

    # writing ------------------------------------------------------------------------------

    def add(
        self,
        row_ids_N: Ids,
        embeddings_ND: Floats,
        *,
        encoder_id: str,
        hashes_N: ContentHashes | None = None,
    ) -> None:
        """Store rows under their ids; a known id is replaced. The next search finds them.

        Args:
            hashes_N: content hashes of the rows; None = 0, which matches no file later.

        Raises:
            EncoderMismatch: the rows come from another encoder.
            InputError: the shape or type is wrong, a row is zero or not finite, or an id is
                repeated.
        """
        unit_ND = self._unit(embeddings_ND, encoder_id)
        ids_N = np.asarray(row_ids_N, np.int64)
        hashes_N = np.zeros(len(ids_N), np.uint64) if hashes_N is None else hashes_N
        if not len(ids_N) == len(unit_ND) == len(hashes_N) or len(np.unique(ids_N)) != len(ids_N):
            raise InputError(f"expected {len(unit_ND)} different row ids, got {len(ids_N)}")
        if len(ids_N) == 0:
            return
        with self._writing:
            self._forget(ids_N)
            now = self._state
            start = now.tail.count
            grown = now.tail.appended(ids_N, hashes_N, unit_ND)
            self._in_tail.update(zip(ids_N.tolist(), range(start, grown.count), strict=True))
            self._state = _State(now.segments, grown)

    def remove(self, row_ids_N: Ids, *, purge: bool = False) -> int:
        """Remove rows at once; unknown ids are ignored. Return how many were removed.

        Args:
            purge: the next build removes their bytes from the files as well.
        """
        with self._writing:
            removed = self._forget(np.unique(np.asarray(row_ids_N, np.int64)))
            self._purge |= purge and removed > 0
            return removed

    def _forget(self, ids_N: Ids) -> int:
        places = [self._in_tail.pop(i) for i in ids_N.tolist() if i in self._in_tail]
        self._state.tail.alive_C[places] = False
        return len(places) + sum(segment.remove(ids_N) for segment in self._state.segments)

    # searching ----------------------------------------------------------------------------

    def search(
        self,
        queries_QD: Floats,
        *,
        k: int,
        encoder_id: str,
        allowed_ids: Ids | None = None,
        exact: bool = False,
    ) -> list[Neighbours]:
        """The k rows of highest cosine for each query; fewer when fewer are allowed.

        Scores are always exact. The choice of rows is exact up to ``exact_rows`` rows, under a
        selective filter, and on request.

        Args:
            queries_QD: float32, any length above 0.
            k: at least 1.
            encoder_id: of the encoder that made the queries.
            allowed_ids: search only these rows; None = all.
            exact: score every row.

        Raises:
            EncoderMismatch, InputError: as for ``add``.
        """
        unit_QD = self._unit(queries_QD, encoder_id)
        if k < 1:
            raise InputError(f"expected k of at least 1, got {k}")
        if allowed_ids is not None:
            allowed_ids = np.unique(np.asarray(allowed_ids, np.int64))
        now = self._state
        parts = [now.tail.search(unit_QD, k, allowed_ids)]
        parts += [s.search(unit_QD, k, allowed_ids, exact=exact) for s in now.segments]
        if now.segments and allowed_ids is None and not exact:
            self._recent.append(unit_QD[0])
        return [merged(answers, k) for answers in zip(*parts, strict=True)]

    def sample_recall(self) -> float | None:
        """Recall at 10 of the approximate search for one recent query.

        A row with the score of the last exact hit counts as a hit. None when no search is
        approximate, or before the first one. Takes about a second for a million rows.
        """
        if not self._recent or not any(s.compressed for s in self._state.segments):
            return None
        query_1D = self._recent.popleft()[None]
        options: dict[str, Any] = {"k": RECALL_AT, "encoder_id": self._encoder_id}
        (exact,) = self.search(query_1D, **options, exact=True)
        (approximate,) = self.search(query_1D, **options)
        self._recent.pop()  # the search above recorded its query again
        if len(exact.scores_K) == 0:
            return None
        hits = int(np.count_nonzero(approximate.scores_K >= exact.scores_K[-1] - 1e-6))
        return min(hits, len(exact.scores_K)) / len(exact.scores_K)

    # building -----------------------------------------------------------------------------

    @property
    def wants_build(self) -> bool:
        """Whether ``build`` has a step to do."""
        return self._plan() is not None

    def _plan(self) -> Plan | None:
        now = self._state
        if self._folder is None or self._closed:
            return None
        return segment_builder.next_plan(
            now.segments,
            now.tail,
            exact_rows=self._exact_rows,
            tail_rows=self._tail_rows,
            purge=self._purge,
        )

    def build(self, *, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Do the next step: move the tail to disk, merge, compress, or drop removed rows.

        Only one thread may build; searches and writes continue. Return whether there was a step.

        Raises:
            IndexDamaged: the files cannot be written; searches work as before.
            Stopping: ``stopping`` returned True; searches work as before.
        """
        plan, folder, taken = self._plan(), self._folder, self._state.tail
        if plan is None or folder is None:
            return False
        if plan.compress is not None:
            segment_builder.compress(plan.compress, stopping=stopping)
            return True
        if plan.measure is not None:
            segment_builder.measure(plan.measure, stopping=stopping)
            return True
        blocks = segment_builder.merged_blocks(plan, taken, self._dim, stopping=stopping)
        segment = segment_builder.write_segment(
            folder, blocks, encoder_id=self._encoder_id, dim=self._dim
        )
        if segment is not None:
            try:
                segment_builder.compress(segment, stopping=stopping)
            except ServiceError:
                segment_builder.discard(segment.folder)
                raise
        self._put(segment, plan, taken.count if plan.with_tail else 0)
        return True

    def _put(self, new: Segment | None, plan: Plan, taken: int) -> None:
        """Replace the rows of the plan by the new segment."""
        with self._writing:
            now = self._state
            alive = [s.row_ids_N[s.alive_N] for s in plan.merge]
            alive.append(now.tail.ids()[:taken][now.tail.alive()[:taken]])
            kept = [s for s in now.segments if s not in plan.merge]
            if new is not None:  # without rows that were removed meanwhile
                new.remove(np.setdiff1d(new.row_ids_N, np.concatenate(alive)))
                kept.append(new)
            rest = now.tail.after(taken) if taken else now.tail
            if taken:
                self._in_tail = {row_id: place for place, row_id in enumerate(rest.ids().tolist())}
            self._purge &= any(segment.removed for segment in kept)
            closed = self._closed
            self._state = _State(tuple(kept), rest)
        for segment in plan.merge:
            segment_builder.discard(segment.folder)
        if closed and new is not None:
            segment_builder.discard(new.folder)

    # files --------------------------------------------------------------------------------

    def open_files(self, row_ids_N: Ids, hashes_N: ContentHashes) -> int:
        """Open the valid segments on disk and drop their stale rows; call this method first.

        The next build removes the bytes of stale rows from the files: they may have been erased
        just before a stop, or by a program that had no index open.

        Args:
            row_ids_N: all rows of the collection, ascending.
            hashes_N: their content hashes.

        Returns:
            Number of segments that were removed: they were damaged or of another encoder.
        """
        if self._folder is None:
            return 0
        segments, refused = segment_builder.open_all(
            self._folder, encoder_id=self._encoder_id, dim=self._dim
        )
        missing_N = row_ids_N
        kept: list[Segment] = []
        for segment in reversed(segments):  # of two copies, left by a crash, the newer one is used
            segment.remove(_stale_ids(segment, row_ids_N, hashes_N, missing_N))
            missing_N = np.setdiff1d(missing_N, segment.row_ids_N[segment.alive_N])
            if len(segment):
                kept.insert(0, segment)
            else:
                segment_builder.discard(segment.folder)
        with self._writing:
            self._state = _State(tuple(kept), self._state.tail)
            self._purge |= any(segment.removed for segment in kept)
        return refused

    def missing(self, row_ids_N: Ids) -> Ids:
        """The ids that the index lacks, ascending."""
        now = self._state
        stored = [s.row_ids_N[s.alive_N] for s in now.segments]
        return np.setdiff1d(row_ids_N, np.concatenate([*stored, now.tail.ids()[now.tail.alive()]]))

    def fill(self, blocks: Iterator[tuple[Ids, ContentHashes, Floats]], count: int) -> None:
        """Add rows of new, ascending ids: to the tail, or as a segment when there are many.

        Raises:
            IndexDamaged: the files cannot be written.
            InputError: as for ``add``.
        """
        if self._folder is None or count <= self._exact_rows:
            for ids_B, hashes_B, rows_BD in blocks:
                self.add(ids_B, rows_BD, encoder_id=self._encoder_id, hashes_N=hashes_B)
            return
        unit = ((ids_B, hashes_B, self._checked(rows_BD)) for ids_B, hashes_B, rows_BD in blocks)
        segment = segment_builder.write_segment(
            self._folder, unit, encoder_id=self._encoder_id, dim=self._dim
        )
        if segment is not None:
            with self._writing:
                self._state = _State((*self._state.segments, segment), self._state.tail)

    def discard(self) -> None:
        """Remove every file. The index must not be used afterwards."""
        with self._writing:
            self._closed = True
        if self._folder is not None:
            segment_builder.discard(self._folder)

    def _unit(self, rows_ND: Floats, encoder_id: str) -> Floats:
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(f"expected rows of {self._encoder_id}, got rows of {encoder_id}")
        return self._checked(rows_ND)

    def _checked(self, rows_ND: Floats) -> Floats:
        if rows_ND.dtype != np.float32 or rows_ND.ndim != 2 or rows_ND.shape[1] != self._dim:
            raise InputError(
                f"expected float32 rows of width {self._dim}, got {rows_ND.dtype} {rows_ND.shape}"
            )
        return unit_rows(rows_ND)


def _stale_ids(segment: Segment, row_ids_N: Ids, hashes_N: ContentHashes, missing_N: Ids) -> Ids:
    """Ids of a segment that were removed, have another content, or are in a newer segment."""
    ids_S = segment.row_ids_N
    if len(row_ids_N) == 0:
        return ids_S
    at_S = np.minimum(np.searchsorted(row_ids_N, ids_S), len(row_ids_N) - 1)
    current_S = (row_ids_N[at_S] == ids_S) & (hashes_N[at_S] == segment.hashes_N)
    return np.asarray(ids_S[~(current_S & np.isin(ids_S, missing_N))])
