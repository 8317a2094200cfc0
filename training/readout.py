"""From maps to the embedding: spatial mean and contrast of two stages, whitened, rotated, cut.

The embedding is the unit-length mean over space of ``feature_map``, a 1x1 convolution over four
blocks of maps: the activations of stages 3 and 4, and their contrast. The contrast of a channel
is (a - mean)^2 / std over the frame, so that its own mean over space is the channel's standard
deviation: how strongly a feature varies, which for speckle and tissue texture says more than how
strong it is. So a linear head on the embedding keeps an exact class activation map.

Shape suffixes: N frames, B batch, C channels, h w map sides, K pooled features, D embedding width.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from service.errors import InputError

Floats = npt.NDArray[np.float32]
STAGE3_WIDTH, STAGE4_WIDTH = 1024, 2048
BLOCKS = {
    "stage3.mean": STAGE3_WIDTH,
    "stage3.contrast": STAGE3_WIDTH,
    "stage4.mean": STAGE4_WIDTH,
    "stage4.contrast": STAGE4_WIDTH,
}
WIDTH = sum(BLOCKS.values())
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class ReadoutConfig:
    """How pooled features become the embedding.

    Attributes:
        dim: D.
        energy: share of each block of ``BLOCKS`` in the squared length, before the rotation.
        whitening: exponent p of (variance + ridge)^-p per principal axis of a block; 0 keeps
            the axes as they are, 0.5 makes their variances equal.
        ridge: added variance, in units of the block's mean variance.
    """

    dim: int = 768
    energy: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.5)
    whitening: float = 0.35
    ridge: float = 0.1


@dataclass(frozen=True, slots=True)
class Readout:
    """Pooled features -> embedding before its unit length: weights_DK pooled_K + bias_D."""

    weights_DK: Floats
    bias_D: Floats

    def embed(self, pooled_NK: Floats) -> Floats:
        """Unit-length embeddings, float32 (N, D)."""
        rows_ND = pooled_NK @ self.weights_DK.T + self.bias_D
        unit_ND: Floats = rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)
        return unit_ND


def contrast(maps_BChw: Tensor) -> Tensor:
    """(a - mean)^2 / std per channel and frame; its mean over space is the std. Same shape."""
    centred_BChw = maps_BChw - maps_BChw.mean((2, 3), keepdim=True)
    squared_BChw = centred_BChw * centred_BChw
    variance_BC11 = squared_BChw.mean((2, 3), keepdim=True)
    return squared_BChw / torch.sqrt(variance_BC11 + _TINY)


def stacked(stage3_BC2h2w: Tensor, stage4_BChw: Tensor) -> Tensor:
    """All blocks at the resolution of stage 4: (B, K, h, w), in the order of ``BLOCKS``."""
    blocks = [
        functional.avg_pool2d(stage3_BC2h2w, 2),
        functional.avg_pool2d(contrast(stage3_BC2h2w), 2),
        stage4_BChw,
        contrast(stage4_BChw),
    ]
    return torch.cat(blocks, dim=1)


def pooled(stage3_BC2h2w: Tensor, stage4_BChw: Tensor) -> Tensor:
    """Spatial mean of every block: (B, K)."""
    return stacked(stage3_BC2h2w, stage4_BChw).mean((2, 3))


def fit_readout(pooled_NK: Floats, config: ReadoutConfig) -> Readout:
    """Centre, whiten in part and weigh each block, then keep the ``dim`` strongest directions.

    Unlabelled corpus frames suffice. Centring makes cosines spread (pooled activations all point
    the same way); partial whitening keeps a few loud directions (gain, brightness) from ruling;
    the ridge keeps noise from ruling instead.

    Args:
        pooled_NK: float32, as ``pooled`` gives them, of corpus frames.

    Raises:
        InputError: the shape does not fit.
    """
    rows, width = pooled_NK.shape
    if width != WIDTH or config.dim >= min(rows, width):
        raise InputError(f"expected more than {config.dim} rows of {WIDTH}, got {pooled_NK.shape}")
    mean_K = pooled_NK.mean(0, dtype=np.float64)
    centred_NK = pooled_NK - mean_K
    whitened_NK = np.zeros_like(centred_NK)
    maps: list[npt.NDArray[np.float64]] = []
    start = 0
    for wide, share in zip(BLOCKS.values(), config.energy, strict=True):
        block = slice(start, start + wide)
        maps.append(_whitening(centred_NK[:, block], config, share))
        whitened_NK[:, block] = centred_NK[:, block] @ maps[-1]
        start += wide
    axes_DK = _strongest(whitened_NK, config.dim)
    weights_DK = np.empty((config.dim, width))
    start = 0
    for wide, whiten in zip(BLOCKS.values(), maps, strict=True):
        block = slice(start, start + wide)
        weights_DK[:, block] = axes_DK[:, block] @ whiten.T
        start += wide
    return Readout(weights_DK.astype(np.float32), (-weights_DK @ mean_K).astype(np.float32))


def _whitening(
    centred_NC: npt.NDArray[np.float64], config: ReadoutConfig, share: float
) -> npt.NDArray[np.float64]:
    """(C, C) map after which the block's mean squared length is ``share``."""
    if share == 0:
        return np.zeros((centred_NC.shape[1],) * 2)
    covariance_CC = centred_NC.T @ centred_NC / len(centred_NC)
    variances_C, axes_CC = np.linalg.eigh(covariance_CC)
    variances_C = np.maximum(variances_C, 0) + config.ridge * max(variances_C.mean(), _TINY)
    whiten_CC = axes_CC * variances_C**-config.whitening
    energy = np.square(centred_NC @ whiten_CC).sum(1).mean()
    scaled_CC: npt.NDArray[np.float64] = whiten_CC * np.sqrt(share / max(energy, _TINY))
    return scaled_CC


def _strongest(rows_NK: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.float64]:
    """The ``dim`` principal axes, (D, K), strongest first."""
    # With fewer rows than features the small Gram matrix holds the same axes.
    gram_NN = rows_NK @ rows_NK.T
    strengths_N, vectors_NN = np.linalg.eigh(gram_NN)
    order = np.argsort(-strengths_N)[:dim]
    scale_D = np.sqrt(np.maximum(strengths_N[order], _TINY * strengths_N.max()))
    axes_DK: npt.NDArray[np.float64] = (vectors_NN[:, order] / scale_D).T @ rows_NK
    return axes_DK
