"""The test whether a frame is ultrasound: a linear score of its embedding, for one encoder.

Shape suffixes: N rows, D embedding width.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.arrays import Bools, Doubles, Floats
from service.errors import ArtifactMismatch, InputError


@dataclass(frozen=True, slots=True)
class UltrasoundTest:
    """The score that the embedding of a frame must reach to pass as ultrasound.

    Attributes:
        encoder_id: of the embeddings that it tells apart.
        weights_D: float32.
        bias: added to the product; the score is a logit, above 0 = probably ultrasound.
        threshold: lower scores fail.
    """

    encoder_id: str
    weights_D: Floats
    bias: float
    threshold: float

    def scores(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N,) of unit embeddings. Raises InputError: another width."""
        if embeddings_ND.ndim != 2 or embeddings_ND.shape[1] != len(self.weights_D):
            raise InputError(
                f"expected embeddings of width {len(self.weights_D)}, got {embeddings_ND.shape}"
            )
        wide_ND = embeddings_ND.astype(np.float64)
        return np.asarray(wide_ND @ self.weights_D.astype(np.float64) + self.bias)

    def passed(self, embeddings_ND: npt.NDArray[np.floating]) -> Bools:
        """(N,) whether each passes. Raises InputError: another width."""
        return np.asarray(self.scores(embeddings_ND) >= self.threshold)


def read_ultrasound_test(path: Path, dim: int, encoder_id: str) -> UltrasoundTest:
    """The test of a bundle whose files were verified.

    Raises:
        ArtifactMismatch: the file is unreadable, not finite, or of another width than ``dim``.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            weights_D = stored["weights_D"]
            bias, threshold = float(stored["bias"]), float(stored["least"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactMismatch(f"{path.name} lacks weights, bias or threshold") from error
    if weights_D.dtype != np.float32 or weights_D.shape != (dim,):
        raise ArtifactMismatch(f"expected float32 weights of width {dim}, got {weights_D.shape}")
    if not (np.isfinite(weights_D).all() and np.isfinite([bias, threshold]).all()):
        raise ArtifactMismatch(f"expected finite numbers in {path.name}")
    return UltrasoundTest(encoder_id, weights_D, bias, threshold)
