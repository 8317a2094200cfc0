"""Pooled features of corpus frames in several views, by an exported network, kept on disk.

The read-out of a trained network is fitted on these. The first view is what the service gives the
encoder of an upload; the others show what must not move the embedding: the frame as it was
published, its mirror image, crops, other brightness, other margins, and the augmentations of
distillation. An interrupted run goes on where it was.

Shape suffixes: N frames, B batch, S encoder side, K pooled features, h w used region.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
CROP = 0.85  # of both sides
GAMMAS = (0.8, 1.25)
_NAME = re.compile(r"(whole_)?(served|whole|margins|augmented|flipped|cropped|gamma)(\d*)")
_NUMBERS = {"cropped": (1, 3), "gamma": (1, len(GAMMAS)), "margins": (0, 10**6)}
_NUMBERS["augmented"] = _NUMBERS["margins"]
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
        views: see ``view_frames``.
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


@dataclass(frozen=True, slots=True)
class _View:
    """A parsed name of ``view_frames``."""

    whole: bool
    kind: str
    number: int


def view_frames(paths: Sequence[Path], start: int, view: str, spec: PreprocessSpec) -> list[Pixels]:
    """One view of each frame, uint8 (S, S).

    Args:
        start: number of the first frame in its corpus; with n it decides the draws.
        view: ``served``; ``whole``, the frame as it was published; ``flipped``, left for right;
            ``cropped<n>``, 0.85 of both sides at the top left, in the middle or at the bottom
            right, n in 1..3; ``gamma<n>``, lighter or darker, n in 1..2; ``margins<n>``, black
            around it instead of the border; ``augmented<n>``. All but the first two are views of
            what is served, or of the frame as it was published with ``whole_`` before them.

    Raises:
        InputError: an unknown view, or a frame that does not decode.
    """
    parsed = _parsed(view)
    used = [used_pixels(path, "whole" if parsed.whole else "served")[0] for path in paths]
    if parsed.kind == "margins":
        rng = np.random.default_rng((start, parsed.number))
        bare = replace(spec, border=0.0)
        return [fit(_with_margins(used_hw, rng), bare) for used_hw in used]
    if parsed.kind == "augmented":
        config = DistillConfig(spec=spec)
        parts = range(0, len(used), _BATCH)
        drawn = [make_views(used[i : i + _BATCH], start + i, parsed.number, config) for i in parts]
        return [view_SS for views_BSS in drawn for view_SS in views_BSS]
    return [fit(_changed(used_hw, parsed), spec) for used_hw in used]


def _parsed(view: str) -> _View:
    match = _NAME.fullmatch(view)
    kind, number = (match[2], int(match[3] or 0)) if match else ("", 0)
    low, high = _NUMBERS.get(kind, (0, 0))
    if match is None or not low <= number <= high or (match[1] and kind in ("served", "whole")):
        raise InputError(f"expected a view such as served, whole_flipped or cropped2, got {view!r}")
    return _View(bool(match[1]) or kind == "whole", kind, number)


def _changed(used_hw: Pixels, view: _View) -> Pixels:
    if view.kind == "flipped":
        return np.ascontiguousarray(used_hw[:, ::-1])
    if view.kind == "cropped":
        height, width = (max(1, round(CROP * side)) for side in used_hw.shape)
        place = (view.number - 1) / 2
        top = round(place * (used_hw.shape[0] - height))
        left = round(place * (used_hw.shape[1] - width))
        return np.ascontiguousarray(used_hw[top : top + height, left : left + width])
    if view.kind == "gamma":
        curve = 255 * (np.arange(256) / 255) ** GAMMAS[view.number - 1]
        changed_hw: Pixels = curve.round().astype(np.uint8)[used_hw]
        return changed_hw
    return used_hw


def _with_margins(used_hw: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = used_hw.shape
    top, bottom, left, right = rng.uniform(0, MAX_MARGIN, 4)
    across = (round(left * width), round(right * width))
    return np.pad(used_hw, ((round(top * height), round(bottom * height)), across))
