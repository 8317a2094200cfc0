"""A linear head: arrays in, probabilities out.

Shape suffixes: N S rows, C classes, D embedding width.
"""

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
MIN_LENGTH = 1e-6
FEW_ROWS = 4
UNREADABLE = (  # a damaged npz raises of all these kinds
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    AttributeError,
    MemoryError,
    RuntimeError,  # NotImplementedError too
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Softmax over ``weights_CD embedding_D + bias_C`` of unit-length embeddings.

    Attributes:
        encoder_id: of the encoder whose embeddings it was fitted on.
        classes: names, one per row of the weights.
    """

    encoder_id: str
    classes: tuple[str, ...]
    weights_CD: Floats
    bias_C: Floats

    def logits(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """float64 (N, C). Raises InputError: wrong width, zero or non-finite rows."""
        unit_ND = unit_rows(embeddings_ND)
        if unit_ND.shape[1] != self.weights_CD.shape[1]:
            raise InputError(f"expected width {self.weights_CD.shape[1]}, got {unit_ND.shape[1]}")
        scores_NC: Doubles = unit_ND @ self.weights_CD.T.astype(np.float64) + self.bias_C
        return scores_NC

    def probabilities(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """float64 (N, C), rows sum to 1, in the order of ``classes``; not calibrated."""
        logits_NC = self.logits(embeddings_ND)
        powers_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
        shares_NC: Doubles = powers_NC / powers_NC.sum(1, keepdims=True)
        return shares_NC


def unit_rows(embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
    """Rows at unit length, float64. Raises InputError: not 2-D, zero or non-finite rows."""
    if embeddings_ND.ndim != 2:
        raise InputError(f"expected embeddings of shape (N, D), got {embeddings_ND.shape}")
    wide_ND = embeddings_ND.astype(np.float64)
    lengths_N1 = np.linalg.norm(wide_ND, axis=1, keepdims=True)
    refuse_lengths(lengths_N1)
    rows_ND: Doubles = wide_ND / lengths_N1
    return rows_ND


def cosines(unit_ND: npt.NDArray[np.floating], unit_SD: Floats) -> Floats:
    """(N, S) products of unit rows, float32, exact to 1e-7."""
    slim_ND = unit_ND.astype(np.float32)
    if len(slim_ND) > FEW_ROWS:
        products_NS: Floats = slim_ND @ unit_SD.T
        return products_NS
    # A threaded product of one row is done in 0.1 ms, and in 10 where the encoder has the cores.
    few_NS: Floats = np.einsum("nd,sd->ns", slim_ND, unit_SD)
    return few_NS


def refuse_lengths(lengths: Doubles) -> None:
    """Raises InputError: a length of a row that is 0 or not finite."""
    if not (np.isfinite(lengths).all() and (lengths > MIN_LENGTH).all()):
        raise InputError("expected finite embeddings of a length above 0")
