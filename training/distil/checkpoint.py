"""The state of a run on disk, written atomically and read without pickle."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from service.errors import InputError
from training.distil.config import DistillConfig
from training.distil.distillation_model import DistillationModel
from training.networks.saved_files import read_saved

log = logging.getLogger(__name__)
CHECKPOINT_NAME = "checkpoint.pt"
_FREE = ("checkpoint_every", "log_every", "workers", "bf16")  # may change at a break


@dataclass(slots=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        step: number of steps done; sampler and generators follow from it.
        losses: of each step done, means over all processes.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)


def save(
    run: Path,
    model: DistillationModel,
    memory_banks: nn.ModuleList,
    optimizer: torch.optim.Optimizer,
    progress: TrainingProgress,
    config: DistillConfig,
) -> None:
    """Write the checkpoint; an interruption leaves the previous one."""
    state = {
        "trunk": model.student.state_dict(),
        "heads": model.heads.state_dict(),
        "contrastive_head": model.contrastive_head.state_dict(),
        "memory_banks": memory_banks.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": progress.step,
        "losses": progress.losses,
        "config": json.dumps(config.to_json()),
    }
    run.mkdir(parents=True, exist_ok=True)
    partial = run / f"{CHECKPOINT_NAME}.partial"
    torch.save(state, partial)
    partial.replace(run / CHECKPOINT_NAME)
    log.info("saved", extra={"step": progress.step, "loss": round(progress.losses[-1], 5)})


def resume(
    run: Path,
    model: DistillationModel,
    memory_banks: nn.ModuleList,
    optimizer: torch.optim.Optimizer,
    config: DistillConfig,
) -> TrainingProgress | None:
    """Load the checkpoint of ``run`` into the parts; None when there is none.

    Raises:
        InputError: it was made by another configuration, or is damaged.
    """
    path = run / CHECKPOINT_NAME
    if not path.exists():
        return None
    state = read_saved(path)
    if "config" not in state:
        raise InputError(f"{path.name} is no checkpoint of a run")
    _check_same(json.loads(state["config"]), config.to_json())
    model.student.load_state_dict(state["trunk"])
    model.heads.load_state_dict(state["heads"])
    model.contrastive_head.load_state_dict(state["contrastive_head"])
    memory_banks.load_state_dict(state["memory_banks"])
    optimizer.load_state_dict(state["optimizer"])
    return TrainingProgress(state["step"], state["losses"])


def read_student(path: Path) -> dict[str, torch.Tensor]:
    """Weights of the student of a checkpoint.

    Raises:
        InputError: missing or damaged.
    """
    weights: dict[str, torch.Tensor] = read_saved(path).get("trunk", {})
    if not weights:
        raise InputError(f"{path.name} holds no student")
    return weights


def read_settings(path: Path) -> dict[str, Any] | None:
    """Settings of the run of a checkpoint, as ``DistillConfig.to_json`` gave them, if it has any.

    Raises:
        InputError: missing or damaged.
    """
    stored = read_saved(path).get("config")
    settings: dict[str, Any] | None = None if stored is None else json.loads(stored)
    return settings


def _check_same(stored: dict[str, Any], current: dict[str, Any]) -> None:
    differing = sorted(
        name for name in {*stored, *current} - set(_FREE) if stored.get(name) != current.get(name)
    )
    if differing:
        raise InputError(
            f"the checkpoint was made with other {', '.join(differing)}; use another run folder"
        )
