"""The distillation loop: a student learns what its teachers say of the same view.

Shape suffixes: B batch, D target width, E width of a dense target, h w its grid, L its places.
"""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from service.errors import InputError
from training.distil.checkpoint import Progress, resume, save
from training.distil.config import DistillConfig, LossConfig
from training.distil.losses import (
    distillation,
    queue_distillation,
    relational_distillation,
    twin_contrast,
)
from training.distil.metrics import Metrics
from training.distil.pupil import Memory, Pupil, readout_features, standardised
from training.distil.ranks import Ranks, computes_in_bf16
from training.distil.sources import Batch, Source, total_steps
from training.networks.backbones import AnyBackbone, choose_trained, train_mode
from training.networks.teacher import Reading

ALONE = Ranks()


def distil(
    student: AnyBackbone,
    source: Source,
    config: DistillConfig,
    run: Path,
    *,
    ranks: Ranks = ALONE,
    tensorboard: bool = False,
) -> list[float]:
    """Train the chosen parts of ``student`` in place; return the loss of every step.

    Goes on from the checkpoint in ``run`` if there is one, to the same next loss. Writes
    checkpoint, metrics and loss curves there.

    Raises:
        InputError: the checkpoint is of another configuration, or there are too few samples.
        RuntimeError: the loss is no longer finite.
    """
    torch.manual_seed(config.seed)
    learner = _learner(student, source, config, ranks)
    parts = learner.pupil, learner.memories, learner.optimizer
    progress = resume(run, *parts, config) or _begin(learner, source, config)
    steps = total_steps(config, source.samples)
    with _metrics(run, progress.step, steps, ranks, tensorboard) as metrics:
        for step in range(progress.step, steps):
            started = time.perf_counter()
            rate = learning_rate(step, steps, config)
            batch = source.batch(step)
            terms = learner.learn(batch, rate)
            terms["seconds"] = time.perf_counter() - started
            progress.losses.append(terms["loss"])
            progress.step = step + 1
            if metrics is not None:
                metrics.advance(terms["loss"])
                if _is_due(progress.step, steps, config.log_every):
                    metrics.log(step, terms)
            if ranks.leads and _is_due(progress.step, steps, config.checkpoint_every):
                save(run, *parts, progress, config)
    ranks.wait()
    return progress.losses


