"""Array types and the one normalisation that several rooms share.

Shape suffixes: N rows, D embedding width.
"""

from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from service.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Pixels: TypeAlias = npt.NDArray[np.uint8]
F = TypeVar("F", bound=np.floating)


def unit_rows(rows_ND: npt.NDArray[F], *, min_length: float = 0.0) -> npt.NDArray[F]:
    """The rows (N, D) at unit length, in their own precision, contiguous.

    Raises:
        InputError: not two axes, or a row that is not finite or no longer than ``min_length``.
    """
    if rows_ND.ndim != 2:
        raise InputError(f"expected rows of one width, got shape {rows_ND.shape}")
    lengths_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    if not (np.isfinite(lengths_N1).all() and (lengths_N1 > min_length).all()):
        raise InputError("expected finite rows of a length above 0")
    unit_ND: npt.NDArray[F] = np.ascontiguousarray(rows_ND / lengths_N1, rows_ND.dtype)
    return unit_ND
