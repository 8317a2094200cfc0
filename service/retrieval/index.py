"""Exact cosine search over embeddings: a cache that the catalog can always rebuild.

Shape suffixes: N rows, Q queries, K neighbours, D embedding width.
"""

import threading
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from service.errors import EncoderMismatch, InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Best first; of equal scores the older row first.

    Attributes:
        row_ids_K: int64.
        scores_K: float32, cosine in [-1, 1].
    """

    row_ids_K: Ids
    scores_K: Floats


class EmbeddingIndex:
    """FAISS flat inner product over unit rows. Thread safe: one call at a time."""

    def __init__(self, dim: int, encoder_id: str) -> None:
        self._dim = dim
        self._encoder_id = encoder_id
        # Any: the stubs of FAISS know neither array ids nor keyword parameters.
        self._faiss: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, row_ids_N: Ids, embeddings_ND: Floats, *, encoder_id: str) -> None:
        """Store rows under their ids; a known id is replaced.

        Raises:
            EncoderMismatch: the rows come from another encoder.
            InputError: wrong shape or type, zero or non-finite rows, or an id twice.
        """
        unit_ND = self._unit(embeddings_ND, encoder_id)
        ids = [int(row_id) for row_id in row_ids_N]
        if len(ids) != len(unit_ND) or len(set(ids)) != len(ids):
            raise InputError(f"expected {len(unit_ND)} different row ids, got {len(set(ids))}")
        if not ids:
            return
        with self._lock:
            stale = self._known.intersection(ids)
            if stale:
                self._faiss.remove_ids(np.array(sorted(stale), np.int64))
            self._faiss.add_with_ids(unit_ND, np.array(ids, np.int64))
            self._known.update(ids)

    def remove(self, row_ids_N: Ids) -> int:
        """Forget rows; unknown ids are passed over. Return how many were there."""
        with self._lock:
            there = self._known.intersection(int(row_id) for row_id in row_ids_N)
            if there:
                self._faiss.remove_ids(np.array(sorted(there), np.int64))
                self._known -= there
            return len(there)

    def search(
        self, queries_QD: Floats, *, k: int, encoder_id: str, allowed_ids: Ids | None = None
    ) -> list[Neighbours]:
        """The k rows of highest cosine for each query, fewer when fewer are allowed.

        Args:
            queries_QD: float32, any length above 0.
            k: at least 1.
            encoder_id: of the encoder that made the queries.
            allowed_ids: only these rows; None = all.

        Raises:
            EncoderMismatch, InputError: as for ``add``.
        """
        unit_QD = self._unit(queries_QD, encoder_id)
        if k < 1:
            raise InputError(f"expected k of at least 1, got {k}")
        with self._lock:
            size = len(self._known)
            if allowed_ids is not None:
                allowed_ids = np.array(
                    sorted(self._known.intersection(allowed_ids.tolist())), np.int64
                )
                size = len(allowed_ids)
            k = min(k, size)
            if k == 0:
                empty = Neighbours(np.empty(0, np.int64), np.empty(0, np.float32))
                return [empty for _ in unit_QD]
            scores_QK, row_ids_QK = self._search(unit_QD, k, allowed_ids)
        return [_sorted(r, s) for r, s in zip(row_ids_QK, scores_QK, strict=True)]

    def _search(self, unit_QD: Floats, k: int, allowed_ids: Ids | None) -> tuple[Floats, Ids]:
        if allowed_ids is None:
            scores_QK, row_ids_QK = self._faiss.search(unit_QD, k)
        else:
            selector = faiss.IDSelectorBatch(allowed_ids)
            wanted = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            scores_QK, row_ids_QK = self._faiss.search(unit_QD, k, params=wanted)
        return scores_QK, row_ids_QK

    def _unit(self, rows_ND: Floats, encoder_id: str) -> Floats:
        if encoder_id != self._encoder_id:
            raise EncoderMismatch(f"the index is for {self._encoder_id}, the rows for {encoder_id}")
        if rows_ND.dtype != np.float32 or rows_ND.ndim != 2 or rows_ND.shape[1] != self._dim:
            raise InputError(
                f"expected float32 rows of width {self._dim}, got {rows_ND.dtype} {rows_ND.shape}"
            )
        lengths_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
        if not (np.isfinite(lengths_N1).all() and (lengths_N1 > 0).all()):
            raise InputError("expected finite rows of a length above 0")
        unit_ND: Floats = np.ascontiguousarray(rows_ND / lengths_N1, np.float32)
        return unit_ND


def _sorted(row_ids_K: Ids, scores_K: Floats) -> Neighbours:
    found = row_ids_K >= 0
    row_ids_K, scores_K = row_ids_K[found], np.clip(scores_K[found], -1, 1)
    order = np.lexsort((row_ids_K, -scores_K))
    return Neighbours(row_ids_K[order], scores_K[order])
