"""The distillation loop: a student learns to predict its teachers on the same views.

Shape suffixes: B batch, D target width, E width of a dense target, h w its grid, L its places.
"""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from service.errors import InputError
from training.distil.checkpoint import TrainingProgress, resume, save
from training.distil.config import DistillConfig
from training.distil.distillation_model import (
    DistillationModel,
    MemoryBank,
    readout_features,
    standardise,
)
from training.distil.losses import (
    contrastive_loss,
    distillation,
    queue_distillation,
    relational_distillation,
)
from training.distil.metrics import RunMetrics
from training.distil.ranks import Ranks, supports_bf16
from training.distil.sources import Batch, Source, total_steps
from training.networks.backbones import AnyBackbone, choose_trained, train_mode
from training.networks.teacher import TeacherOutput

ALONE = Ranks()
Terms: TypeAlias = dict[str, tuple[float, Tensor]]  # name -> weight and value of a loss


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
    trainer = _build_trainer(student, source, config, ranks)
    parts = trainer.model, trainer.memory_banks, trainer.optimizer
    progress = resume(run, *parts, config) or _begin(trainer, source, config)
    steps = total_steps(config, source.samples)
    with _metrics(run, progress.step, steps, ranks, tensorboard) as metrics:
        for step in range(progress.step, steps):
            started = time.perf_counter()
            rate = learning_rate(step, steps, config)
            batch = source.batch(step)
            terms = trainer.step(batch, rate)
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
class Trainer:
    """The networks, memory banks and optimizer of a run.

    Attributes:
        network: the model, or its wrapper that averages gradients over processes.
        memory_banks: one ``MemoryBank`` per teacher.
        origin: the student as it was before training, where its features are kept.
    """

    model: DistillationModel
    network: nn.Module
    memory_banks: nn.ModuleList
    optimizer: torch.optim.Optimizer
    config: DistillConfig
    ranks: Ranks
    bf16: bool
    origin: AnyBackbone | None = None

    def step(self, batch: Batch, rate: float) -> dict[str, float]:
        """Take one step; return its losses (means over processes), rate and gradient norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        train_mode(self.model.student, self.config.student)
        with self._autocast():
            predictions, contrastive, read = self.network(batch.inputs)
        pairs = zip(self.memory_banks, batch.teacher_outputs, strict=True)
        targets = [bank(output.pooled_BD) for bank, output in pairs]
        terms = self._teacher_terms(predictions, batch.teacher_outputs, targets)
        for rows_BE in contrastive:
            terms["contrastive_loss"] = self._contrastive_term(rows_BE)
        if self.origin is not None:
            terms["feature_preservation_loss"] = self._preservation_term(batch.inputs, read[0])
        total = torch.zeros((), device=self.ranks.device)
        for weight, loss in terms.values():
            total = total + weight * loss
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            _trainable(self.model), self.config.clip_norm, error_if_nonfinite=True
        )
        self.optimizer.step()
        for bank, rows_BD in zip(self.memory_banks, targets, strict=True):
            cast(MemoryBank, bank).push(self.ranks.gather(rows_BD))
        values = self.ranks.mean(torch.stack([total, *(loss for _, loss in terms.values())]))
        losses = dict(zip(["loss", *terms], values.tolist(), strict=True))
        return losses | {"rate": rate, "gradient_norm": float(norm)}

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16)

    def _teacher_terms(
        self,
        predictions: list[TeacherOutput],
        outputs: list[TeacherOutput],
        targets: list[Tensor],
    ) -> Terms:
        """Every loss that is switched on, of every teacher.

        Args:
            predictions: of the model; the global ones in standardised units.
            targets: standardised global targets (B, D) of each teacher.
        """
        losses, temperature = self.config.losses, self.config.losses.temperature
        terms: Terms = {}
        for i, teacher in enumerate(self.config.teachers):
            given_BD = predictions[i].pooled_BD
            if losses.regression > 0:
                loss = distillation(given_BD, targets[i], cosine_weight=losses.cosine_weight)
                terms[f"regression_{i}_loss"] = teacher.weight * losses.regression, loss
            if losses.queue > 0:
                queue_KD = cast(MemoryBank, self.memory_banks[i]).queue_KD
                loss = queue_distillation(given_BD, targets[i], queue_KD, temperature=temperature)
                terms[f"queue_{i}_loss"] = teacher.weight * losses.queue, loss
            if losses.relational > 0:
                places = (x.dense_BEhw.flatten(2) for x in (predictions[i], outputs[i]))
                loss = relational_distillation(*places, temperature=temperature)
                terms[f"relational_{i}_loss"] = teacher.weight * losses.relational, loss
        return terms

    def _contrastive_term(self, rows_BE: Tensor) -> tuple[float, Tensor]:
        """Views of all processes are compared: every process computes the loss of all."""
        losses = self.config.losses
        first, second = (self.ranks.gather_with_gradient(half) for half in rows_BE.chunk(2))
        loss = contrastive_loss(first, second, temperature=losses.contrastive_temperature)
        return losses.contrastive, loss

    def _preservation_term(self, frames_B3SS: Tensor, now_BF: Tensor) -> tuple[float, Tensor]:
        """Units are those of this process's share of the batch."""
        losses = self.config.losses
        with torch.no_grad(), self._autocast():
            before_BF = readout_features(cast(AnyBackbone, self.origin), frames_B3SS)[0]
        loss = distillation(
            standardise(now_BF, before_BF),
            standardise(before_BF, before_BF),
            cosine_weight=losses.cosine_weight,
        )
        return losses.feature_preservation, loss


