"""Near-duplicates among embeddings: groups where no patient ids are known.

Shape suffixes: N rows, D embedding width, P pairs.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError
from service.fewshot.head import unit_rows

Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

LIKENESS = 0.95  # cosine above which two frames count as one; chosen in docs/fewshot.md
MAX_ROWS = 20_000  # all pairs are compared: 4e8 products of rows, some ten seconds
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows that look alike, the most alike first.

    Attributes:
        first_P, second_P: row numbers, first < second.
        cosine_P: of each pair.
    """

    first_P: Ints
    second_P: Ints
    cosine_P: Doubles


def alike(embeddings_ND: npt.NDArray[np.floating], *, likeness: float = LIKENESS) -> Pairs:
    """All pairs of rows with a cosine of at least ``likeness``.

    Raises:
        InputError: zero or non-finite rows, a likeness outside (0, 1], or too many rows.
    """
    if not 0 < likeness <= 1:
        raise InputError(f"expected a likeness above 0 and up to 1, got {likeness}")
    if len(embeddings_ND) > MAX_ROWS:
        raise InputError(f"expected at most {MAX_ROWS} rows, got {len(embeddings_ND)}")
    unit_ND = unit_rows(np.asarray(embeddings_ND)).astype(np.float32)
    firsts, seconds, cosines = [], [], []
    for start in range(0, len(unit_ND), _CHUNK):
        block = unit_ND[start : start + _CHUNK] @ unit_ND[start:].T
        # float32 gives a row 1 - 1e-7 with its own copy.
        rows, columns = np.nonzero(np.triu(block >= likeness - 1e-6, k=1))
        firsts.append(rows + start)
        seconds.append(columns + start)
        cosines.append(block[rows, columns])
    cosine_P = np.concatenate(cosines).astype(np.float64)
    order_P = np.argsort(-cosine_P, kind="stable")
    return Pairs(
        np.concatenate(firsts)[order_P], np.concatenate(seconds)[order_P], cosine_P[order_P]
    )


def near_duplicate_groups(
    embeddings_ND: npt.NDArray[np.floating], *, likeness: float = LIKENESS
) -> Ints:
    """(N,) group numbers: rows joined by a chain of pairs that look alike.

    A stand-in for patients: it finds repeated frames, not two views of one patient.

    Raises:
        InputError: as ``alike``.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = alike(embeddings_ND, likeness=likeness)
    count = len(embeddings_ND)
    links = coo_array(
        (np.ones(len(pairs.first_P)), (pairs.first_P, pairs.second_P)), (count, count)
    )
    groups_N: Ints = connected_components(links, directed=False)[1].astype(np.int64)
    return groups_N
