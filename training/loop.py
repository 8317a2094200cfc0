"""The distillation loop: stage 4 of the student learns the teacher's and the trunk's features.

Shape suffixes: M samples, B batch, C channels, h w maps, D widths.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.config import DistillConfig
from training.losses import distillation
from training.readout import STAGE4_WIDTH
from training.student import Trunk
from training.targets import Targets

log = logging.getLogger(__name__)


class Standard(nn.Module):
    """Standardises targets per dimension, so that no large feature rules the loss."""

    mean: Tensor
    std: Tensor

    def __init__(self, targets_MD: npt.NDArray[np.float16]) -> None:
        super().__init__()
        wide = targets_MD.astype(np.float32)
        self.register_buffer("mean", torch.from_numpy(wide.mean(0)))
        self.register_buffer("std", torch.from_numpy(wide.std(0) + 1e-4))

    def forward(self, targets_BD: Tensor) -> Tensor:
        """Return (targets - mean) / std, same shape."""
        standardised: Tensor = (targets_BD - self.mean) / self.std
        return standardised


@dataclass
class Heads:
    """Linear maps from pooled stage 4 to each target; thrown away after training."""

    teacher: nn.Linear
    imagenet: nn.Linear

    def parameters(self) -> list[nn.Parameter]:
        """All parameters of both heads."""
        return [*self.teacher.parameters(), *self.imagenet.parameters()]


def distil(trunk: Trunk, targets: Targets, config: DistillConfig, run: Path) -> list[float]:
    """Train stage 4 in place; return the mean loss of each epoch. Resumes from ``run``."""
    torch.manual_seed(config.seed)
    heads = Heads(
        nn.Linear(STAGE4_WIDTH, targets.teacher_MD.shape[1]),
        nn.Linear(STAGE4_WIDTH, targets.imagenet_MD.shape[1]),
    )
    standards = Standard(targets.teacher_MD), Standard(targets.imagenet_MD)
    trained = _trainable(trunk)
    optimizer = torch.optim.AdamW(
        [*trained, *heads.parameters()], lr=config.learning_rate, weight_decay=config.weight_decay
    )
    checkpoint = run / "checkpoint.pt"
    losses = _resume(checkpoint, trunk, heads, optimizer)
    for epoch in range(len(losses), config.epochs):
        losses.append(_one_epoch(trunk, heads, standards, targets, optimizer, config, epoch))
        _save(checkpoint, trunk, heads, optimizer, losses)
        log.info("epoch", extra={"epoch": epoch + 1, "loss": round(losses[-1], 5)})
    return losses


def _trainable(trunk: Trunk) -> list[nn.Parameter]:
    """Freeze all but stage 4 and the last norm; the pretrained first norm stays frozen too."""
    trunk.requires_grad_(False)
    trunk.stage4.requires_grad_(True)
    trunk.norm.requires_grad_(True)
    trunk.stage3_norm.requires_grad_(False)
    return [parameter for parameter in trunk.parameters() if parameter.requires_grad]


def _train_mode(trunk: Trunk) -> None:
    trunk.eval()
    trunk.stage4.train()
    trunk.norm.train()
    trunk.stage3_norm.eval()


def _one_epoch(
    trunk: Trunk,
    heads: Heads,
    standards: tuple[Standard, Standard],
    targets: Targets,
    optimizer: torch.optim.Optimizer,
    config: DistillConfig,
    epoch: int,
) -> float:
    _train_mode(trunk)
    samples = len(targets.teacher_MD)
    order = np.random.default_rng((config.seed, epoch)).permutation(samples)
    steps = samples // config.batch
    total = 0.0
    for step in range(steps):
        rate = learning_rate(epoch * steps + step, config.epochs * steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = np.sort(order[step * config.batch : (step + 1) * config.batch])
        loss = step_loss(trunk, heads, standards, targets, chosen, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*_trainable(trunk), *heads.parameters()], config.clip_norm)
        optimizer.step()
        total += loss.item()
        if step % 50 == 0:
            log.info("step", extra={"epoch": epoch, "step": step, "loss": round(loss.item(), 4)})
    return total / max(1, steps)


def step_loss(
    trunk: Trunk,
    heads: Heads,
    standards: tuple[Standard, Standard],
    targets: Targets,
    chosen_B: npt.NDArray[np.int64],
    config: DistillConfig,
) -> Tensor:
    """Loss of the samples ``chosen_B``; scalar."""
    stream = torch.from_numpy(targets.streams_MChw[chosen_B]).float()
    stream = stream.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        _, stage4 = trunk.suffix(stream)
        pooled_BD = stage4.float().mean((2, 3))
    teacher = standards[0](torch.from_numpy(targets.teacher_MD[chosen_B]).float())
    imagenet = standards[1](torch.from_numpy(targets.imagenet_MD[chosen_B]).float())
    teacher_loss = distillation(heads.teacher(pooled_BD), teacher)
    imagenet_loss = distillation(heads.imagenet(pooled_BD), imagenet)
    return teacher_loss + config.imagenet_weight * imagenet_loss


def learning_rate(step: int, steps: int, config: DistillConfig) -> float:
    """Linear warm-up, then cosine to 0."""
    warmup = max(1, int(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _save(
    path: Path, trunk: Trunk, heads: Heads, optimizer: torch.optim.Optimizer, losses: list[float]
) -> None:
    state = {
        "trunk": trunk.state_dict(),
        "teacher_head": heads.teacher.state_dict(),
        "imagenet_head": heads.imagenet.state_dict(),
        "optimizer": optimizer.state_dict(),
        "losses": losses,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(
    path: Path, trunk: Trunk, heads: Heads, optimizer: torch.optim.Optimizer
) -> list[float]:
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    trunk.load_state_dict(state["trunk"])
    heads.teacher.load_state_dict(state["teacher_head"])
    heads.imagenet.load_state_dict(state["imagenet_head"])
    optimizer.load_state_dict(state["optimizer"])
    losses: list[float] = state["losses"]
    return losses