def learning_rate(step: int, steps: int, config: DistillConfig) -> float:
    """Linear warm-up, then cosine to 0."""
    warmup = max(1, int(config.warmup * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _build_trainer(
    student: AnyBackbone, source: Source, config: DistillConfig, ranks: Ranks
) -> Trainer:
    losses = config.losses
    if len(source.shapes) != len(config.teachers):
        raise InputError(
            f"expected targets of {len(config.teachers)} teachers, got {len(source.shapes)}"
        )
    origin = None
    if losses.feature_preservation > 0:
        origin = copy.deepcopy(student).eval().requires_grad_(False)
        origin.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    choose_trained(student, config.student)
    model = DistillationModel(
        student,
        source.shapes,
        dense=losses.relational > 0,
        contrastive=losses.contrastive > 0,
        from_stream=source.from_stream,
    )
    model.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = losses.queue_rows if losses.queue > 0 else 0
    memory_banks = nn.ModuleList(MemoryBank(width, rows) for width, _ in source.shapes).to(
        ranks.device
    )
    bf16 = supports_bf16(ranks.device) if config.bf16 is None else config.bf16
    network = _parallel(model, config, ranks)
    optimizer = _optimizer(model, config)
    return Trainer(model, network, memory_banks, optimizer, config, ranks, bf16, origin)


def _parallel(model: DistillationModel, config: DistillConfig, ranks: Ranks) -> nn.Module:
    """Average gradients over processes; batch-norms are synchronised, or frozen, never split."""
    if ranks.world == 1:
        return model
    unused = max(config.losses.regression, config.losses.queue) <= 0  # then no global head learns
    if ranks.device.type == "cuda":
        synced: Any = nn.SyncBatchNorm
        model.student = synced.convert_sync_batchnorm(model.student)
        return DistributedDataParallel(
            model, device_ids=[ranks.device.index], find_unused_parameters=unused
        )
    if not config.student.freeze_norms:
        raise InputError(
            "batch-norms cannot be synchronised on CPUs: set freeze_norms of the student, "
            "or train in one process"
        )
    return DistributedDataParallel(model, find_unused_parameters=unused)


def _optimizer(model: DistillationModel, config: DistillConfig) -> torch.optim.Optimizer:
    """AdamW; matrices and kernels decay, norms and biases do not. Heads have their own rate."""
    heads = nn.ModuleList([model.heads, model.contrastive_head])
    groups: list[dict[str, Any]] = []
    for part, share in ((model.student, 1.0), (heads, config.head_rate)):
        learning = _trainable(part)
        matrices = [p for p in learning if p.ndim > 1]
        others = [p for p in learning if p.ndim <= 1]
        groups += [
            {"params": matrices, "weight_decay": config.weight_decay, "share": share},
            {"params": others, "weight_decay": 0.0, "share": share},
        ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _trainable(part: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


def _begin(trainer: Trainer, source: Source, config: DistillConfig) -> TrainingProgress:
    """Fill every memory with real rows: zeros in a queue would be false neighbours."""
    queued = config.losses.queue_rows if config.losses.queue > 0 else 0
    rows = max(config.losses.statistics_rows, queued)
    for bank, rows_ND in zip(trainer.memory_banks, source.sample_targets(rows), strict=True):
        cast(MemoryBank, bank).fill(rows_ND)
    return TrainingProgress()


def _metrics(
    run: Path, step: int, steps: int, ranks: Ranks, tensorboard: bool
) -> AbstractContextManager[RunMetrics | None]:
    if not ranks.leads:
        return nullcontext()
    run.mkdir(parents=True, exist_ok=True)
    return RunMetrics(run, first_step=step, steps=steps, tensorboard=tensorboard)


def _is_due(done: int, steps: int, every: int) -> bool:
    return done == steps or done % every == 0
