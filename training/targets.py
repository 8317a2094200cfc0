"""Everything that is computed once: views, teacher targets, and the frozen trunk's maps.

The trunk is frozen up to stage 3 in this loop, so its output per view is stored and a training
step costs only stage 4. Files are written view by view; an interrupted run goes on where it was.

Shape suffixes: N frames, V views, M = N x V samples, S side, C channels, h w maps, D widths.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from service.imaging.preprocess import normalise, resize
from training.augment import view
from training.config import DistillConfig
from training.readout import STAGE3_WIDTH
from training.student import Trunk
from training.teacher import Teacher

log = logging.getLogger(__name__)
_BATCH = 32


@dataclass(frozen=True)
class Targets:
    """Disk-backed arrays, sample m = view x N + frame.

    Attributes:
        streams_MChw: float16, residual stream after stage 3, before any norm.
        imagenet_MD: float16, pooled activated stage 3 of the ImageNet trunk.
        teacher_MD: float16, the teacher's read-out.
    """

    streams_MChw: npt.NDArray[np.float16]
    imagenet_MD: npt.NDArray[np.float16]
    teacher_MD: npt.NDArray[np.float16]


def make_view(
    frame_HW: npt.NDArray[np.uint8], index: int, number: int, config: DistillConfig
) -> npt.NDArray[np.uint8]:
    """Return view ``number`` of frame ``index``, uint8 (S, S); view 0 is the frame itself."""
    if number == 0:
        return resize(frame_HW, config.spec.side_px)
    return view(
        frame_HW, config.spec.side_px, seed=(config.seed, index, number), config=config.augment
    )


def cache_targets(
    frames: list[npt.NDArray[np.uint8]],
    trunk: Trunk,
    teacher: Teacher,
    config: DistillConfig,
    folder: Path,
) -> Targets:
    """Compute (or finish computing) the targets of every view in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    side = config.spec.side_px // 16
    teacher_dim = 2 * int(teacher.network.num_features) * len(config.teacher_blocks)  # type: ignore[arg-type]
    samples = len(frames) * config.views
    targets = Targets(
        _array(folder / "streams.npy", (samples, STAGE3_WIDTH, side, side)),
        _array(folder / "imagenet.npy", (samples, STAGE3_WIDTH)),
        _array(folder / "teacher.npy", (samples, teacher_dim)),
    )
    progress = folder / "views_done.json"
    done = json.loads(progress.read_text()) if progress.exists() else 0
    for number in range(done, config.views):
        _cache_one_view(frames, number, trunk, teacher, config, targets)
        progress.write_text(json.dumps(number + 1))
        log.info("cached a view", extra={"view": number + 1, "views": config.views})
    return targets


def _array(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float16]:
    mode = "r+" if path.exists() else "w+"
    array: npt.NDArray[np.float16] = np.lib.format.open_memmap(
        path, mode=mode, dtype=np.float16, shape=None if mode == "r+" else shape
    )
    if array.shape != shape:
        raise ValueError(f"expected cached targets of shape {shape}, got {array.shape}")
    return array


@torch.inference_mode()
def _cache_one_view(
    frames: list[npt.NDArray[np.uint8]],
    number: int,
    trunk: Trunk,
    teacher: Teacher,
    config: DistillConfig,
    targets: Targets,
) -> None:
    trunk.eval()
    for start in range(0, len(frames), _BATCH):
        chosen = range(start, min(start + _BATCH, len(frames)))
        views_BSS = np.stack([make_view(frames[i], i, number, config) for i in chosen])
        inputs = torch.from_numpy(normalise(views_BSS, config.spec))
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        rows = slice(number * len(frames) + start, number * len(frames) + start + len(chosen))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
            stream = trunk.prefix(inputs)
            stage3 = trunk.stage3_norm(stream.float())
            target = teacher(inputs)
        targets.streams_MChw[rows] = stream.float().numpy()
        targets.imagenet_MD[rows] = stage3.float().mean((2, 3)).numpy()
        targets.teacher_MD[rows] = target.float().numpy()
