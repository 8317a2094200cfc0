"""The student with linear heads that predict each teacher, and memory banks of targets.

Shape suffixes: B batch, S input side, C channels, F features a head reads, D width of a global
target, E of a dense one, h w its grid, K queued rows, N rows.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from service.errors import InputError
from training.networks.backbones import AnyBackbone
from training.networks.readout import WIDTH_TO_STAGE3, pool_features
from training.networks.student import Trunk
from training.networks.teacher import TeacherOutput

TargetShape: TypeAlias = tuple[int, tuple[int, int, int]]  # D, (E, h, w)
_TINY = 1e-4
CONTRASTIVE_HIDDEN, CONTRASTIVE_WIDTH = 512, 128


class DistillationHeads(nn.Module):
    """Predictions of one teacher; thrown away after training.

    Args:
        features: F, what the global prediction is made from.
        channels: C, of the maps that the dense one is made from.
    """

    def __init__(self, features: int, channels: int, shape: TargetShape, *, dense: bool) -> None:
        super().__init__()
        width, (dense_width, height, columns) = shape
        self.grid = (height, columns)
        self.pooled = nn.Linear(features, width)
        self.dense = nn.Conv2d(channels, dense_width, 1) if dense else None

    def forward(self, rows_BF: Tensor, maps_BChw: Tensor) -> TeacherOutput:
        """Both predictions; the dense one on the teacher's grid (empty without a dense head)."""
        pooled_BD = self.pooled(rows_BF)
        if self.dense is None:
            return TeacherOutput(pooled_BD, pooled_BD.new_empty(0))
        dense = functional.interpolate(
            self.dense(maps_BChw), self.grid, mode="bilinear", align_corners=False
        )
        return TeacherOutput(pooled_BD, dense)


def summary(maps_BChw: Tensor) -> Tensor:
    """Mean and spread of every channel over the frame, (B, 2 C)."""
    spread_BC = (maps_BChw.var((2, 3), correction=0) + _TINY).sqrt()
    return torch.cat([maps_BChw.mean((2, 3)), spread_BC], dim=1)


def standardise(rows_BF: Tensor, by_BF: Tensor) -> Tensor:
    """Rows in units of the mean and spread that each feature has in another batch."""
    spread_F = by_BF.std(0, correction=0) + _TINY
    return (rows_BF - by_BF.mean(0)) / spread_F


def readout_features(student: AnyBackbone, frames_B3SS: Tensor) -> tuple[Tensor, Tensor]:
    """What the read-out takes of a student that ends at stage 3: (B, F), and activated maps.

    Float32 whatever the maps were computed in.
    """
    stage3, _ = student.read(frames_B3SS)
    with torch.autocast(frames_B3SS.device.type, enabled=False):
        stage3 = stage3.float()
        return pool_features(stage3, None), functional.relu(stage3)


class DistillationModel(nn.Module):
    """The student with its heads.

    The heads read what the read-out will: each channel's mean and spread over stage 4, or, of a
    student that ends at stage 3, all that is pooled of it, in units of the batch.

    Args:
        contrastive: whether views teach each other, in a space of their own: what a view cannot
            know of the other may be lost there, not in the student.
        from_stream: inputs are what ``student.prefix`` gives, not frames.
    """

    def __init__(
        self,
        student: AnyBackbone,
        shapes: Sequence[TargetShape],
        *,
        dense: bool = False,
        contrastive: bool = False,
        from_stream: bool = False,
    ) -> None:
        super().__init__()
        self.student = student
        self.from_stream = from_stream
        channels = _width(student)
        features = WIDTH_TO_STAGE3 if ends_at_stage3(student) else 2 * channels
        self.heads = nn.ModuleList(
            DistillationHeads(features, channels, shape, dense=dense) for shape in shapes
        )
        self.contrastive_head = nn.ModuleList([_contrastive_head(features)] if contrastive else [])

    def forward(self, inputs: Tensor) -> tuple[list[TeacherOutput], list[Tensor], list[Tensor]]:
        """Predictions for a batch; heads and pooling run in float32.

        Returns:
            The predictions of every teacher; the rows (B, E) by which views find each other, none
            without the contrastive loss; what the read-out takes (B, F), of a student that ends
            at stage 3.
        """
        rows_BF, maps_BChw, read = self._read(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            teacher_outputs = [head(rows_BF, maps_BChw) for head in self.heads]
            return teacher_outputs, [head(rows_BF) for head in self.contrastive_head], read

    def _read(self, inputs: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        if ends_at_stage3(self.student):
            pooled_BF, maps_BChw = readout_features(self.student, inputs)
            return standardise(pooled_BF, pooled_BF.detach()), maps_BChw, [pooled_BF]
        _, stage4 = self.student.suffix(inputs) if self.from_stream else self.student(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
            stage4 = stage4.float()
            return summary(stage4), stage4, []


def ends_at_stage3(student: AnyBackbone) -> bool:
    """Whether the student has no stage 4."""
    return isinstance(student, Trunk) and student.ends_at_stage3


def _contrastive_head(features: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(features, CONTRASTIVE_HIDDEN),
        nn.ReLU(),
        nn.Linear(CONTRASTIVE_HIDDEN, CONTRASTIVE_WIDTH),
    )


def _width(student: AnyBackbone) -> int:
    """Channels of the last stage, from one small black frame; modes and statistics stay."""
    modes = [(module, module.training) for module in student.modules()]
    student.eval()
    with torch.no_grad():
        device = next(student.parameters()).device
        _, stage4 = student(torch.zeros(1, 3, 64, 64, device=device))
    for module, training in modes:
        module.training = training
    return int(stage4.shape[1])


class MemoryBank(nn.Module):
    """Mean and spread of the targets of one teacher, and a queue of them.

    Rows are standardised per dimension, so that no loud feature rules the losses and cosines
    spread: pooled activations of any network all point nearly the same way.
    """

    mean: Tensor
    std: Tensor
    queue_KD: Tensor
    cursor: Tensor

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("queue_KD", torch.zeros(rows, width))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))

    def fill(self, rows_ND: Tensor) -> None:
        """Take mean and spread of real rows and start the queue with the last K of them.

        Raises:
            InputError: fewer rows than the queue holds, or than two.
        """
        if len(rows_ND) < max(2, len(self.queue_KD)):
            raise InputError(
                f"expected at least {max(2, len(self.queue_KD))} rows to fill the queue, "
                f"got {len(rows_ND)}"
            )
        rows_ND = rows_ND.float()
        self.mean.copy_(rows_ND.mean(0))
        self.std.copy_(rows_ND.std(0, correction=0) + _TINY)
        if len(self.queue_KD):
            self.queue_KD.copy_(self(rows_ND[-len(self.queue_KD) :]))
        self.cursor.zero_()

    def forward(self, rows_BD: Tensor) -> Tensor:
        """Standardised rows, float32, same shape."""
        standard_BD: Tensor = (rows_BD.float() - self.mean) / self.std
        return standard_BD

    @torch.no_grad()
    def push(self, standard_BD: Tensor) -> None:
        """Replace the oldest rows of the queue; of more rows than it holds, the last stay."""
        size = len(self.queue_KD)
        if size == 0:
            return
        rows = standard_BD[-size:]
        slots = (int(self.cursor) + torch.arange(len(rows))) % size
        self.queue_KD[slots.to(self.queue_KD.device)] = rows
        self.cursor.fill_((int(self.cursor) + len(rows)) % size)
