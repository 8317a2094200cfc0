"""The nearest other rows of every row, exactly.

Shape suffixes: N rows, K neighbours, D width.
"""

from collections.abc import Callable

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

ROWS_AT_ONCE = 2_048


def nearest_rows(
    rows_ND: npt.NDArray[np.float32], k: int, on_rows: Callable[[int], None]
) -> npt.NDArray[np.int64]:
    """(N, k) numbers of the nearest other rows by Euclidean distance, nearest first.

    Of rows that are equal any may be left out for another. N*N*D products: 100,000 rows of 50
    numbers take half a minute.

    Args:
        k: less than N.
        on_rows: called with the number of rows that are done.
    """
    index = faiss.IndexFlatL2(rows_ND.shape[1])
    index.add(np.ascontiguousarray(rows_ND, np.float32))
    nearest_NK = np.empty((len(rows_ND), k), np.int64)
    for start in range(0, len(rows_ND), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        with threadpool_limits(1):  # it is work in the background, beside requests
            _, found = index.search(rows_ND[block], k + 1)
        nearest_NK[block] = _others(found, np.arange(start, start + len(found)))
        on_rows(min(start + ROWS_AT_ONCE, len(rows_ND)))
    return nearest_NK


def _others(found_NK: npt.NDArray[np.int64], own_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Each row of results without the row itself; the last one goes where it was not found."""
    is_own_NK = found_NK == own_N[:, None]
    is_own_NK[~is_own_NK.any(axis=1), -1] = True
    others_NK: npt.NDArray[np.int64] = found_NK[~is_own_NK].reshape(len(found_NK), -1)
    return others_NK
