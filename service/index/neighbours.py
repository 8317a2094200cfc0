"""What goes into an index and what comes out: unit rows under ids, and neighbours.

Shape suffixes: N rows, P positions, Q queries, K neighbours, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from service.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]
Marks: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
NO_IDS: Ids = np.empty(0, np.int64)
NO_SCORES: Floats = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Best first; of equal scores the older row first.

    Attributes:
        row_ids_K: int64.
        scores_K: float32, cosine in [-1, 1].
    """

    row_ids_K: Ids
    scores_K: Floats


def unit_rows(rows_ND: Floats, dim: int) -> Floats:
    """The rows at unit length, float32 (N, D), contiguous.

    Raises:
        InputError: not float32 of this width, or a zero or non-finite row.
    """
    if rows_ND.dtype != np.float32 or rows_ND.ndim != 2 or rows_ND.shape[1] != dim:
        raise InputError(
            f"expected float32 rows of width {dim}, got {rows_ND.dtype} {rows_ND.shape}"
        )
    lengths_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    if not (np.isfinite(lengths_N1).all() and (lengths_N1 > 0).all()):
        raise InputError("expected finite rows of a length above 0")
    unit_ND: Floats = np.ascontiguousarray(rows_ND / lengths_N1, np.float32)
    return unit_ND


def inner_products(rows_ND: Floats, positions_P: Ids, queries_QD: Floats) -> Floats:
    """Scores of the rows at some positions, float32 (Q, P).

    Read where they lie, since a copy costs more than a score; on this thread alone, since the
    threads of a matrix product wait for each other when many search at once.
    """
    scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
    positions_P = np.ascontiguousarray(positions_P, np.int64)
    faiss.omp_set_num_threads(1)
    score: Any = faiss.fvec_inner_products_by_idx  # type: ignore[attr-defined]
    places = (faiss.swig_ptr(rows_ND), faiss.swig_ptr(positions_P))
    for query_D, scores_P in zip(queries_QD, scores_QP, strict=True):
        ours = (faiss.swig_ptr(scores_P), faiss.swig_ptr(query_D))
        score(*ours, *places, rows_ND.shape[1], 1, len(positions_P))
    return scores_QP


def best(row_ids_N: Ids, scores_N: Floats, k: int) -> Neighbours:
    """The k rows of highest score; ids that are negative mean nothing was found there."""
    found = row_ids_N >= 0
    row_ids_N, scores_N = row_ids_N[found], np.clip(scores_N[found], -1, 1)
    if len(scores_N) > 2 * k:  # a full sort of a whole gallery would cost more than its scores
        least = np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k]
        near = scores_N >= least  # not argpartition: of equal scores all stay
        row_ids_N, scores_N = row_ids_N[near], scores_N[near]
    order = np.lexsort((row_ids_N, -scores_N))[:k]
    return Neighbours(row_ids_N[order], scores_N[order])


def merged(found: Sequence[Neighbours], k: int) -> Neighbours:
    """The k best of several answers over different rows."""
    if len(found) == 1:
        return found[0]
    ids = np.concatenate([NO_IDS, *(part.row_ids_K for part in found)])
    return best(ids, np.concatenate([NO_SCORES, *(part.scores_K for part in found)]), k)