@dataclass(frozen=True, slots=True)
class Learner:
    """Everything that changes in a step.

    Attributes:
        network: the pupil, or its wrapper that averages gradients over processes.
        memories: one ``Memory`` per teacher.
        origin: the student as it was before training, where its features are kept.
    """

    pupil: Pupil
    network: nn.Module
    memories: nn.ModuleList
    optimizer: torch.optim.Optimizer
    config: DistillConfig
    ranks: Ranks
    bf16: bool
    origin: AnyBackbone | None = None

    def learn(self, batch: Batch, rate: float) -> dict[str, float]:
        """Take one step; return its losses (means over processes), rate and gradient norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        train_mode(self.pupil.student, self.config.student)
        device = self.ranks.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            predictions, twins, read = self.network(batch.inputs)
        targets = [memory(r.pooled_BD) for memory, r in self._remembered(batch)]
        terms = step_losses(predictions, batch, targets, self.memories, self.config)
        for rows_BE in twins:
            self._add_twins(terms, rows_BE)
        if self.origin is not None:
            self._add_kept(terms, read[0], self._read_before(self.origin, batch.inputs))
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            _learning(self.pupil), self.config.clip_norm, error_if_nonfinite=True
        )
        self.optimizer.step()
        for memory, rows_BD in zip(self.memories, targets, strict=True):
            cast(Memory, memory).push(self.ranks.gather(rows_BD))
        values = self.ranks.mean(torch.stack(list(terms.values()))).tolist()
        return dict(zip(terms, values, strict=True)) | {
            "rate": rate, "gradient_norm": float(norm)
        }  # fmt: skip

    def _add_twins(self, terms: dict[str, Tensor], rows_BE: Tensor) -> None:
        """Views of all processes look for each other: the loss is one process's."""
        losses = self.config.losses
        first, second = (self.ranks.gather_learning(half) for half in rows_BE.chunk(2))
        terms["twins_loss"] = twin_contrast(first, second, temperature=losses.twin_temperature)
        terms["loss"] = terms["loss"] + losses.twins * terms["twins_loss"]

    def _read_before(self, origin: AnyBackbone, frames_B3SS: Tensor) -> Tensor:
        with (
            torch.no_grad(),
            torch.autocast(frames_B3SS.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            return readout_features(origin, frames_B3SS)[0]

    def _add_kept(self, terms: dict[str, Tensor], now_BF: Tensor, before_BF: Tensor) -> None:
        """Units are those of this process's share of the batch."""
        losses = self.config.losses
        terms["keep_loss"] = distillation(
            standardised(now_BF, before_BF),
            standardised(before_BF, before_BF),
            cosine_weight=losses.cosine_weight,
        )
        terms["loss"] = terms["loss"] + losses.keep * terms["keep_loss"]

    def _remembered(self, batch: Batch) -> list[tuple[nn.Module, Reading]]:
        return list(zip(self.memories, batch.readings, strict=True))


def step_losses(
    predictions: list[Reading],
    batch: Batch,
    targets: list[Tensor],
    memories: nn.ModuleList,
    config: DistillConfig,
) -> dict[str, Tensor]:
    """Every loss of every teacher, scalars, and ``loss``: their weighted sum.

    Args:
        predictions: of the pupil; the global ones in standardised units.
        batch: what the teachers read.
        targets: standardised global targets (B, D) of each teacher.
        memories: with the queue of each teacher.
        config: of the run.
    """
    terms: dict[str, Tensor] = {}
    total = torch.zeros((), device=targets[0].device)
    for index, teacher in enumerate(config.teachers):
        queue_KD = cast(Memory, memories[index]).queue_KD
        found = _teacher_losses(
            predictions[index], batch.readings[index], targets[index], queue_KD, config.losses
        )
        for name, (share, loss) in found.items():
            terms[f"{name}_{index}_loss"] = loss
            total = total + teacher.weight * share * loss
    return {"loss": total, **terms}


def _teacher_losses(
    given: Reading, reading: Reading, target_BD: Tensor, queue_KD: Tensor, losses: LossConfig
) -> dict[str, tuple[float, Tensor]]:
    """Weight and value of each loss that is switched on."""
    found: dict[str, tuple[float, Tensor]] = {}
    if losses.regress > 0:
        loss = distillation(given.pooled_BD, target_BD, cosine_weight=losses.cosine_weight)
        found["regress"] = losses.regress, loss
    if losses.queue > 0:
        loss = queue_distillation(
            given.pooled_BD, target_BD, queue_KD, temperature=losses.temperature
        )
        found["queue"] = losses.queue, loss
    if losses.relate > 0:
        loss = relational_distillation(
            given.dense_BEhw.flatten(2),
            reading.dense_BEhw.flatten(2),
            temperature=losses.temperature,
        )
        found["relate"] = losses.relate, loss
    return found


def learning_rate(step: int, steps: int, config: DistillConfig) -> float:
    """Linear warm-up, then cosine to 0."""
    warmup = max(1, int(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _learner(student: AnyBackbone, source: Source, config: DistillConfig, ranks: Ranks) -> Learner:
    losses = config.losses
    if len(source.shapes) != len(config.teachers):
        raise InputError(
            f"expected targets of {len(config.teachers)} teachers, got {len(source.shapes)}"
        )
    origin = copy.deepcopy(student).eval().requires_grad_(False) if losses.keep > 0 else None
    choose_trained(student, config.student)
    pupil = Pupil(
        student,
        source.shapes,
        dense=losses.relate > 0,
        twins=losses.twins > 0,
        from_stream=source.from_stream,
    )
    pupil.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = losses.queue_rows if losses.queue > 0 else 0
    memories = nn.ModuleList(Memory(width, rows) for width, _ in source.shapes).to(ranks.device)
    bf16 = computes_in_bf16(ranks.device) if config.bf16 is None else config.bf16
    network = _parallel(pupil, config, ranks)
    if origin is not None:
        origin.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(pupil, config)
    return Learner(pupil, network, memories, optimizer, config, ranks, bf16, origin)


def _parallel(pupil: Pupil, config: DistillConfig, ranks: Ranks) -> nn.Module:
    """Average gradients over processes; batch-norms are synchronised, or frozen, never split."""
    if ranks.world == 1:
        return pupil
    unused = max(config.losses.regress, config.losses.queue) <= 0  # then no global head learns
    if ranks.device.type == "cuda":
        synced: Any = nn.SyncBatchNorm
        pupil.student = synced.convert_sync_batchnorm(pupil.student)
        return DistributedDataParallel(
            pupil, device_ids=[ranks.device.index], find_unused_parameters=unused
        )
    if not config.student.freeze_norms:
        raise InputError(
            "batch-norms cannot be synchronised on CPUs: set freeze_norms of the student, "
            "or train in one process"
        )
    return DistributedDataParallel(pupil, find_unused_parameters=unused)


def _optimizer(pupil: Pupil, config: DistillConfig) -> torch.optim.Optimizer:
    """AdamW; matrices and kernels decay, norms and biases do not. Heads have their own rate."""
    heads = nn.ModuleList([pupil.heads, pupil.twin])
    groups: list[dict[str, Any]] = []
    for part, share in ((pupil.student, 1.0), (heads, config.head_rate)):
        learning = _learning(part)
        matrices = [p for p in learning if p.ndim > 1]
        others = [p for p in learning if p.ndim <= 1]
        groups += [
            {"params": matrices, "weight_decay": config.weight_decay, "share": share},
            {"params": others, "weight_decay": 0.0, "share": share},
        ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _learning(part: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


def _begin(learner: Learner, source: Source, config: DistillConfig) -> Progress:
    """Fill every memory with real rows: zeros in a queue would be false neighbours."""
    queued = config.losses.queue_rows if config.losses.queue > 0 else 0
    rows = max(config.losses.survey_rows, queued)
    for memory, rows_ND in zip(learner.memories, source.survey(rows), strict=True):
        cast(Memory, memory).fill(rows_ND)
    return Progress()


def _metrics(
    run: Path, step: int, steps: int, ranks: Ranks, tensorboard: bool
) -> AbstractContextManager[Metrics | None]:
    if not ranks.leads:
        return nullcontext()
    run.mkdir(parents=True, exist_ok=True)
    return Metrics(run, first_step=step, steps=steps, tensorboard=tensorboard)


def _is_due(done: int, steps: int, every: int) -> bool:
    return done == steps or done % every == 0
