"""Separable Gaussian blur whose width differs from row to row of the batch.

Shape suffixes: B rows of the batch, C planes, H height, W width, K taps.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor


def blur(planes_BCHW: Tensor, down_px_B: Tensor, across_px_B: Tensor, *, reach_px: int) -> Tensor:
    """Gaussian blur with one pair of standard deviations per batch row; borders are repeated.

    Returns float32 of the same shape.

    Args:
        down_px_B: standard deviation along H, above 0, any shape of B elements.
        reach_px: taps to each side; at least twice the largest standard deviation.
    """
    padded = functional.pad(planes_BCHW, (reach_px,) * 4, mode="replicate")
    return blur_inside(padded, down_px_B, across_px_B, reach_px=reach_px)


def blur_inside(
    planes_BCHW: Tensor, down_px_B: Tensor, across_px_B: Tensor, *, reach_px: int
) -> Tensor:
    """``blur`` without a made-up border: the result is ``reach_px`` smaller on every side."""
    batch, planes, height, width = planes_BCHW.shape
    stacked = planes_BCHW.reshape(1, batch * planes, height, width)
    down = _kernels(down_px_B, reach_px).repeat_interleave(planes, 0)
    across = _kernels(across_px_B, reach_px).repeat_interleave(planes, 0)
    groups = batch * planes
    blurred = functional.conv2d(stacked, down[:, None, :, None], groups=groups)
    blurred = functional.conv2d(blurred, across[:, None, None, :], groups=groups)
    return blurred.reshape(batch, planes, height - 2 * reach_px, width - 2 * reach_px)


def noise_gain(down_px_B: Tensor, across_px_B: Tensor, *, reach_px: int) -> Tensor:
    """(B, 1, 1, 1): factor by which ``blur`` shrinks the deviation of white noise."""
    down_BK = _kernels(down_px_B, reach_px)
    across_BK = _kernels(across_px_B, reach_px)
    gain_B = (down_BK.square().sum(1) * across_BK.square().sum(1)).sqrt()
    return gain_B[:, None, None, None]


def _kernels(sigma_px_B: Tensor, reach_px: int) -> Tensor:
    taps_K = torch.arange(-reach_px, reach_px + 1, device=sigma_px_B.device)
    weights_BK = torch.exp(-0.5 * (taps_K / sigma_px_B.reshape(-1, 1)) ** 2)
    return weights_BK / weights_BK.sum(1, keepdim=True)
