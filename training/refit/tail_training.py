"""Self-distillation: the end of an encoder learns to give one view of a frame what many give.

The mean embedding of several views of a frame tells classes apart better than that of one view.
Here a view alone is taught towards the mean of its frame. The teacher is the encoder before
training; nothing but its last blocks and its read-out learns.

Shape suffixes: N frames, B batch, D embedding width, C channels, h w map sides.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from service.arrays import Doubles, Floats, Ints, unit_rows
from service.errors import InputError
from service.imaging.analysis.preprocess import PreprocessSpec, normalise
from training.catalogue.manifest import ManifestRow
from training.distil.losses import cosine_distillation
from training.networks.readout import Readout
from training.networks.saved_files import read_saved
from training.refit.corpus_views import PART, view_frames
from training.refit.trunk_tail import Beginning, TrunkTail

log = logging.getLogger(__name__)
CHECKPOINT_NAME = "tail.pt"
SEVEN_VIEWS = (
    *("served", "flipped", "gamma1", "gamma2"),
    *("cropped1", "cropped2", "cropped3"),
)
_BATCH = 8
_CLIP_NORM = 1.0
_WARMUP = 0.1  # of all steps


@dataclass(frozen=True, slots=True)
class SelfDistilConfig:
    """Settings of a run.

    Attributes:
        side_px: S.
        border: see ``PreprocessSpec``.
        blocks: last blocks of stage 3 that learn.
        views: what the student sees, one of them at random; see ``view_frames``.
        target_views: their mean embedding is the target of every view of a frame.
        learning_rate: peak, after a tenth of all steps, then cosine to 0.
        readout_rate: learning rate of the read-out, in units of the blocks'.
        relational: weight of the squared error of the cosines between frames of a batch, which
            keeps frames apart.
    """

    side_px: int = 160
    border: float = 0.1
    blocks: int = 2
    views: tuple[str, ...] = ("served", "flipped")
    target_views: tuple[str, ...] = SEVEN_VIEWS
    epochs: int = 2
    batch: int = 48
    learning_rate: float = 3e-4
    readout_rate: float = 0.1
    relational: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.views or not self.target_views:
            raise InputError("expected views and target views")
        if self.batch < 2 or self.epochs < 1:
            raise InputError("expected a batch of at least 2 and at least 1 epoch")


@dataclass(frozen=True, slots=True)
class ViewStreams:
    """What the beginning gives of every frame in every view.

    Attributes:
        streams: view -> float16 (n, C, h, w) of each part of ``PART`` frames, on disk.
        embeddings_ND: view -> unit-length embeddings before training, float32.
    """

    streams: Mapping[str, Sequence[Floats]]
    embeddings_ND: Mapping[str, Floats]

    def batch(self, views: Sequence[str], frames_B: Ints) -> Tensor:
        """The stream (B, C, h, w), float32, of one view of each of these frames."""
        rows = [
            self.streams[view][frame // PART][frame % PART]
            for view, frame in zip(views, frames_B.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(rows).astype(np.float32))


def cache_streams(
    rows: Sequence[ManifestRow],
    views: Sequence[str],
    begin: Beginning,
    readout: Readout,
    spec: PreprocessSpec,
    folder: Path,
) -> ViewStreams:
    """Pass every view through the beginning, or read what an earlier call left in ``folder``.

    Raises:
        InputError: an unknown view, or a frame that does not decode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(rows), PART)
    paths = [row.path for row in rows]
    streams: dict[str, list[Floats]] = {}
    embeddings: dict[str, Floats] = {}
    for view in dict.fromkeys(views):
        parts = [
            _part(paths[start : start + PART], start, view, begin, spec, folder) for start in starts
        ]
        streams[view] = [stream for stream, _ in parts]
        pooled_NK = np.concatenate([pooled for _, pooled in parts])
        embeddings[view] = readout.embed(pooled_NK.astype(np.float32))
        log.info("cached a view", extra={"view": view, "frames": len(rows)})
    return ViewStreams(streams, embeddings)


def _part(
    paths: Sequence[Path],
    start: int,
    view: str,
    begin: Beginning,
    spec: PreprocessSpec,
    folder: Path,
) -> tuple[Floats, Floats]:
    """The stream, left on disk, and the pooled features of a part; float16."""
    streams, pooled = (folder / f"{view}_{start:06d}_{kind}.npy" for kind in ("stream", "pooled"))
    if not streams.exists():
        frames = view_frames(paths, start, view, spec)
        given = [
            begin(normalise(np.stack(frames[i : i + _BATCH]), spec))
            for i in range(0, len(frames), _BATCH)
        ]
        np.save(pooled, np.concatenate([rows for _, rows in given]).astype(np.float16))
        unfinished = streams.with_suffix(".part.npy")
        np.save(unfinished, np.concatenate([maps for maps, _ in given]).astype(np.float16))
        unfinished.replace(streams)  # last, so that a part is whole where its stream exists
    return np.load(streams, mmap_mode="r"), np.load(pooled)


