"""The vector index of one collection: a cache that the catalog can always rebuild.

Small collections are searched exactly, all rows in memory (``tail``). Beyond ``EXACT_ROWS`` the
rows move to segments on disk, each with a compressed index in front and exact scores behind it
(``segment``, ``coarse``); new rows gather in the tail until the next build takes them over.
Segments never change, so a build works beside everything else and is put in place at its end.

Searches take no lock: they read one immutable ``_State``. Writers and builds take turns at
putting a new one in its place. A removal sets a flag that running searches see as well.

``marks`` tell what a row id stood for when its row was written (64 bits of the file's sha256):
a catalog restored from a backup can give an id to another scan.

Shape suffixes: N rows, Q queries, K neighbours, D embedding width.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import EncoderMismatch, InputError, ServiceError
from service.index import segment_builder as building
from service.index import tail
from service.index.neighbours import Floats, Ids, Marks, Neighbours, merged, unit_rows
from service.index.segment import Segment
from service.index.segment_builder import Plan
from service.index.tail import Tail

EXACT_ROWS = 10_000  # an exact search of so many takes 5 ms of a core (docs/measurements/search.md)
TAIL_ROWS = 4096  # what the tail may hold beside segments before a build takes it over
RECENT_QUERIES = 64
RECALL_AT = 10

__all__ = ["EmbeddingIndex", "IndexState", "Neighbours"]


@dataclass(frozen=True, slots=True)
class IndexState:
    """How an index stands: living rows, how many of them are compressed, segments, tail rows."""

    rows: int
    compressed_rows: int
    segments: int
    tail_rows: int


@dataclass(frozen=True, slots=True)
class _State:
    segments: tuple[Segment, ...]
    tail: Tail


class EmbeddingIndex:
    """Cosine search over the rows of one encoder. Thread safe.

    Args:
        dim: embedding width.
        encoder_id: of every row and query.
        folder: for segments, made when the first is written; None = always exact, in memory.
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
        self._in_tail: dict[int, int] = {}  # living row id -> place; the writer's alone
        self._purge = False
        self._closed = False
        self._recent: deque[Floats] = deque(maxlen=RECENT_QUERIES)

    def __len__(self) -> int:
        return self.state().rows

    def state(self) -> IndexState:
        """How many rows live where."""
        now = self._state
        compressed = sum(len(s) for s in now.segments if s.coarse is not None)
        in_segments = sum(len(segment) for segment in now.segments)
        in_tail = int(np.count_nonzero(now.tail.living()))
        return IndexState(in_segments + in_tail, compressed, len(now.segments), in_tail)

    # writing ------------------------------------------------------------------------------

    def add(
        self,
        row_ids_N: Ids,
        embeddings_ND: Floats,
        *,
        encoder_id: str,
        marks_N: Marks | None = None,
    ) -> None:
        """Store rows under their ids; a known id is replaced. The next search finds them.

        Args:
            marks_N: what the ids stand for; None = 0, which no file is trusted with later.

        Raises:
            EncoderMismatch: the rows come from another encoder.
            InputError: wrong shape or type, zero or non-finite rows, or an id twice.
        """
        unit_ND = self._unit(embeddings_ND, encoder_id)
        ids_N = np.asarray(row_ids_N, np.int64)
        marks_N = np.zeros(len(ids_N), np.uint64) if marks_N is None else marks_N
        if not len(ids_N) == len(unit_ND) == len(marks_N) or len(np.unique(ids_N)) != len(ids_N):
            raise InputError(f"expected {len(unit_ND)} different row ids, got {len(ids_N)}")
        if len(ids_N) == 0:
            return
        with self._writing:
            self._forget(ids_N)
            now = self._state
            start = now.tail.count
            grown = now.tail.appended(ids_N, marks_N, unit_ND)
            self._in_tail.update(zip(ids_N.tolist(), range(start, grown.count), strict=True))
            self._state = _State(now.segments, grown)

    def remove(self, row_ids_N: Ids, *, purge: bool = False) -> int:
        """Forget rows at once; unknown ids are passed over. Return how many were there.

        Args:
            purge: the next build also takes their bytes out of the files.
        """
        with self._writing:
            gone = self._forget(np.unique(np.asarray(row_ids_N, np.int64)))
            self._purge |= purge and gone > 0
            return gone

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
        """The k rows of highest cosine for each query, fewer when fewer are allowed.

        Scores are exact for every row that is found. Which rows are found is exact up to
        ``exact_rows`` rows, under a filter that lets few through, and when asked for.

        Args:
            queries_QD: float32, any length above 0.
            k: at least 1.
            encoder_id: of the encoder that made the queries.
            allowed_ids: only these rows; None = all.
            exact: look at every row.

        Raises:
            EncoderMismatch, InputError: as for ``add``.
        """
        unit_QD = self._unit(queries_QD, encoder_id)
        if k < 1:
            raise InputError(f"expected k of at least 1, got {k}")
        if allowed_ids is not None:
            allowed_ids = np.unique(np.asarray(allowed_ids, np.int64))
        now = self._state
        found = [now.tail.search(unit_QD, k, allowed_ids)]
        found += [s.search(unit_QD, k, allowed_ids, exact=exact) for s in now.segments]
        if now.segments and allowed_ids is None and not exact:
            self._recent.append(unit_QD[0])
        return [merged(answers, k) for answers in zip(*found, strict=True)]

    def sample_recall(self) -> float | None:
        """Share of the 10 best of a recent query that the approximate search finds.

        Ties are no misses: what scores as well as the last exact hit counts. None: nothing
        is approximate, or nobody has asked yet. Takes about a second for a million rows.
        """
        if not self._recent or not any(s.coarse for s in self._state.segments):
            return None
        query_1D = self._recent.popleft()[None]
        options = {"k": RECALL_AT, "encoder_id": self._encoder_id}
        (truth,) = self.search(query_1D, **options, exact=True)  # type: ignore[arg-type]
        (found,) = self.search(query_1D, **options)  # type: ignore[arg-type]
        self._recent.pop()  # the search above noted its query again
        if len(truth.scores_K) == 0:
            return None
        hits = int(np.count_nonzero(found.scores_K >= truth.scores_K[-1] - 1e-6))
        return min(hits, len(truth.scores_K)) / len(truth.scores_K)

    # building -----------------------------------------------------------------------------

    @property
    def wants_build(self) -> bool:
        """Whether ``build`` would do something now."""
        return self._plan() is not None

    def _plan(self) -> Plan | None:
        now = self._state
        if self._folder is None or self._closed:
            return None
        return building.next_plan(
            now.segments,
            now.tail,
            exact_rows=self._exact_rows,
            tail_rows=self._tail_rows,
            purge=self._purge,
        )

    def build(self, *, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Take the tail over, merge small segments, compress, drop the dead: the next step.

        One caller at a time; searches and writes go on meanwhile. Return whether anything was
        done.

        Raises:
            IndexDamaged: the disk refuses; everything is searched as before.
            Stopping: ``stopping`` said so; the same.
        """
        plan, folder, taken = self._plan(), self._folder, self._state.tail
        if plan is None or folder is None:
            return False
        if plan.compress is not None:
            building.compress(plan.compress, stopping=stopping)
            return True
        options: dict[str, Any] = {"encoder_id": self._encoder_id, "dim": self._dim}
        made = building.write_merged(folder, plan, taken, **options, stopping=stopping)
        if made is not None:
            try:
                building.compress(made, stopping=stopping)
            except ServiceError:
                building.discard(made.folder)
                raise
        self._put(made, plan, taken.count if plan.with_tail else 0)
        return True

    def _put(self, made: Segment | None, plan: Plan, taken: int) -> None:
        """Let a new segment take the place of what it was made from."""
        with self._writing:
            now = self._state
            living = [s.row_ids_N[s.alive_N] for s in plan.merge]
            living.append(now.tail.ids()[:taken][now.tail.living()[:taken]])
            kept = [s for s in now.segments if s not in plan.merge]
            if made is not None:  # what died while it was written
                made.remove(np.setdiff1d(made.row_ids_N, np.concatenate(living)))
                kept.append(made)
            rest = now.tail.after(taken) if taken else now.tail
            if taken:
                places = zip(rest.ids().tolist(), range(rest.count), strict=True)
                self._in_tail = dict(places)
            self._purge &= any(segment.dead for segment in kept)
            closed = self._closed
            self._state = _State(tuple(kept), rest)
        for segment in plan.merge:
            building.discard(segment.folder)
        if closed and made is not None:
            building.discard(made.folder)

    # files --------------------------------------------------------------------------------

    def open_files(self, row_ids_N: Ids, marks_N: Marks) -> int:
        """Take over what verifies on disk and is still true, before anything else.

        Args:
            row_ids_N: every row there is, ascending.
            marks_N: what they stand for now.

        Returns:
            How many segments were damaged, stale or of another encoder, and are removed.
        """
        if self._folder is None:
            return 0
        found, refused = building.open_all(self._folder, encoder_id=self._encoder_id, dim=self._dim)
        missing_N = row_ids_N
        kept: list[Segment] = []
        for segment in reversed(found):  # of two copies, left by a kill, the newer one counts
            segment.remove(_strangers(segment, row_ids_N, marks_N, missing_N))
            missing_N = np.setdiff1d(missing_N, segment.row_ids_N[segment.alive_N])
            if len(segment):
                kept.insert(0, segment)
            else:
                building.discard(segment.folder)
        with self._writing:
            self._state = _State(tuple(kept), self._state.tail)
        return refused

    def missing(self, row_ids_N: Ids) -> Ids:
        """Those of the ids that are not here, ascending."""
        now = self._state
        here = [s.row_ids_N[s.alive_N] for s in now.segments]
        return np.setdiff1d(row_ids_N, np.concatenate([*here, now.tail.ids()[now.tail.living()]]))

    def fill(self, blocks: Iterator[tuple[Ids, Marks, Floats]], count: int) -> None:
        """Take many rows of new, ascending ids: into the tail, or as a segment when they are many.

        Raises:
            IndexDamaged: the disk refuses.
            InputError: as for ``add``.
        """
        if self._folder is None or count <= self._exact_rows:
            for ids_B, marks_B, rows_BD in blocks:
                self.add(ids_B, rows_BD, encoder_id=self._encoder_id, marks_N=marks_B)
            return
        unit = (
            (ids_B, marks_B, unit_rows(rows_BD, self._dim)) for ids_B, marks_B, rows_BD in blocks
        )
        made = building.write_segment(
            self._folder, unit, encoder_id=self._encoder_id, dim=self._dim
        )
        if made is not None:
            with self._writing:
                self._state = _State((*self._state.segments, made), self._state.tail)

    def discard(self) -> None:
        """Remove every file; the index is not used any more."""
        with self._writing:
            self._closed = True
            segments = self._state.segments
        for segment in segments:
            building.discard(segment.folder)
        if self._folder is not None:
            building.discard(self._folder)

    def _unit(self, rows_ND: Floats, encoder_id: str) -> Floats:
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(f"the index is for {self._encoder_id}, the rows for {encoder_id}")
        return unit_rows(rows_ND, self._dim)


def _strangers(segment: Segment, row_ids_N: Ids, marks_N: Marks, missing_N: Ids) -> Ids:
    """Ids of a segment that are gone, stand for another scan now, or are held by a newer one."""
    ids_S = segment.row_ids_N
    if len(row_ids_N) == 0:
        return ids_S
    at_S = np.minimum(np.searchsorted(row_ids_N, ids_S), len(row_ids_N) - 1)
    true_S = (row_ids_N[at_S] == ids_S) & (marks_N[at_S] == segment.marks_N)
    strangers: Ids = ids_S[~(true_S & np.isin(ids_S, missing_N))]
    return strangers
