"""Embeddings in the number formats that a request can choose.

Shape suffixes: D embedding width.
"""

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.arrays import Floats

NumberFormat: TypeAlias = Literal["float32", "float16", "int8"]
INT8_SCALE = 127.0
_LITTLE_ENDIAN = {"float32": "<f4", "float16": "<f2"}


def quantise(embedding_D: Floats, number_format: NumberFormat) -> npt.NDArray[Any]:
    """The embedding in another format, little-endian; int8 is the value times 127, rounded."""
    if number_format == "int8":
        scaled_D: Floats = np.rint(np.clip(embedding_D, -1, 1) * INT8_SCALE)
        return scaled_D.astype(np.int8)
    return embedding_D.astype(np.dtype(_LITTLE_ENDIAN[number_format]), copy=False)
