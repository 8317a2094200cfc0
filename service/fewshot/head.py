"""A linear head on unit-length embeddings.

Shape suffixes: N S rows, C classes, D embedding width, V views of a row.
"""

import tokenize
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service import arrays
from service.arrays import Doubles, Floats
from service.errors import InputError

MIN_LENGTH = 1e-6
FEW_ROWS = 4
UNREADABLE = (  # what reading a damaged npz may raise
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    AttributeError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Softmax over ``weights_CD embedding_D + bias_C``.

    Attributes:
        encoder_id: encoder whose embeddings it was fitted on.
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
        return softmax(self.logits(embeddings_ND))


@dataclass(frozen=True, slots=True)
class TeachingViews:
    """Examples whose views teach, each with 1 / V of the weight, and which are asked as they are.

    Attributes:
        asked_ND: one embedding of each, as of a query: what out-of-fold scores are made from.
        views_NVD: the embeddings of its views.
    """

    asked_ND: npt.NDArray[np.floating]
    views_NVD: npt.NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.asked_ND)

    @property
    def views(self) -> int:
        """V."""
        return int(self.views_NVD.shape[1])


def asked_and_views(
    rows: npt.NDArray[np.floating] | TeachingViews,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating] | None]:
    """(N, D) what is asked, and (N, V, D) what teaches in its place, if anything does."""
    if isinstance(rows, TeachingViews):
        return rows.asked_ND, rows.views_NVD
    return rows, None


def unit_views(views_NVD: npt.NDArray[np.floating]) -> Doubles:
    """Views at unit length, float64. Raises InputError as ``unit_rows``."""
    return unit_rows(views_NVD.reshape(-1, views_NVD.shape[-1])).reshape(views_NVD.shape)


def softmax(logits_NC: Doubles) -> Doubles:
    """Rows that sum to 1; a row of NaN stays NaN."""
    powers_NC = np.exp(logits_NC - logits_NC.max(1, keepdims=True))
    shares_NC: Doubles = powers_NC / powers_NC.sum(1, keepdims=True)
    return shares_NC


def unit_rows(embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
    """Rows at unit length, float64. Raises InputError: not 2-D, zero or non-finite rows."""
    return arrays.unit_rows(np.asarray(embeddings_ND, np.float64), min_length=MIN_LENGTH)


def cosines(unit_ND: npt.NDArray[np.floating], unit_SD: Floats) -> Floats:
    """(N, S) products of unit rows, float32, exact to 1e-7."""
    slim_ND = unit_ND.astype(np.float32)
    if len(slim_ND) > FEW_ROWS:
        products_NS: Floats = slim_ND @ unit_SD.T
        return products_NS
    # A threaded product takes 0.1 ms, but 10 ms when the encoder occupies the cores.
    few_NS: Floats = np.einsum("nd,sd->ns", slim_ND, unit_SD)
    return few_NS


def refuse_lengths(lengths: Doubles) -> None:
    """Raises InputError: a length of a row that is 0 or not finite."""
    if not (np.isfinite(lengths).all() and (lengths > MIN_LENGTH).all()):
        raise InputError("expected finite embeddings of a length above 0")
