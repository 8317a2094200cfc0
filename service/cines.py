"""The single frames of cines: which one is nearest, and search by frames. Blocking, thread safe.

Frames are compared one by one with NumPy, exactly, from a copy in memory that is read again
when the catalog's stamp says that it holds other frames.

Shape suffixes: N frames, D embedding width.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.catalog.interface import Catalog
from service.catalog.records import KeptFrames
from service.galleries import Galleries, Hit, Query

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BestFrame:
    """The kept frame of a cine that is nearest to a query; ``score`` is the cosine."""

    place: int
    time_s: float | None
    score: float


class Cines:
    """Frames of all collections of one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._read: dict[tuple[str, str], tuple[tuple[int, int], KeptFrames]] = {}
        self._lock = threading.Lock()

    def best_frames(
        self, workspace_id: str, name: str, row_ids: Sequence[int], embedding_D: Floats
    ) -> dict[int, BestFrame]:
        """{row id: its nearest frame} of those scans that are cines. Raises UnknownItem."""
        if not row_ids:
            return {}
        return _best(self._catalog.kept_frames(workspace_id, name, row_ids), embedding_D)

    def search(self, galleries: Galleries, workspace_id: str, name: str, query: Query) -> list[Hit]:
        """As ``Galleries.search``, but a cine scores as its nearest frame when that is more.

        Raises:
            UnknownItem, EncoderMismatch: as there.
        """
        # A cine can only rise by its frames, so whatever ranks below the first k by whole scans
        # and is no cine cannot be among the first k here.
        whole = galleries.search(workspace_id, name, query)
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
        # Of one subject or study only the best counts: then more are needed to fill k.
        wanted = rising if query.group_by is not None else rising[: query.k]
        scans = self._catalog.get_scans_by_row(workspace_id, name, wanted)
        hits += [Hit(scans[row_id], best[row_id].score) for row_id in wanted if row_id in scans]
        hits.sort(key=lambda hit: (-hit.score, hit.scan.row_id))
        return _one_per_group(hits, query)[: query.k]

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


def _one_per_group(hits: list[Hit], query: Query) -> list[Hit]:
    kept: list[Hit] = []
    groups: set[str] = set()
    for hit in hits:
        named = {"subject": hit.scan.subject_id, "study": hit.scan.study_id}.get(
            query.group_by or ""
        )
        if named is None or named not in groups:
            kept.append(hit)
        if named is not None:
            groups.add(named)
    return kept
