"""The arrays of the index: unit rows and ids in, neighbours out.

Shape suffixes: N rows, P positions, Q queries, K neighbours, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from service.arrays import Floats

Ids: TypeAlias = npt.NDArray[np.int64]
ContentHashes: TypeAlias = npt.NDArray[np.uint64]
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


def inner_products(rows_ND: Floats, positions_P: Ids, queries_QD: Floats) -> Floats:
    """Scores of the rows at some positions, float32 (Q, P).

    Rows are read in place, because a copy costs more than a score, and on this thread only,
    because the threads of a matrix product wait for each other when many searches run at once.
    """
    scores_QP: Floats = np.empty((len(queries_QD), len(positions_P)), np.float32)
    positions_P = np.ascontiguousarray(positions_P, np.int64)
    faiss.omp_set_num_threads(1)
    score: Any = faiss.fvec_inner_products_by_idx  # type: ignore[attr-defined]
    rows = (faiss.swig_ptr(rows_ND), faiss.swig_ptr(positions_P), rows_ND.shape[1])
    for query_D, scores_P in zip(queries_QD, scores_QP, strict=True):
        score(faiss.swig_ptr(scores_P), faiss.swig_ptr(query_D), *rows, 1, len(positions_P))
    return scores_QP


def best(row_ids_N: Ids, scores_N: Floats, k: int) -> Neighbours:
    """The k rows of highest score; a negative id marks an empty place."""
    is_row_N = row_ids_N >= 0
    row_ids_N, scores_N = row_ids_N[is_row_N], np.clip(scores_N[is_row_N], -1, 1)
    if len(scores_N) > 2 * k:  # sorting a whole collection would cost more than its scores
        lowest = np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k]
        near = scores_N >= lowest  # unlike argpartition, this keeps all equal scores
        row_ids_N, scores_N = row_ids_N[near], scores_N[near]
    order = np.lexsort((row_ids_N, -scores_N))[:k]
    return Neighbours(row_ids_N[order], scores_N[order])


def merged(parts: Sequence[Neighbours], k: int) -> Neighbours:
    """The k best of several results over different rows."""
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([NO_IDS, *(part.row_ids_K for part in parts)])
    return best(ids, np.concatenate([NO_SCORES, *(part.scores_K for part in parts)]), k)
