"""Inputs and targets of a step: drawn anew, or read from a cache.

The batch of a step depends on (seed, step, rank) alone, so a run that goes on after a break needs
no stored sampler or generator to meet the same views.

Shape suffixes: B batch, M samples, N rows, D target width, S student side, H W loaded frame.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from service.errors import InputError
from service.imaging.analysis.preprocess import resize
from training.distil.config import DistillConfig
from training.distil.distillation_model import TargetShape
from training.distil.ranks import Ranks
from training.distil.targets import Targets
from training.networks.teacher import Teacher, TeacherOutput

Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
Frame: TypeAlias = npt.NDArray[np.uint8]
_STATISTICS_DRAWS = 2**31  # keeps the draws before the first step apart from those of any step


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's share of one process.

    Attributes:
        inputs: what the model takes: frames (B, 3, S, S) or a stream (B, C, h, w). With the
            contrastive loss its second half shows other views of the first half, in its order.
        teacher_outputs: of each teacher, of the same views.
    """

    inputs: Tensor
    teacher_outputs: list[TeacherOutput]


class Source(Protocol):
    """Batches by number of step."""

    samples: int
    shapes: list[TargetShape]
    from_stream: bool

    def batch(self, step: int) -> Batch:
        """The batch of a step, the same whenever it is asked for."""

    def sample_targets(self, rows: int) -> list[Tensor]:
        """At least ``rows`` global targets of each teacher, (N, D), the same in every process."""


@dataclass(slots=True)
class Sampler:
    """Which samples a step takes: a new order every epoch, shared out by rank."""

    samples: int
    config: DistillConfig
    ranks: Ranks
    _epoch: int = -1
    _order_M: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self.ranks.share(self.samples_per_step)
        if self.samples < self.samples_per_step:
            raise InputError(
                f"expected at least as many samples as a batch holds ({self.samples_per_step}), "
                f"got {self.samples}"
            )

    @property
    def samples_per_step(self) -> int:
        """Samples of a step, over all processes."""
        return self.config.frames_per_step

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only."""
        return self.samples // self.samples_per_step

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """Sample numbers of this process at ``step``, ascending."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch or self._order_M is None:
            rng = np.random.default_rng((self.config.seed, epoch))
            self._order_M, self._epoch = rng.permutation(self.samples), epoch
        start = position * self.samples_per_step
        chosen = np.sort(self._order_M[start : start + self.samples_per_step])
        return chosen[self.ranks.rank :: self.ranks.world]


