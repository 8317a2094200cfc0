"""Designs of the read-out: ways from the pooled features of a trained trunk to an embedding.

Unlike the read-out that ships, which steadies what is whitened already (``fit_readout``), a
whitened design counts the motion of a frame in the covariance that it whitens with.

Shape suffixes: V views, N frames, K pooled features, C features of a block, D embedding width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from service.arrays import Doubles, Floats, unit_rows
from service.errors import InputError
from training.networks.readout import ReadoutConfig, block_shares, block_slices, fit_readout

Motion: TypeAlias = Literal["views", "groups", "classes"]
SERVED_VIEWS = ("served", "augmented1", "flipped", "whole")
ALL_VIEWS = (*SERVED_VIEWS, "cropped1", "cropped2", "cropped3", "gamma1", "gamma2")
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class ReadoutDesign:
    """How pooled features become the embedding of one row of the report.

    Attributes:
        views: of each corpus frame; the embedding is centred on the first.
        readout: width, energies, exponent and ridge; its ``augmentation_invariance`` counts only
            where ``within`` is 0.
        within: weight of the motion beside the spread of the frames, in the covariance that each
            block is whitened with; 0 is the read-out that ships.
        motion: what must not move an embedding: the view of a frame; or beside it which frame of
            its group (patient, cine) it is; or which of the frames with its label in its set.
        power: exponent of the size of each pooled feature, whose sign stays.
    """

    name: str
    views: tuple[str, ...] = SERVED_VIEWS
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    within: float = 0.0
    motion: Motion = "views"
    power: float = 1.0


@dataclass(frozen=True, slots=True)
class CorpusKeys:
    """What is known of the corpus frames: group and label of each, empty without one."""

    groups: Sequence[str]
    labels: Sequence[str]


def readout_designs() -> tuple[ReadoutDesign, ...]:
    """All designs of the report, set before any of them was evaluated."""
    plain = ReadoutConfig()
    more_mean = replace(plain, energy=(*plain.energy[:-1], 2.5))
    half = replace(plain, whitening=0.5)
    designs = [
        ReadoutDesign("steadied"),
        ReadoutDesign("steadied, all views", ALL_VIEWS),
        ReadoutDesign("steadied, power 0.5", power=0.5),
    ]
    designs += [
        ReadoutDesign(f"whitened, within {within:g}", ALL_VIEWS, plain, within)
        for within in (1.0, 10.0, 100.0)
    ]
    wide = replace(plain, dim=2048)
    designs += [
        ReadoutDesign(f"whitened by 0.5, within {within:g}", ALL_VIEWS, half, within)
        for within in (10.0, 100.0)
    ]
    whitened = ReadoutDesign("", ALL_VIEWS, plain, 10.0)
    return (
        *designs,
        replace(whitened, name="whitened, power 0.5", power=0.5),
        replace(whitened, name="whitened, energy of the mean 2.5", readout=more_mean),
        replace(whitened, name="whitened, frames of a group", motion="groups"),
        replace(whitened, name="whitened, frames of a label", motion="classes"),
        replace(whitened, name="whitened, 2,048 axes", readout=wide),
        replace(
            whitened,
            name="whitened, 2,048 axes, power 0.5, energy of the mean 2.5",
            readout=replace(more_mean, dim=2048),
            power=0.5,
        ),
    )


def select_readout_designs(names: Sequence[str], dim: int = 0) -> list[ReadoutDesign]:
    """The designs of these names, or all; of width ``dim`` instead of their own unless it is 0.

    Raises:
        InputError: there is no such design.
    """
    known = readout_designs()
    missing = sorted(set(names) - {design.name for design in known})
    if missing:
        raise InputError(f"expected designs among {[d.name for d in known]}, got {missing}")
    chosen = [design for design in known if not names or design.name in names]
    if not dim:
        return chosen
    return [replace(design, readout=replace(design.readout, dim=dim)) for design in chosen]


def fit_design(
    design: ReadoutDesign, views_VNK: Sequence[Floats], keys: CorpusKeys
) -> Callable[[Floats], Floats]:
    """Fit on the views of corpus frames; return pooled (N, K) -> embeddings of unit length (N, D).

    Args:
        views_VNK: of each of ``design.views``, as the trunk pools them.

    Raises:
        InputError: a shape does not fit, or there are no more frames than axes.
    """
    raised = [signed_power(view_NK, design.power) for view_NK in views_VNK]
    if design.within == 0:
        readout = fit_readout(raised[0], design.readout, raised[1:])
        return lambda pooled_NK: readout.embed(signed_power(pooled_NK, design.power))
    weights_DK, mean_K = _whitened(design, raised, keys)

    def embed(pooled_NK: Floats) -> Floats:
        rows_ND = (signed_power(pooled_NK, design.power) - mean_K) @ weights_DK.T
        return unit_rows(rows_ND.astype(np.float32))

    return embed


def signed_power(pooled_NK: Floats, exponent: float) -> Floats:
    """|x|^exponent with the sign of x."""
    if exponent == 1:
        return pooled_NK
    raised_NK: Floats = np.sign(pooled_NK) * np.abs(pooled_NK) ** np.float32(exponent)
    return raised_NK


def _whitened(
    design: ReadoutDesign, views_VNK: Sequence[Floats], keys: CorpusKeys
) -> tuple[Floats, Floats]:
    """Weights (D, K) and the mean (K,) that is taken off before them."""
    frames, width = views_VNK[0].shape
    if len(views_VNK) < 2 or any(view_NK.shape != (frames, width) for view_NK in views_VNK):
        raise InputError("expected at least two views of the same shape")
    if design.readout.dim >= min(frames, width):
        raise InputError(f"expected more than {design.readout.dim} frames, got {frames}")
    frames_NK = _frame_means(views_VNK)
    centred_NK = frames_NK - frames_NK.mean(0)
    blocks = [
        (block, _block_map(design, share, [v[:, block] for v in views_VNK], keys))
        for block, share in zip(
            block_slices(width), block_shares(width, design.readout), strict=True
        )
        if share > 0
    ]
    parts = [centred_NK[:, block] @ map_CC for block, map_CC in blocks]
    axes_DK = _strongest(np.concatenate(parts, axis=1), design.readout.dim)
    weights_DK = np.zeros((design.readout.dim, width), np.float32)
    start = 0
    for block, map_CC in blocks:
        weights_DK[:, block] = axes_DK[:, start : start + len(map_CC)] @ map_CC
        start += len(map_CC)
    return weights_DK, views_VNK[0].mean(0, dtype=np.float64).astype(np.float32)


def _frame_means(views_VNK: Sequence[Floats]) -> Floats:
    """The mean of the views of each frame, (N, K)."""
    means_NK: Floats = np.asarray(np.mean(views_VNK, axis=0, dtype=np.float64), np.float32)
    return means_NK


def _block_map(
    design: ReadoutDesign, share: float, views_VNC: Sequence[Floats], keys: CorpusKeys
) -> Floats:
    """(between + within x motion + ridge)^-p, scaled to an energy of ``share``; (C, C)."""
    frames_NC = _frame_means(views_VNC)
    between_CC = _covariance(frames_NC - frames_NC.mean(0))
    motions = _motions(design, views_VNC, frames_NC, keys)
    within_CC = np.sum([_covariance(part_MC) for part_MC in motions], axis=0)
    variances_C, axes_CC = np.linalg.eigh(between_CC + design.within * within_CC)
    mean = max(float(variances_C.mean()), _TINY)
    variances_C = np.maximum(variances_C, 0) + design.readout.ridge * mean
    map_CC = (axes_CC * variances_C**-design.readout.whitening) @ axes_CC.T
    energy = float((map_CC @ between_CC * map_CC).sum())
    scaled_CC: Floats = (map_CC * np.sqrt(share / max(energy, _TINY))).astype(np.float32)
    return scaled_CC


def _motions(
    design: ReadoutDesign, views_VNC: Sequence[Floats], frames_NC: Floats, keys: CorpusKeys
) -> Iterator[Floats]:
    """Deviations (M, C) whose covariance about 0 is the motion; their sum is what must not move."""
    unbias = np.float32((len(views_VNC) / (len(views_VNC) - 1)) ** 0.5)
    yield np.concatenate([(view_NC - frames_NC) * unbias for view_NC in views_VNC])
    if design.motion == "groups":
        yield _about_means(frames_NC, keys.groups)
    if design.motion == "classes":
        yield _about_means(frames_NC, keys.labels)


def _about_means(frames_NC: Floats, keys: Sequence[str]) -> Floats:
    """Each frame minus the mean of its key; every key of two frames or more counts once."""
    names, numbers_N, counts = np.unique(np.array(keys), return_inverse=True, return_counts=True)
    shared = [n for n in range(len(names)) if names[n] and counts[n] > 1]
    parts = []
    for number in shared:
        of_key_MC = frames_NC[numbers_N == number]
        weight = (1 / (len(of_key_MC) - 1)) ** 0.5
        parts.append((of_key_MC - of_key_MC.mean(0)) * np.float32(weight))
    if not parts:
        raise InputError("expected frames that share a group or a label")
    deviations_MC = np.concatenate(parts)
    scaled_MC: Floats = deviations_MC * np.float32((len(deviations_MC) / len(shared)) ** 0.5)
    return scaled_MC


def _covariance(rows_MC: Floats) -> Doubles:
    """About 0."""
    product_CC: Doubles = (rows_MC.T @ rows_MC / len(rows_MC)).astype(np.float64)
    return product_CC


def _strongest(rows_NK: Floats, count: int) -> Floats:
    """Unit right axes of most energy (count, K), by the Gram matrix: fewer frames than features."""
    strengths_N, vectors_NN = np.linalg.eigh((rows_NK @ rows_NK.T).astype(np.float64))
    order = np.argsort(-strengths_N)[:count]
    scale_D = np.sqrt(np.maximum(strengths_N[order], _TINY * strengths_N.max()))
    axes_DK: Floats = ((vectors_NN[:, order] / scale_D).T @ rows_NK).astype(np.float32)
    return axes_DK
