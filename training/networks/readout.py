"""Feature maps -> embedding: pool, whiten, shrink what augmentation moves, project.

Speckle and tissue differ in texture, so what is read of a channel is above all its spread over
the frame (standard deviation): of the normalised maps of stage 3 before their ReLU; of their
activations in the top, middle and bottom third of the frame; of the steps of these activations
from one row to the next (an axial gradient); and of the activations of stage 4, where there is
one. The mean of the maps of stage 3 stands beside them: it says less with few labels and more
with many.

Each spread is the mean over space of a map, (a - mean)^2 / spread, so the embedding is the
unit-length mean over space of ``feature_map``, which is linear in these maps: a linear head on
the embedding keeps an exact class activation map.

Shape suffixes: N frames, M pairs of views, B batch, C channels, h w map sides, K pooled features,
D embedding width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from service.arrays import Doubles, Floats, unit_rows
from service.errors import InputError

STAGE3_WIDTH, STAGE4_WIDTH = 1024, 2048
BLOCKS = {
    "stage3.spread": STAGE3_WIDTH,
    "stage3.steps": STAGE3_WIDTH,
    "stage3.top": STAGE3_WIDTH,
    "stage3.middle": STAGE3_WIDTH,
    "stage3.bottom": STAGE3_WIDTH,
    "stage4.spread": STAGE4_WIDTH,  # absent where the network ends at stage 3
    "stage3.mean": STAGE3_WIDTH,
}
WIDTH = sum(BLOCKS.values())
WIDTH_TO_STAGE3 = WIDTH - STAGE4_WIDTH
_STAGE4_BLOCK = "stage4.spread"
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
        augmentation_invariance: how much directions shrink in which augmentation moves a frame: by
            (1 + augmentation_invariance x share of the motion in the frames' spread)^-1/2. 0 = not.
        views: augmented views per frame that show this motion.
    """

    dim: int = 1024
    energy: tuple[float, ...] = (1.0, 0.5, 0.3, 0.3, 0.3, 0.6, 0.6)
    whitening: float = 0.3
    ridge: float = 0.2
    augmentation_invariance: float = 300.0
    views: int = 2


@dataclass(frozen=True, slots=True)
class Readout:
    """Pooled features -> embedding before its unit length: weights_DK pooled_K + bias_D."""

    weights_DK: Floats
    bias_D: Floats

    def embed(self, pooled_NK: Floats) -> Floats:
        """Unit-length embeddings, float32 (N, D)."""
        return unit_rows(pooled_NK @ self.weights_DK.T + self.bias_D)


def spread(maps_BChw: Tensor) -> Tensor:
    """variance / sqrt(variance + tiny) of each channel over space: its deviation. (B, C)."""
    variance_BC = _squared(maps_BChw).mean((2, 3))
    return variance_BC / torch.sqrt(variance_BC + _TINY)


def spread_map(maps_BChw: Tensor) -> Tensor:
    """The map whose mean over space is ``spread``; same shape, at least 0."""
    squared_BChw = _squared(maps_BChw)
    variance_BC11 = squared_BChw.mean((2, 3), keepdim=True)
    return squared_BChw / torch.sqrt(variance_BC11 + _TINY)


def _squared(maps_BChw: Tensor) -> Tensor:
    centred_BChw = maps_BChw - maps_BChw.mean((2, 3), keepdim=True)
    return centred_BChw * centred_BChw


def _rows(height: int) -> tuple[slice, slice, slice]:
    """Top, middle and bottom third of so many rows."""
    third = max(1, round(height / 3))
    return slice(0, third), slice(third, height - third), slice(height - third, height)


def _steps(maps_BChw: Tensor) -> Tensor:
    """From each row to the next; (B, C, h - 1, w)."""
    return maps_BChw[:, :, 1:] - maps_BChw[:, :, :-1]


def pool_features(stage3_BC2h2w: Tensor, stage4_BChw: Tensor | None) -> Tensor:
    """All blocks, (B, K), in the order of ``BLOCKS``.

    Args:
        stage3_BC2h2w: normalised maps before their ReLU (activated ones where a network has no
            others); at least 3 rows.
        stage4_BChw: activated maps; None leaves their block out.
    """
    active = functional.relu(stage3_BC2h2w)
    parts = [active[:, :, rows] for rows in _rows(active.shape[2])]
    maps = [stage3_BC2h2w, _steps(active), *parts]
    if stage4_BChw is not None:
        maps.append(stage4_BChw)
    return torch.cat([*map(spread, maps), stage3_BC2h2w.mean((2, 3))], dim=1)


