"""Search by single frames of cines, and the nearest frame of each. Blocking, thread safe.

NumPy compares all frames exactly. They are kept in memory and read again when the catalog's
stamp shows that its frames changed.

Shape suffixes: N frames, D embedding width.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.catalog.interface import Catalog
from service.catalog.records import KeptFrames
from service.errors import InputError
from service.gallery.gallery_records import Floats, SearchHit
from service.gallery.left_out import left_out, rows_of
from service.gallery.ranking import Query, at_most_per_group, rounded


@dataclass(frozen=True, slots=True)
class BestFrame:
    """The kept frame of a cine that is nearest to a query; ``score`` is the cosine."""

    place: int
    time_s: float | None
    score: float


class FrameSearch:
    """Searches the frames of all collections of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._read: dict[tuple[str, str], tuple[str, KeptFrames]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Drop the copies in memory, so that nothing deleted stays there."""
        with self._lock:
            self._read.clear()

    def best_frames(
        self, workspace_id: str, name: str, row_ids: Sequence[int], embedding_D: Floats
    ) -> dict[int, BestFrame]:
        """{row id: nearest frame} of the scans that are cines. Raises UnknownItem."""
        if not row_ids:
            return {}
        return _best(self._catalog.kept_frames(workspace_id, name, row_ids), embedding_D)

    def search(
        self,
        workspace_id: str,
        names: Sequence[str],
        query: Query,
        by_scan: Callable[[str], list[SearchHit]],
    ) -> list[SearchHit]:
        """Rank whole scans, but let a cine score as its nearest frame when that is more.

        Args:
            by_scan: returns the best whole scans of a collection.

        Raises:
            InputError: the query wants diversity, which compares whole scans.
            UnknownItem: no such collection.
        """
        if query.request.diversity > 0:
            raise InputError("diversity compares whole scans: expected match scan, got frame")
        hits = [
            hit
            for name in dict.fromkeys(names)
            for hit in self._raised(by_scan(name), workspace_id, name, query)
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.scan.row_id))
        passed = at_most_per_group(hits, query.request.group_by, query.request.group_size)
        return list(itertools.islice(passed, query.request.k))

    def _raised(
        self, whole: list[SearchHit], workspace_id: str, name: str, query: Query
    ) -> list[SearchHit]:
        """Hits of one collection by whole scans, and cines that rise above them; not ranked."""
        # Frames can only raise a cine, so whatever ranks below the first k by whole scans
        # and is no cine cannot be among the first k here.
        frames = self._frames(workspace_id, name)
        best = _best(frames, query.embedding_D)
        where = query.request.where
        if filters := left_out(where):
            for row_id in rows_of(self._catalog, workspace_id, name, filters).tolist():
                best.pop(row_id, None)
        elif not where.is_empty:
            allowed = self._catalog.row_ids_where(workspace_id, name, where)
            best = {row_id: best[row_id] for row_id in allowed.tolist() if row_id in best}
        ranked = sorted(best, key=lambda row_id: (-best[row_id].score, row_id))
        by_row = {hit.scan.row_id: hit for hit in whole}
        hits = [
            replace(hit, score=max(hit.score, best[row_id].score)) if row_id in best else hit
            for row_id, hit in by_row.items()
        ]
        rising = [
            row_id
            for row_id in ranked
            if row_id not in by_row
            and row_id not in query.hide_row_ids
            and best[row_id].score >= query.request.min_score
        ]
        # With groups only the best of each count, so k rows may not be enough.
        wanted = rising if query.request.group_by is not None else rising[: query.request.k]
        scans = self._catalog.get_scans_by_row(workspace_id, name, wanted)
        return hits + [SearchHit(best[i].score, scans[i]) for i in wanted if i in scans]

    def _frames(self, workspace_id: str, name: str) -> KeptFrames:
        stamp = self._catalog.frames_stamp(workspace_id, name)
        with self._lock:
            known = self._read.get((workspace_id, name))
        if known is not None and known[0] == stamp:
            return known[1]
        frames = self._catalog.kept_frames(workspace_id, name)
        with self._lock:
            # The stamp is older than the frames: frames added in between are read again next time.
            self._read[workspace_id, name] = (stamp, frames)
        return frames


def _best(frames: KeptFrames, embedding_D: Floats) -> dict[int, BestFrame]:
    length = float(np.linalg.norm(embedding_D))
    scores_N = np.clip(frames.embeddings_ND @ (embedding_D / max(length, 1e-12)), -1, 1)
    order_N = np.lexsort((frames.places_N, -scores_N))
    row_ids, first = np.unique(frames.row_ids_N[order_N], return_index=True)
    best: dict[int, BestFrame] = {}
    for row_id, i in zip(row_ids.tolist(), order_N[first].tolist(), strict=True):
        time_s = float(frames.times_s_N[i])
        known_s = None if np.isnan(time_s) else time_s
        best[row_id] = BestFrame(int(frames.places_N[i]), known_s, rounded(scores_N[i]))
    return best
