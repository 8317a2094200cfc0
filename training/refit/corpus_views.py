"""Pooled features of corpus frames in several views, by an exported network, kept on disk.

The read-out of a trained network is fitted on these. The first view is what the service gives the
encoder of an upload; the others show what must not move the embedding: the frame as it was
published, other margins, and the augmentations of distillation. An interrupted run goes on where
it was.

Shape suffixes: N frames, B batch, S encoder side, K pooled features, h w used region.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from service.arrays import Floats, Pixels
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, fit, normalise
from training.catalogue.manifest import ManifestRow
from training.distil.config import DistillConfig
from training.distil.targets import make_views
from training.evaluation.served import used_pixels

MAX_MARGIN = 0.3  # black on a side of a frame in the view of other margins, share of the side
PART = 256  # frames in a file of the cache
_BATCH = 8
Pool: TypeAlias = Callable[[Floats], Floats]


def read_views(
    rows: Sequence[ManifestRow],
    views: Sequence[str],
    pool: Pool,
    spec: PreprocessSpec,
    folder: Path,
) -> list[Floats]:
    """Pooled features (N, K) of each view of the largest region of each frame.

    Args:
        views: ``served``, ``whole``, ``margins<n>`` or ``augmented<n>``; n numbers the draws.
        folder: holds finished parts; of another network or input it must be another folder.

    Raises:
        InputError: an unknown view, or a frame that does not decode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        np.concatenate(
            [
                _part(rows[start : start + PART], start, view, pool, spec, folder)
                for start in range(0, len(rows), PART)
            ]
        )
        for view in views
    ]


def _part(
    rows: Sequence[ManifestRow],
    start: int,
    view: str,
    pool: Pool,
    spec: PreprocessSpec,
    folder: Path,
) -> Floats:
    path = folder / f"{view}_{start:06d}.npy"
    if not path.exists():
        frames = view_frames([row.path for row in rows], start, view, spec)
        pooled_NK = np.concatenate(
            [
                pool(normalise(np.stack(frames[i : i + _BATCH]), spec))
                for i in range(0, len(frames), _BATCH)
            ]
        )
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, pooled_NK.astype(np.float16))
        unfinished.replace(path)
    stored_NK = np.load(path)
    if len(stored_NK) != len(rows):
        raise InputError(f"{path.name} is of another corpus; use another folder")
    pooled: Floats = stored_NK.astype(np.float32)
    return pooled


def view_frames(paths: Sequence[Path], start: int, view: str, spec: PreprocessSpec) -> list[Pixels]:
    """One view of each frame, uint8 (S, S); ``start`` is the number of the first in its corpus.

    Raises:
        InputError: an unknown view, or a frame that does not decode.
    """
    kind, number = view.rstrip("0123456789"), int(view.lstrip("abcdefghijklmnopqrstuvwxyz") or 0)
    if kind not in ("served", "whole", "margins", "augmented"):
        raise InputError(f"expected served, whole, margins<n> or augmented<n>, got {view!r}")
    used = [used_pixels(path, "whole" if kind == "whole" else "served")[0] for path in paths]
    if kind == "margins":
        rng = np.random.default_rng((start, number))
        bare = replace(spec, border=0.0)
        return [fit(_with_margins(used_hw, rng), bare) for used_hw in used]
    if kind == "augmented":
        config = DistillConfig(spec=spec)
        parts = range(0, len(used), _BATCH)
        drawn = [make_views(used[i : i + _BATCH], start + i, number, config) for i in parts]
        return [view_SS for views_BSS in drawn for view_SS in views_BSS]
    return [fit(used_hw, spec) for used_hw in used]


def _with_margins(used_hw: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = used_hw.shape
    top, bottom, left, right = rng.uniform(0, MAX_MARGIN, 4)
    across = (round(left * width), round(right * width))
    return np.pad(used_hw, ((round(top * height), round(bottom * height)), across))
