"""Where a step's inputs and targets come from: drawn anew, or read from what was cached.

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
from torch import Tensor

from service.errors import InputError
from service.imaging.analysis.preprocess import resize
from training.distil.config import DistillConfig
from training.distil.pupil import TargetShape
from training.distil.ranks import Ranks
from training.distil.targets import Targets
from training.networks.teacher import Reading, Teacher

Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
Frame: TypeAlias = npt.NDArray[np.uint8]
_SURVEY = 2**31  # keeps the draws before the first step apart from those of any step


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's share of one process.

    Attributes:
        inputs: what the pupil takes: frames (B, 3, S, S) or a stream (B, C, h, w). With twins
            its second half shows other views of the frames of the first half, in their order.
        readings: of each teacher, of the same views.
    """

    inputs: Tensor
    readings: list[Reading]


class Source(Protocol):
    """Batches by number of step."""

    samples: int
    shapes: list[TargetShape]
    from_stream: bool

    def batch(self, step: int) -> Batch:
        """The batch of a step, the same whenever it is asked for."""

    def survey(self, rows: int) -> list[Tensor]:
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
        self.ranks.share(self.drawn)
        if self.samples < self.drawn:
            raise InputError(
                f"expected at least as many samples as a batch holds ({self.drawn}), "
                f"got {self.samples}"
            )

    @property
    def drawn(self) -> int:
        """Samples of a step, over all processes."""
        return self.config.frames_per_step

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only."""
        return self.samples // self.drawn

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """Sample numbers of this process at ``step``, ascending."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch or self._order_M is None:
            rng = np.random.default_rng((self.config.seed, epoch))
            self._order_M, self._epoch = rng.permutation(self.samples), epoch
        start = position * self.drawn
        chosen = np.sort(self._order_M[start : start + self.drawn])
        return chosen[self.ranks.rank :: self.ranks.world]


def total_steps(config: DistillConfig, samples: int) -> int:
    """Steps of the whole run."""
    return config.steps or config.epochs * (samples // config.batch)


class CachedSource:
    """Reads what ``training.distil.targets`` stored."""

    from_stream = True

    def __init__(self, targets: Targets, config: DistillConfig, ranks: Ranks) -> None:
        self.samples = len(targets.streams_MChw)
        self.shapes = targets.shapes
        self._targets = targets
        self._config = config
        self._ranks = ranks
        self._twins = config.losses.twins > 0
        self._frames = self.samples // config.views
        drawn_from = self._frames if self._twins else self.samples
        self._sampler = Sampler(drawn_from, config, ranks)

    def batch(self, step: int) -> Batch:
        """Streams and targets of the step's samples."""
        chosen_B = self._sampler.rows(step)
        if self._twins:
            chosen_B = self._two_views(chosen_B, step)
        stream = self._read(self._targets.streams_MChw, chosen_B)
        readings = [
            Reading(self._read(pooled_MD, chosen_B), self._dense(teacher, chosen_B))
            for teacher, pooled_MD in enumerate(self._targets.pooled)
        ]
        return Batch(stream.contiguous(memory_format=torch.channels_last), readings)

    def survey(self, rows: int) -> list[Tensor]:
        """Every stored target, in a random order (repeated when there are fewer than asked)."""
        order = np.random.default_rng((self._config.seed, _SURVEY)).permutation(self.samples)
        order = np.resize(order, max(rows, self.samples))
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
    """Decodes, augments, and asks the teachers about the view that the student gets.

    Args:
        frames: uint8 (H, W) each; read by number, so it may decode as it goes.
        teachers: on the device of ``ranks``.
        augment: (B, 1, H, W) in [0, 1] and a generator -> (B, 1, S, S) in [0, 1].
        config: of the run.
        ranks: of the run.
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
        self._ahead: dict[int, list[Future[Frame]]] = {}
        spec = config.spec
        self._mean = torch.tensor(spec.mean, device=ranks.device).reshape(1, 3, 1, 1)
        self._std = torch.tensor(spec.std, device=ranks.device).reshape(1, 3, 1, 1)

    def batch(self, step: int) -> Batch:
        """One view of each of the step's frames; the next step's frames decode meanwhile."""
        waiting = self._ahead.pop(step, None) or self._start(step)
        self._ahead = {step + 1: self._start(step + 1)}
        return self._observed([future.result() for future in waiting], step)

    def survey(self, rows: int) -> list[Tensor]:
        """Rows of views that no step meets."""
        found: list[list[Tensor]] = [[] for _ in self._teachers]
        for draw in range(-(-rows // self._config.frames_per_step)):
            waiting = self._start(draw)
            batch = self._observed([f.result() for f in waiting], _SURVEY + draw)
            for kept, reading in zip(found, batch.readings, strict=True):
                kept.append(self._ranks.gather(reading.pooled_BD))
        return [torch.cat(kept) for kept in found]

    def _start(self, step: int) -> list[Future[Frame]]:
        return [self._threads.submit(self._load, int(i)) for i in self._sampler.rows(step)]

    def _load(self, index: int) -> Frame:
        return resize(self._frames[index], self._config.load_px)

    def _observed(self, frames: list[Frame], step: int) -> Batch:
        device = self._ranks.device
        frames_B1HW = torch.from_numpy(np.stack(frames)[:, None]).to(device).float() / 255
        if self._config.losses.twins > 0:  # mixed, both views of a frame still mix the same two
            frames_B1HW = frames_B1HW.repeat(2, 1, 1, 1)
        generator = torch.Generator(device).manual_seed(self._seed(step))
        view_B1SS = self._mixed(self._augment(frames_B1HW, generator), step)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            readings = [teacher.observe(view_B1SS) for teacher in self._teachers]
        inputs = ((view_B1SS - self._mean) / self._std).contiguous(
            memory_format=torch.channels_last
        )
        return Batch(inputs, readings)

    def _seed(self, step: int) -> int:
        words = (self._config.seed, step, self._ranks.rank)
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _mixed(self, view_B1SS: Tensor, step: int) -> Tensor:
        """Mixup (Zhang et al. 2018) with one share per batch, before anybody looks."""
        if self._config.mixup <= 0:
            return view_B1SS
        rng = np.random.default_rng((self._config.seed, step))
        share = float(rng.beta(self._config.mixup, self._config.mixup))
        return share * view_B1SS + (1 - share) * view_B1SS.flip(0)
