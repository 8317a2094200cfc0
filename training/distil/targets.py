"""The cache of a run: views, teacher targets, and maps of the frozen stages.

A cached run freezes the student up to stage 3, so its output per view is stored and a training
step costs only stage 4. Files are written view by view; an interrupted run goes on where it was.

Shape suffixes: N frames, V views, M = N x V samples, S side, C channels, h w maps, D widths,
E width of a dense target.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.errors import InputError
from service.imaging.analysis.preprocess import fit, normalise, resize
from training.augmentation.augmenter import Augmenter
from training.catalogue.contents import claim_folder, content_of_frames, write_whole
from training.distil.config import DistillConfig
from training.distil.distillation_model import TargetShape
from training.distil.ranks import supports_bf16
from training.networks.backbones import AnyBackbone
from training.networks.teacher import Teacher, TeacherOutput, read_stream

log = logging.getLogger(__name__)
Halves = npt.NDArray[np.float16]
_BATCH = 32
_FACTS = ("seed", "views", "student", "teachers", "spec", "augment", "load_px")


@dataclass(frozen=True)
class Targets:
    """Disk-backed arrays, sample m = view x N + frame.

    Attributes:
        streams_MChw: float16, what the student's frozen part gives.
        pooled: float16 (M, D) of each teacher.
        dense: float16 (M, E, h, w) of each teacher; empty when no loss asks for them.
    """

    streams_MChw: Halves
    pooled: Sequence[Halves]
    dense: Sequence[Halves] = ()
    grids: Sequence[tuple[int, int, int]] = field(default=())

    @property
    def shapes(self) -> list[TargetShape]:
        """Of each teacher's targets."""
        grids = self.grids or [(1, 1, 1)] * len(self.pooled)
        return [
            (pooled_MD.shape[1], grid) for pooled_MD, grid in zip(self.pooled, grids, strict=True)
        ]


def make_views(
    frames: Sequence[npt.NDArray[np.uint8]], start: int, number: int, config: DistillConfig
) -> npt.NDArray[np.uint8]:
    """View ``number`` of some frames, uint8 (B, S, S); view 0 is the frame itself.

    Args:
        start: number of the first of them in the corpus; with ``number`` and the run's seed it
            decides the draws.
    """
    if number == 0:
        return np.stack([fit(frame_HW, config.spec) for frame_HW in frames])
    loaded_BHW = np.stack([resize(frame_HW, config.load_px) for frame_HW in frames])
    seed = np.random.SeedSequence((config.seed, number, start)).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(seed))
    border_px = config.spec.border_px
    augment = Augmenter(config.augment, config.spec.side_px - 2 * border_px)
    view_B1SS = augment(torch.from_numpy(loaded_BHW[:, None]).float() / 255, generator)
    views_BSS: npt.NDArray[np.uint8] = (view_B1SS[:, 0] * 255).round().byte().numpy()
    return np.pad(views_BSS, ((0, 0), (border_px,) * 2, (border_px,) * 2))


def cache_targets(
    frames: Sequence[npt.NDArray[np.uint8]],
    student: AnyBackbone,
    teachers: Sequence[Teacher],
    config: DistillConfig,
    folder: Path,
) -> Targets:
    """Compute (or finish computing) the targets of every view in ``folder``.

    Raises:
        InputError: the folder holds targets of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder / "cache.json", frames, config)
    targets = _arrays(folder, student, teachers, config, len(frames) * config.views)
    progress = folder / "views_done.json"
    done = json.loads(progress.read_text()) if progress.exists() else 0
    student.eval()
    for number in range(done, config.views):
        _cache_one_view(frames, number, student, teachers, config, targets)
        write_whole(progress, json.dumps(number + 1))
        log.info("cached a view", extra={"view": number + 1, "views": config.views})
    return targets


def _claim(note: Path, frames: Sequence[npt.NDArray[np.uint8]], config: DistillConfig) -> None:
    fields = config.to_json()
    facts: dict[str, Any] = {
        "frames": len(frames),
        "content": content_of_frames(frames),
        "dense": config.losses.relational > 0,  # without it, no dense target is stored
    }
    claim_folder(note, "cache", facts | {name: fields[name] for name in _FACTS})


def _arrays(
    folder: Path,
    student: AnyBackbone,
    teachers: Sequence[Teacher],
    config: DistillConfig,
    samples: int,
) -> Targets:
    side = config.spec.side_px
    with torch.inference_mode():
        stream = student.eval().prefix(torch.zeros(1, 3, side, side))
    shapes = [teacher.shapes() for teacher in teachers]
    streams = _array(folder / "streams.npy", (samples, *stream.shape[1:]))
    grids = [grid for _, grid in shapes]
    pooled = [_array(folder / f"pooled{i}.npy", (samples, w)) for i, (w, _) in enumerate(shapes)]
    dense = []
    if config.losses.relational > 0:
        dense = [_array(folder / f"dense{i}.npy", (samples, *g)) for i, g in enumerate(grids)]
    return Targets(streams, pooled, dense, grids)


def _array(path: Path, shape: tuple[int, ...]) -> Halves:
    mode = "r+" if path.exists() else "w+"
    array: Halves = np.lib.format.open_memmap(
        path, mode=mode, dtype=np.float16, shape=None if mode == "r+" else shape
    )
    if array.shape != shape:
        raise InputError(f"expected cached targets of shape {shape}, got {array.shape}")
    return array


@torch.inference_mode()
def _cache_one_view(
    frames: Sequence[npt.NDArray[np.uint8]],
    number: int,
    student: AnyBackbone,
    teachers: Sequence[Teacher],
    config: DistillConfig,
    targets: Targets,
) -> None:
    cpu = torch.device("cpu")
    bf16 = supports_bf16(cpu) if config.bf16 is None else config.bf16
    for start in range(0, len(frames), _BATCH):
        views_BSS = make_views(frames[start : start + _BATCH], start, number, config)
        inputs = torch.from_numpy(normalise(views_BSS, config.spec))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        rows = slice(number * len(frames) + start, number * len(frames) + start + len(views_BSS))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            stream = student.prefix(inputs)
            view_B1SS = torch.from_numpy(views_BSS[:, None]).float() / 255
            teacher_outputs = [_observe(teacher, view_B1SS, stream) for teacher in teachers]
        targets.streams_MChw[rows] = stream.float().numpy()
        for index, output in enumerate(teacher_outputs):
            targets.pooled[index][rows] = output.pooled_BD.numpy()
            if targets.dense:
                targets.dense[index][rows] = output.dense_BEhw.numpy()


def _observe(teacher: Teacher, view_B1SS: Tensor, stream: Tensor) -> TeacherOutput:
    """A copy of the frozen student need not run: its stream is there."""
    if teacher.is_copy:
        return read_stream(teacher.network, stream)
    return teacher.observe(view_B1SS)