def mean_targets(data: ViewStreams, views: Sequence[str]) -> tuple[Floats, Floats]:
    """The target of each frame (N, D), of unit length around the centre of all frames, (D,)."""
    mean_ND: Doubles = np.mean([data.embeddings_ND[view] for view in views], axis=0, dtype=float)
    centre_D = mean_ND.mean(0)
    return unit_rows((mean_ND - centre_D).astype(np.float32)), centre_D.astype(np.float32)


def self_distillation(
    rows_BD: Tensor, targets_BD: Tensor, centre_D: Tensor, relational: float
) -> Tensor:
    """1 - cosine to the targets, and the error of the cosines between frames; scalar, at least 0.

    Args:
        rows_BD: embeddings before their unit length.
        targets_BD: of unit length around ``centre_D``.
    """
    around_BD = functional.normalize(functional.normalize(rows_BD, dim=1) - centre_D, dim=1)
    alike = cosine_distillation(around_BD, targets_BD)
    others_BB = ~torch.eye(len(around_BD), dtype=torch.bool)
    error_BB = around_BD @ around_BD.T - targets_BD @ targets_BD.T
    return alike + relational * error_BB[others_BB].square().mean()


def train_tail(
    tail: TrunkTail, data: ViewStreams, config: SelfDistilConfig, run: Path
) -> list[float]:
    """Train in place and return the loss of every step; an interrupted run goes on by epochs.

    Raises:
        InputError: ``run`` holds a checkpoint of another configuration.
    """
    targets_ND, centre_D = (torch.from_numpy(a) for a in mean_targets(data, config.target_views))
    optimizer = _optimizer(tail, config)
    steps = max(1, len(targets_ND) // config.batch)
    epoch, losses = _resume(run, tail, optimizer, config)
    while epoch < config.epochs:
        rng = np.random.default_rng((config.seed, epoch))
        order_N = rng.permutation(len(targets_ND))
        for step in range(steps):
            frames_B = order_N[step * config.batch : (step + 1) * config.batch]
            views = [config.views[i] for i in rng.integers(len(config.views), size=len(frames_B))]
            _set_rates(optimizer, config, (epoch * steps + step) / (config.epochs * steps))
            rows_BD = tail(data.batch(views, frames_B))
            loss = self_distillation(rows_BD, targets_ND[frames_B], centre_D, config.relational)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(tail.parameters(), _CLIP_NORM)
            optimizer.step()
            losses.append(loss.item())
        epoch += 1
        _save(run, tail, optimizer, config, epoch, losses)
        log.info("epoch", extra={"epoch": epoch, "loss": round(float(np.mean(losses[-steps:])), 4)})
    return losses


def _optimizer(tail: TrunkTail, config: SelfDistilConfig) -> torch.optim.Optimizer:
    tail.requires_grad_(True).eval()
    readout = [tail.weights_DK, tail.bias_D]
    others = [p for name, p in tail.named_parameters() if name not in ("weights_DK", "bias_D")]
    groups: list[dict[str, Any]] = [
        {"params": others, "rate": 1.0},
        {"params": readout, "rate": config.readout_rate},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.0)


def _set_rates(optimizer: torch.optim.Optimizer, config: SelfDistilConfig, done: float) -> None:
    share = min(1.0, done / _WARMUP + 1e-2) * 0.5 * (1 + math.cos(math.pi * done))
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * share * group["rate"]


def _save(
    run: Path,
    tail: TrunkTail,
    optimizer: torch.optim.Optimizer,
    config: SelfDistilConfig,
    epoch: int,
    losses: list[float],
) -> None:
    state = {
        "tail": tail.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": epoch,
        "losses": losses,
        "config": json.dumps(asdict(config)),
    }
    partial = run / f"{CHECKPOINT_NAME}.partial"
    torch.save(state, partial)
    partial.replace(run / CHECKPOINT_NAME)


def _resume(
    run: Path, tail: TrunkTail, optimizer: torch.optim.Optimizer, config: SelfDistilConfig
) -> tuple[int, list[float]]:
    """Epochs done and losses so far."""
    path = run / CHECKPOINT_NAME
    if not path.exists():
        return 0, []
    state = read_saved(path)
    if state.get("config") != json.dumps(asdict(config)):
        raise InputError("the folder of the run holds another self-distillation; use another one")
    tail.load_state_dict(state["tail"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"]), list(state["losses"])