def total_steps(config: DistillConfig, samples: int) -> int:
    """Steps of the whole run; at least one an epoch, where each frame fills two rows of a batch."""
    return config.steps or config.epochs * max(1, samples // config.batch)


class CachedSource:
    """Reads what ``training.distil.targets`` stored."""

    from_stream = True

    def __init__(self, targets: Targets, config: DistillConfig, ranks: Ranks) -> None:
        self.samples = len(targets.streams_MChw)
        self.shapes = targets.shapes
        self._targets = targets
        self._config = config
        self._ranks = ranks
        self._contrastive = config.losses.contrastive > 0
        self._frames = self.samples // config.views
        drawn_from = self._frames if self._contrastive else self.samples
        self._sampler = Sampler(drawn_from, config, ranks)

    def batch(self, step: int) -> Batch:
        """Streams and targets of the step's samples."""
        chosen_B = self._sampler.rows(step)
        if self._contrastive:
            chosen_B = self._two_views(chosen_B, step)
        stream = self._read(self._targets.streams_MChw, chosen_B)
        teacher_outputs = [
            TeacherOutput(self._read(pooled_MD, chosen_B), self._dense(teacher, chosen_B))
            for teacher, pooled_MD in enumerate(self._targets.pooled)
        ]
        return Batch(stream.contiguous(memory_format=torch.channels_last), teacher_outputs)

    def sample_targets(self, rows: int) -> list[Tensor]:
        """Every stored target, in a random order (repeated when there are fewer than asked)."""
        rng = np.random.default_rng((self._config.seed, _STATISTICS_DRAWS))
        order = np.resize(rng.permutation(self.samples), max(rows, self.samples))
        return [self._read(pooled_MD, order) for pooled_MD in self._targets.pooled]

    def _two_views(self, frames_B: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.int64]:
        """Samples of two different views of each frame: first all the one, then all the other."""
        # Drawn for every frame, so that what a frame gets hangs on no other and no process.
        rng = np.random.default_rng((self._config.seed, step))
        views = self._config.views
        first_B = rng.integers(views, size=self._frames)[frames_B]
        apart_B = rng.integers(1, views, size=self._frames)[frames_B]
        numbers = np.concatenate([first_B, (first_B + apart_B) % views])
        return numbers * self._frames + np.tile(frames_B, 2)

    def _dense(self, teacher: int, chosen_B: npt.NDArray[np.int64]) -> Tensor:
        if not self._targets.dense:
            return torch.empty(0)
        return self._read(self._targets.dense[teacher], chosen_B)

    def _read(self, stored: npt.NDArray[np.float16], chosen_B: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(stored[chosen_B]).float().to(self._ranks.device)


class OnlineSource:
    """Decodes and augments frames, and computes the targets of each view.

    Args:
        frames: uint8 (H, W) each; read by number, so it may decode as it goes.
        augment: (B, 1, H, W) in [0, 1] and a generator -> (B, 1, S, S) in [0, 1].
        bf16: whether teachers run under autocast.
    """

    from_stream = False

    def __init__(
        self,
        frames: Sequence[Frame],
        teachers: Sequence[Teacher],
        augment: Augment,
        config: DistillConfig,
        ranks: Ranks,
        *,
        bf16: bool,
    ) -> None:
        self.samples = len(frames)
        self.shapes = [teacher.shapes() for teacher in teachers]
        self._frames = frames
        self._teachers = teachers
        self._augment = augment
        self._config = config
        self._ranks = ranks
        self._bf16 = bf16
        self._sampler = Sampler(self.samples, config, ranks)
        self._threads = ThreadPoolExecutor(config.workers, thread_name_prefix="decode")
        self._prefetched: dict[int, list[Future[Frame]]] = {}
        spec = config.spec
        self._mean = torch.tensor(spec.mean, device=ranks.device).reshape(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=ranks.device).reshape(1, 3, 1, 1)

    def batch(self, step: int) -> Batch:
        """One view of each of the step's frames; the next step's frames decode meanwhile."""
        futures = self._prefetched.pop(step, None) or self._submit(step)
        self._prefetched = {step + 1: self._submit(step + 1)}
        return self._make_batch([future.result() for future in futures], step)

    def sample_targets(self, rows: int) -> list[Tensor]:
        """Rows of views that no step meets."""
        targets: list[list[Tensor]] = [[] for _ in self._teachers]
        for draw in range(-(-rows // self._config.frames_per_step)):
            futures = self._submit(draw)
            batch = self._make_batch([f.result() for f in futures], _STATISTICS_DRAWS + draw)
            for batches, output in zip(targets, batch.teacher_outputs, strict=True):
                batches.append(self._ranks.gather(output.pooled_BD))
        return [torch.cat(batches) for batches in targets]

    def _submit(self, step: int) -> list[Future[Frame]]:
        return [self._threads.submit(self._load, int(i)) for i in self._sampler.rows(step)]

    def _load(self, index: int) -> Frame:
        return resize(self._frames[index], self._config.load_px)

    def _make_batch(self, frames: list[Frame], step: int) -> Batch:
        device = self._ranks.device
        frames_B1HW = torch.from_numpy(np.stack(frames)[:, None]).to(device).float() / 255
        if self._config.losses.contrastive > 0:
            # Mixed, both views of a frame still mix the same two.
            frames_B1HW = frames_B1HW.repeat(2, 1, 1, 1)
        generator = torch.Generator(device).manual_seed(self._seed(step))
        inner_B1QQ = self._augment(frames_B1HW, generator)
        view_B1SS = functional.pad(inner_B1QQ, (self._config.spec.border_px,) * 4)
        view_B1SS = self._mixup(view_B1SS, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            teacher_outputs = [teacher.observe(view_B1SS) for teacher in self._teachers]
        inputs = (view_B1SS - self._mean) / self._std
        return Batch(inputs.contiguous(memory_format=torch.channels_last), teacher_outputs)

    def _seed(self, step: int) -> int:
        words = (self._config.seed, step, self._ranks.rank)
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _mixup(self, view_B1SS: Tensor, step: int) -> Tensor:
        """Mixup (Zhang et al. 2018) with one share per batch, for teachers and student alike."""
        if self._config.mixup <= 0:
            return view_B1SS
        rng = np.random.default_rng((self._config.seed, step))
        share = float(rng.beta(self._config.mixup, self._config.mixup))
        return share * view_B1SS + (1 - share) * view_B1SS.flip(0)