def stack_feature_maps(stage3_BC2h2w: Tensor, stage4_BChw: Tensor | None) -> Tensor:
    """The maps whose means over space are ``pool_features``, half as fine as stage 3: (B, K, h, w).

    A block that covers only part of the rows is 0 elsewhere and as much larger where it is.
    """
    active = functional.relu(stage3_BC2h2w)
    height = active.shape[2]
    reduced = [
        functional.avg_pool2d(spread_map(stage3_BC2h2w), 2),
        _halved(spread_map(_steps(active)), 0, height),
    ]
    for rows in _rows(height):
        reduced.append(_halved(spread_map(active[:, :, rows]), rows.start, height))
    if stage4_BChw is not None:
        reduced.append(spread_map(stage4_BChw))
    return torch.cat([*reduced, functional.avg_pool2d(stage3_BC2h2w, 2)], dim=1)


def _halved(maps_BChw: Tensor, start: int, height: int) -> Tensor:
    """Put rows into a frame of ``height`` rows at half its size; the mean over space stays.

    A product with a constant places them, and no pad: before 1.32, ONNX Runtime folds any pad
    into the pool behind it, and then refuses a pool whose pad is larger than its kernel.
    """
    rows = maps_BChw.shape[2]
    weight = height / rows / 2
    places = [
        [weight if row // 2 == half else 0.0 for row in range(start, start + rows)]
        for half in range(height // 2)
    ]
    return maps_BChw.new_tensor(places) @ functional.avg_pool2d(maps_BChw, (1, 2))


def fit_readout(
    pooled_NK: Floats,
    config: ReadoutConfig,
    views: Sequence[Floats] = (),
    blocks: Sequence[tuple[int, float]] | None = None,
) -> Readout:
    """Centre, partly whiten and weight each block, and keep the ``dim`` strongest directions.

    Unlabelled corpus frames suffice. Centring makes cosines spread (pooled activations all point
    the same way); partial whitening keeps a few loud directions (gain, brightness) from ruling,
    the ridge keeps noise from ruling instead. What augmentation moves is no property of the
    tissue: those directions shrink (within-class covariance normalisation, Hatch et al. 2006,
    with a frame and its views as a class).

    Args:
        pooled_NK: float32, as ``pool_features`` gives them, of corpus frames.
        views: (N, K) each, of augmented views of the same frames.
        blocks: width and energy of each block; None = ``BLOCKS`` with the energy of ``config``.

    Raises:
        InputError: a shape does not fit.
    """
    blocks = _own_blocks(pooled_NK.shape[1], config) if blocks is None else blocks
    rows, width = pooled_NK.shape
    if sum(wide for wide, _ in blocks) != width or config.dim >= min(rows, width):
        raise InputError(
            f"expected more than {config.dim} rows of {WIDTH}, of {WIDTH_TO_STAGE3} without "
            f"stage 4, or of the given blocks, got {pooled_NK.shape}"
        )
    if any(view_NK.shape != pooled_NK.shape for view_NK in views):
        raise InputError(f"expected views of shape {pooled_NK.shape}")
    mean_K = pooled_NK.mean(0, dtype=np.float64)
    maps = [
        _whitening(pooled_NK[:, block] - mean_K[block], config, share)
        for block, (_, share) in zip(_slices([w for w, _ in blocks]), blocks, strict=True)
    ]
    whitened_NK = _apply(pooled_NK - mean_K, maps)
    if config.augmentation_invariance > 0 and views:
        moved_MK = np.concatenate([_apply(v_NK - mean_K, maps) - whitened_NK for v_NK in views])
        motion = _motion(moved_MK, whitened_NK, config)
        stable_NK = _shrink_motion(whitened_NK, motion)
        views_MK = _shrink_motion(moved_MK, motion) + np.tile(stable_NK, (len(views), 1))
        # Views count among the frames here: what steadying shrank is not to be cut as well, for
        # with many labels it still tells classes apart.
        strongest_DK = principal_axes(np.concatenate([stable_NK, views_MK]), config.dim)[1]
        axes_DK = _shrink_motion(strongest_DK, motion)
    else:
        axes_DK = principal_axes(whitened_NK, config.dim)[1]
    weights_DK = _apply(axes_DK, [whiten.T for whiten in maps])
    return Readout(weights_DK.astype(np.float32), (-weights_DK @ mean_K).astype(np.float32))


def _blocks(width: int) -> dict[str, int]:
    """Blocks of features of this width: all, or all but that of stage 4."""
    absent = () if width == WIDTH else (_STAGE4_BLOCK,)
    return {name: wide for name, wide in BLOCKS.items() if name not in absent}


def join_readouts(
    readouts: Sequence[Readout], pooled: Sequence[Floats], shares: Sequence[float], dim: int
) -> Readout:
    """One read-out of the features of several networks, those of the first network first.

    The embeddings of the networks, each at its own length, stand side by side and are turned to
    their ``dim`` strongest directions, so that a network that says little of a frame counts less.

    Args:
        readouts: of the networks, centred.
        pooled: (N, K) of each network, of the same corpus frames.
        shares: of each network in the mean squared length of the embeddings of these frames.

    Raises:
        InputError: there are not more frames than directions.
    """
    if len(pooled[0]) <= dim:
        raise InputError(f"expected more than {dim} frames, got {len(pooled[0])}")
    scaled = []
    for readout, pooled_NK, share in zip(readouts, pooled, shares, strict=True):
        energy = np.square(_rows_of(readout, pooled_NK)).sum(1).mean()
        factor = np.float32(np.sqrt(share / max(energy, _TINY)))
        scaled.append(Readout(readout.weights_DK * factor, readout.bias_D * factor))
    rows = [_rows_of(r, pooled_NK) for r, pooled_NK in zip(scaled, pooled, strict=True)]
    axes_DJ = principal_axes(np.concatenate(rows, axis=1), dim)[1]
    parts = list(_slices(len(readout.bias_D) for readout in scaled))
    weights_DK = np.concatenate(
        [axes_DJ[:, part] @ r.weights_DK for part, r in zip(parts, scaled, strict=True)], axis=1
    )
    bias_D = axes_DJ @ np.concatenate([readout.bias_D for readout in scaled])
    return Readout(weights_DK.astype(np.float32), bias_D.astype(np.float32))


def _rows_of(readout: Readout, pooled_NK: Floats) -> Doubles:
    rows_ND: Doubles = (pooled_NK @ readout.weights_DK.T + readout.bias_D).astype(np.float64)
    return rows_ND


def _own_blocks(width: int, config: ReadoutConfig) -> list[tuple[int, float]]:
    return list(zip(_blocks(width).values(), block_shares(width, config), strict=True))


def block_shares(width: int, config: ReadoutConfig) -> list[float]:
    """The energy of each block of features of this width."""
    shares = dict(zip(BLOCKS, config.energy, strict=True))
    return [shares[name] for name in _blocks(width)]


def block_slices(width: int) -> Iterator[slice]:
    """The columns of each block of features of this width."""
    return _slices(_blocks(width).values())


def _slices(widths: Iterable[int]) -> Iterator[slice]:
    start = 0
    for wide in widths:
        yield slice(start, start + wide)
        start += wide


def _apply(rows_NK: npt.NDArray[np.floating], maps: Sequence[Doubles]) -> Doubles:
    """Each block of columns times its own (C, C) map."""
    blocks = _slices(len(block_map) for block_map in maps)
    parts = [rows_NK[:, block] @ block_map for block, block_map in zip(blocks, maps, strict=True)]
    return np.concatenate(parts, axis=1)


def _whitening(centred_NC: Doubles, config: ReadoutConfig, share: float) -> Doubles:
    """(C, C) map after which the block's mean squared length is ``share``."""
    if share == 0:
        return np.zeros((centred_NC.shape[1],) * 2)
    covariance_CC = centred_NC.T @ centred_NC / len(centred_NC)
    variances_C, axes_CC = np.linalg.eigh(covariance_CC)
    variances_C = np.maximum(variances_C, 0) + config.ridge * max(variances_C.mean(), _TINY)
    whiten_CC = (axes_CC * variances_C**-config.whitening) @ axes_CC.T
    energy = np.square(centred_NC @ whiten_CC).sum(1).mean()
    scaled_CC: Doubles = whiten_CC * np.sqrt(share / max(energy, _TINY))
    return scaled_CC


def _motion(
    moved_MK: Doubles, whitened_NK: Doubles, config: ReadoutConfig
) -> tuple[Doubles, Doubles]:
    """Axes (R, K) of the motion and what each is changed by: rows + (rows axes^T) change axes."""
    motion_R, axes_RK = principal_axes(moved_MK, min(moved_MK.shape))
    spread_total = np.square(whitened_NK).sum(1).mean()
    shares_R = motion_R / (len(moved_MK) * max(spread_total, _TINY))
    return axes_RK, (1 + config.augmentation_invariance * shares_R) ** -0.5 - 1


def _shrink_motion(rows_NK: Doubles, motion: tuple[Doubles, Doubles]) -> Doubles:
    axes_RK, change_R = motion
    steadied_NK: Doubles = rows_NK + (rows_NK @ axes_RK.T) * change_R @ axes_RK
    return steadied_NK


def principal_axes(rows_NK: Doubles, count: int) -> tuple[Doubles, Doubles]:
    """Squared singular values and unit right axes (R, K), strongest first.

    Axes beyond the rank of the rows come out as almost 0.
    """
    if len(rows_NK) > rows_NK.shape[1]:
        strengths_K, vectors_KK = np.linalg.eigh(rows_NK.T @ rows_NK)
        order = np.argsort(-strengths_K)[:count]
        return np.maximum(strengths_K[order], 0), vectors_KK[:, order].T
    # With fewer rows than features the small Gram matrix holds the same axes.
    strengths_N, vectors_NN = np.linalg.eigh(rows_NK @ rows_NK.T)
    order = np.argsort(-strengths_N)[:count]
    least = max(_TINY * float(strengths_N.max()), np.finfo(np.float64).tiny)
    scale_R = np.sqrt(np.maximum(strengths_N[order], least))
    axes_RK: Doubles = (vectors_NN[:, order] / scale_R).T @ rows_NK
    return np.maximum(strengths_N[order], 0), axes_RK
