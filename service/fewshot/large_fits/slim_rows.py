"""Very many embeddings at unit length in little memory.

Shape suffixes: N rows, D embedding width, B rows of a block.
"""

import numpy as np
import numpy.typing as npt

from service.arrays import Floats, Ints
from service.fewshot.head import refuse_lengths, unit_rows

_CHUNK = 1024


def slim_unit_rows(embeddings_ND: npt.NDArray[np.floating], order_N: Ints) -> Floats:
    """Rows in an order, at unit length, as float32, which halves the memory that each step reads.

    Raises:
        InputError: not 2-D, zero or non-finite rows.
    """
    if embeddings_ND.ndim != 2:
        unit_rows(embeddings_ND)
    slim_ND = np.empty(embeddings_ND.shape, np.float32)
    for start in range(0, len(order_N), _CHUNK):
        rows_BD = embeddings_ND[order_N[start : start + _CHUNK]]
        # Lengths are float64; the division keeps the type of the rows and needs no wider copy.
        lengths_B = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD, dtype=np.float64))
        refuse_lengths(lengths_B)
        np.divide(rows_BD, lengths_B[:, None].astype(rows_BD.dtype), out=rows_BD)
        slim_ND[start : start + _CHUNK] = rows_BD
    return slim_ND
