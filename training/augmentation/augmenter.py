"""Augment a batch: find the beams, warp once, then change echoes, grey levels and overlays.

Order follows the signal: reverberation (while the beams are those that were found), probe and
view, what the beam meets, texture, receiver, generic change of grey, graphics.

Shape suffixes: B rows of the batch, H height, W width, S output side.
"""

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from service.errors import InputError
from training.augmentation.config import AugmentationConfig
from training.augmentation.draws import Draws
from training.augmentation.geometry import (
    Beams,
    Geometry,
    ScanMaps,
    check_frames,
    find_beams,
    pixel_centres,
)
from training.augmentation.warp import Points, sample

REDUCE_ABOVE = 1.5  # larger frames are first reduced to this many sides, against aliasing
CHUNK_CPU = 8  # rows worked on at once on a CPU, so that the planes stay in its cache


# The effects that follow the warp, in the order in which the signal passes them.
AFTER_WARP = (
    *("enhancement", "shadow", "attenuation", "speckle", "resolution", "haze"),
    *("gain_curve", "gain", "dynamic_range", "compression", "photometric", "quantisation"),
    *("calipers", "text", "ticks"),
)


class Augmenter:
    """Draws one augmented view of each frame.

    One generator serves the batch: the view of a row depends on the generator's state, on the
    row's place in the batch and on the batch's size, but never on the other rows' pixels. The
    same state and batch give the same views for ever on one kind of device.
    """

    def __init__(self, config: AugmentationConfig, side_px: int) -> None:
        if not 16 <= side_px <= 2048:
            raise InputError(f"expected side_px in 16..2048, got {side_px}")
        self.config = config
        self.side_px = side_px
        self._warps = any(
            effect.chance > 0
            for effect in (config.crop, config.flip, config.tilt, config.zoom, config.remap)
        )
        effects: list[Any] = [getattr(config, name) for name in AFTER_WARP]
        self._effects = [effect for effect in effects if effect.chance > 0]

    def __call__(self, frames_B1HW: Tensor, generator: torch.Generator) -> Tensor:
        """Return float32 (B, 1, S, S) in [0, 1] on the frames' device, without gradient.

        Args:
            frames_B1HW: float32 in [0, 1], 0 = black, transducer at the top.
            generator: source of every draw; it may live on another device than the frames.

        Raises:
            InputError: not float32 (B, 1, H, W) in [0, 1], or sides under 16 px.
        """
        check_frames(frames_B1HW)
        _check_range(frames_B1HW)
        rows = CHUNK_CPU if frames_B1HW.device.type == "cpu" else len(frames_B1HW)
        with torch.no_grad():
            parts = [self._views(part, generator) for part in torch.split(frames_B1HW, rows)]
        return torch.cat(parts)

    def _views(self, frames_B1HW: Tensor, generator: torch.Generator) -> Tensor:
        frames_B1HW = _reduced(frames_B1HW, round(REDUCE_ABOVE * self.side_px))
        draws = Draws(generator, frames_B1HW.device, len(frames_B1HW))
        mask_B1HW, beams = find_beams(frames_B1HW)
        frames_B1HW = self._reverberated(frames_B1HW, mask_B1HW, beams, draws)
        frames_B1SS, scan = self._warped(frames_B1HW, mask_B1HW, beams, draws)
        for effect in self._effects:
            rows = draws.chosen(effect.chance)
            if rows.numel():
                some = draws.narrowed(rows.numel())
                frames_B1SS[rows] = effect(frames_B1SS[rows], scan.rows(rows), some)
        return frames_B1SS

    def _reverberated(
        self, frames_B1HW: Tensor, mask_B1HW: Tensor, beams: Beams, draws: Draws
    ) -> Tensor:
        rows = draws.chosen(self.config.reverberation.chance)
        if rows.numel() == 0:
            return frames_B1HW
        chosen = beams.rows(rows)
        depth, beam = chosen.maps(*pixel_centres(frames_B1HW))
        geometry = Geometry(ScanMaps(mask_B1HW[rows], depth, beam), chosen)
        changed = frames_B1HW.clone()
        some = draws.narrowed(rows.numel())
        changed[rows] = self.config.reverberation(frames_B1HW[rows], geometry, some)
        return changed

    def _warped(
        self, frames_B1HW: Tensor, mask_B1HW: Tensor, beams: Beams, draws: Draws
    ) -> tuple[Tensor, ScanMaps]:
        """Frames (never the caller's own memory) and scan at the output side."""
        like = frames_B1HW.new_empty((len(frames_B1HW), 1, self.side_px, self.side_px))
        if self._warps:
            return sample(frames_B1HW, mask_B1HW, beams, self._points(like, beams, draws))
        depth, beam = beams.maps(*pixel_centres(like))
        if frames_B1HW.shape[2:] == like.shape[2:]:
            return frames_B1HW.clone(), ScanMaps(mask_B1HW, depth, beam)
        mask = functional.interpolate(mask_B1HW.float(), like.shape[2:], mode="nearest") > 0
        return _resized(frames_B1HW, self.side_px, self.side_px), ScanMaps(mask, depth, beam)

    def _points(self, like_B1SS: Tensor, beams: Beams, draws: Draws) -> Points:
        """Where each output pixel lies in the input: from the display back to the beams."""
        config = self.config
        row, column = pixel_centres(like_B1SS)
        points = config.flip(config.crop((row, column), draws), draws)
        points = config.zoom(config.tilt(points, beams, draws), beams, draws)
        row, column = points
        return config.remap((row.expand_as(like_B1SS), column.expand_as(like_B1SS)), beams, draws)


def _check_range(frames_B1HW: Tensor) -> None:
    low, high = (float(value) for value in frames_B1HW.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise InputError(f"expected grey in [0, 1], got {low:.4g} to {high:.4g}")


def _reduced(frames_B1HW: Tensor, longest_px: int) -> Tensor:
    height, width = frames_B1HW.shape[2:]
    if max(height, width) <= longest_px:
        return frames_B1HW
    return _resized(frames_B1HW, min(height, longest_px), min(width, longest_px))


def _resized(frames_B1HW: Tensor, height: int, width: int) -> Tensor:
    resized = functional.interpolate(
        frames_B1HW, (height, width), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(0, 1)
