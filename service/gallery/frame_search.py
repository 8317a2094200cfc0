"""The single frames of cines: which one is nearest, and search by frames. Blocking, thread safe.

Frames are compared one by one with NumPy, exactly, from a copy in memory that is read again
when the catalog's stamp says that it holds other frames.

Shape suffixes: N frames, D embedding width.
"""

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.records import KeptFrames
from service.errors import InputError
from service.gallery.gallery import Gallery, Query
from service.gallery.ranking import Hit, at_most_per_group

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BestFrame:
    """The kept frame of a cine that is nearest to a query; ``score`` is the cosine."""

    place: int
    time_s: float | None
    score: float


class FrameSearch:
    """Frames of all collections of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._read: dict[tuple[str, str], tuple[tuple[int, int], KeptFrames]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Drop the copies in memory, so that nothing deleted stays there."""
        with self._lock:
            self._read.clear()

    def best_frames(
        self, workspace_id: str, name: str, row_ids: Sequence[int], embedding_D: Floats
    ) -> dict[int, BestFrame]:
        """{row id: its nearest frame} of those scans that are cines. Raises UnknownItem."""
        if not row_ids:
            return {}
        return _best(self._catalog.kept_frames(workspace_id, name, row_ids), embedding_D)

    def search(
        self, gallery: Gallery, workspace_id: str, names: Sequence[str], query: Query
    ) -> list[Hit]:
        """As ``Gallery.search``, but a cine scores as its nearest frame when that is more.

        Raises:
            InputError: with diversity, which compares whole scans.
            UnknownItem, EncoderMismatch: as there.
        """
        if query.diversity > 0:
            raise InputError("diversity compares whole scans: expected match scan, got frame")
        hits = [
            hit
            for name in dict.fromkeys(names)
            for hit in self._risen(gallery, workspace_id, name, query)
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.scan.row_id))
        passed = at_most_per_group(hits, query.group_by, query.group_size)
        return list(itertools.islice(passed, query.k))

    def _risen(self, gallery: Gallery, workspace_id: str, name: str, query: Query) -> list[Hit]:
        """Hits of one collection by whole scans, and cines that rise above them; not ranked."""
        # A cine can only rise by its frames, so whatever ranks below the first k by whole scans
        # and is no cine cannot be among the first k here.
        whole = gallery.search(workspace_id, [name], query)
        frames = self._frames(workspace_id, name)
        best = _best(frames, query.embedding_D)
        if not query.where.is_empty:
            allowed = self._catalog.row_ids_where(workspace_id, name, query.where)
            best = {row_id: best[row_id] for row_id in allowed.tolist() if row_id in best}
        ranked = sorted(best, key=lambda row_id: (-best[row_id].score, row_id))
        found = {hit.scan.row_id: hit for hit in whole}
        hits = [
            replace(hit, score=max(hit.score, best[row_id].score)) if row_id in best else hit
            for row_id, hit in found.items()
        ]
        rising = [
            row_id
            for row_id in ranked
            if row_id not in found
            and row_id not in query.hide_row_ids
            and best[row_id].score >= query.min_score
        ]
        # Of one group only the best count: then more are needed to fill k.
        wanted = rising if query.group_by is not None else rising[: query.k]
        scans = self._catalog.get_scans_by_row(workspace_id, name, wanted)
        return hits + [Hit(scans[i], best[i].score) for i in wanted if i in scans]

    def _frames(self, workspace_id: str, name: str) -> KeptFrames:
        stamp = self._catalog.frames_stamp(workspace_id, name)
        with self._lock:
            known = self._read.get((workspace_id, name))
        if known is not None and known[0] == stamp:
            return known[1]
        frames = self._catalog.kept_frames(workspace_id, name)
        with self._lock:
            # Stamped before it was read: frames that came in between are read again next time.
            self._read[workspace_id, name] = (stamp, frames)
        return frames


def _best(frames: KeptFrames, embedding_D: Floats) -> dict[int, BestFrame]:
    length = float(np.linalg.norm(embedding_D))
    scores_N = np.clip(frames.embeddings_ND @ (embedding_D / max(length, 1e-12)), -1, 1)
    best: dict[int, BestFrame] = {}
    for i in np.lexsort((frames.places_N, -scores_N)).tolist():
        row_id, time_s = int(frames.row_ids_N[i]), float(frames.times_s_N[i])
        if row_id not in best:
            best[row_id] = BestFrame(
                int(frames.places_N[i]), None if np.isnan(time_s) else time_s, float(scores_N[i])
            )
    return best
