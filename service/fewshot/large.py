"""What a fit of very many examples does differently, to stay within seconds.

All examples teach the head. The penalty is chosen, and the head judged, on a drawn sample: with so
many rows both are settled long before all have been looked at.

Shape suffixes: N rows, M sampled rows, C classes, D embedding width.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.fewshot.head import refuse_lengths, unit_rows
from service.fewshot.solve import LogisticProblem

Doubles: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

LARGE = 5000  # examples above which a sample is judged
EXAMINED = 1000  # rows of the sample, in all
LEAST_EXAMINED = 5  # rows of each class, where it has them
_CHUNK = 1024


def examined(problem: LogisticProblem, seed: int) -> Ints:
    """Row numbers to cross-validate on, ascending: all, or a sample balanced over classes."""
    if problem.size <= LARGE:
        return np.arange(problem.size)
    rng = np.random.default_rng(seed)
    wanted = max(LEAST_EXAMINED, EXAMINED // problem.classes)
    drawn = [
        rng.permutation(np.flatnonzero(problem.labels_N == c))[:wanted]
        for c in range(problem.classes)
    ]
    rows_M: Ints = np.sort(np.concatenate(drawn))
    return rows_M


def slim_unit_rows(embeddings_ND: npt.NDArray[np.floating], order_N: Ints) -> Floats:
    """Rows in an order, at unit length, float32: half the memory to walk through at each step.

    Raises:
        InputError: not 2-D, zero or non-finite rows.
    """
    if embeddings_ND.ndim != 2:
        unit_rows(embeddings_ND)
    slim_ND = np.empty(embeddings_ND.shape, np.float32)
    for start in range(0, len(order_N), _CHUNK):
        rows_BD = embeddings_ND[order_N[start : start + _CHUNK]]
        # Lengths in float64, the division in the rows' own type: no second, wider copy of them.
        lengths_B = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD, dtype=np.float64))
        refuse_lengths(lengths_B)
        np.divide(rows_BD, lengths_B[:, None].astype(rows_BD.dtype), out=rows_BD)
        slim_ND[start : start + _CHUNK] = rows_BD
    return slim_ND
