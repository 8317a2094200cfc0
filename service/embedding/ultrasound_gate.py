"""Is a frame ultrasound at all? A linear score of its embedding, measured for one encoder.

Shape suffixes: N rows, D embedding width.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import ArtifactMismatch, InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UltrasoundTest:
    """What a frame's embedding must score to pass as ultrasound.

    Attributes:
        weights_D: float32.
        bias: added to the product; the score is in logits, above 0 = rather ultrasound.
        least: scores below fail.
    """

    weights_D: Floats
    bias: float
    least: float

    def scores(self, embeddings_ND: npt.NDArray[np.floating]) -> Doubles:
        """(N,) of unit embeddings. Raises InputError: another width."""
        if embeddings_ND.ndim != 2 or embeddings_ND.shape[1] != len(self.weights_D):
            raise InputError(
                f"expected embeddings of width {len(self.weights_D)}, got {embeddings_ND.shape}"
            )
        wide_ND = embeddings_ND.astype(np.float64)
        scores_N: Doubles = wide_ND @ self.weights_D.astype(np.float64) + self.bias
        return scores_N

    def passed(self, embeddings_ND: npt.NDArray[np.floating]) -> Bools:
        """(N,) whether each passes. Raises InputError: another width."""
        passed_N: Bools = self.scores(embeddings_ND) >= self.least
        return passed_N


def read_ultrasound_test(path: Path, dim: int) -> UltrasoundTest:
    """Of a bundle whose files were verified.

    Raises:
        ArtifactMismatch: unreadable, not finite, or of another width than ``dim``.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            weights_D = stored["weights_D"]
            bias, least = float(stored["bias"]), float(stored["least"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactMismatch(f"{path.name} lacks weights, bias or threshold") from error
    if weights_D.dtype != np.float32 or weights_D.shape != (dim,):
        raise ArtifactMismatch(f"expected float32 weights of width {dim}, got {weights_D.shape}")
    if not (np.isfinite(weights_D).all() and np.isfinite([bias, least]).all()):
        raise ArtifactMismatch(f"expected finite numbers in {path.name}")
    return UltrasoundTest(weights_D, bias, least)
