"""Combines concurrent requests into few large forward passes, in which workspaces take turns.

Shape suffixes: B batch, S encoder side, D embedding width, h w places.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from service.arrays import Floats
from service.errors import EncoderFailure, Stopping
from service.fairness.fair_queue import FairQueue, QueueState
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import SERVICE, current_workspace

Encode: TypeAlias = Callable[[Floats], Floats]  # (B, 3, S, S) -> (B, D)
EncodeMapped: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]  # -> (B, D), (B, D, h, w)
CLOSE_TIMEOUT_S = 3.0  # a forward pass takes a fraction of a second


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of the encoder for one frame.

    Attributes:
        embedding_D: float32, unit length.
        map_Dhw: float32; None unless requested.
    """

    embedding_D: Floats
    map_Dhw: Floats | None


@dataclass(frozen=True, slots=True)
class Passes:
    """The forward passes of one network; ``encode_mapped`` is None when it has no maps."""

    encode: Encode
    encode_mapped: EncodeMapped | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the encoder did last.

    Attributes:
        last_pass_s: seconds since a forward pass succeeded; None before the first and when the
            last one failed.
        stalled_s: seconds for which there was work and no pass ended; 0 while idle.
    """

    last_pass_s: float | None
    stalled_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingFrame:
    frame_3SS: Floats
    mapped: bool
    result: asyncio.Future[Encoded]


@dataclass(slots=True)
class _Lane:
    """One worker: its passes, the frames it collects, and those in the encoder."""

    passes: Passes
    gathered: list[_WaitingFrame] = field(default_factory=list)
    encoding: list[_WaitingFrame] = field(default_factory=list)

    @property
    def is_busy(self) -> bool:
        return bool(self.encoding or self.gathered)


class MicroBatcher:
    """Runs an encoder on batches gathered from concurrent ``submit`` calls.

    Without ``lanes`` one thread owns the encoder, so ``alone`` need not be thread safe. With
    lanes, several batches run in parallel, each on few cores: two passes of one thread each are
    a sixth faster than one pass of two threads, which wait for each other at every layer. A batch
    runs ``alone``, on all cores, when every other lane is idle.

    A batch takes one frame of each workspace in turn.

    Use as an async context manager: leaving it finishes the batches in the encoder and refuses
    waiting frames with Stopping, so that no caller hangs. An encoder that hangs is left behind.

    Args:
        alone: for a batch that runs alone; called once at a time, but in parallel to the lanes.
        on_batch: called with the number of frames before the forward pass.
        on_pass: called with the seconds that one took.
        lanes: for batches that run in parallel, one thread each; an element that is thread safe
            may be repeated.
        close_timeout_s: how long leaving waits for a pass that runs.
    """

    def __init__(
        self,
        alone: Passes,
        *,
        max_batch: int,
        max_wait_s: float,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda size: None,
        on_pass: Callable[[float], None] = lambda elapsed_s: None,
        lanes: Sequence[Passes] = (),
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        self._alone = alone
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._queue: FairQueue[_WaitingFrame] = FairQueue(max_queue)
        self._arrived = asyncio.Event()
        self._lanes = [_Lane(passes) for passes in (lanes or (alone,))]
        self._on_batch = on_batch
        self._on_pass = on_pass
        self._threads = FairThreads(len(self._lanes), name="encoder")
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._abandoned = False
        self._close_timeout_s = close_timeout_s
        self._succeeded_s: float | None = None  # None when the last pass failed
        self._progressed_s = time.monotonic()  # a pass ended, or work came to an idle encoder

    @property
    def waiting(self) -> int:
        """Frames in the queue, without those in the encoder."""
        return len(self._queue)

    @property
    def state(self) -> QueueState:
        """How busy the encoder is, in frames."""
        encoding = sum(len(lane.encoding) for lane in self._lanes)
        return QueueState(len(self._queue), encoding, self._queue.oldest_s)

    @property
    def heartbeat(self) -> Heartbeat:
        """What the encoder did last."""
        now = time.monotonic()
        stalled_s = now - self._progressed_s if self._is_busy else 0.0
        return Heartbeat(None if self._succeeded_s is None else now - self._succeeded_s, stalled_s)

    @property
    def _is_busy(self) -> bool:
        return len(self._queue) > 0 or any(lane.is_busy for lane in self._lanes)

    @property
    def is_running(self) -> bool:
        """Whether the worker accepts frames."""
        alive = bool(self._tasks) and not any(task.done() for task in self._tasks)
        return alive and not self._closed

    async def __aenter__(self) -> "MicroBatcher":
        self._tasks = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._close_timeout_s)
            self._abandoned = True
            for task in self._tasks:
                task.cancel()
        frames = [frame for lane in self._lanes for frame in (*lane.gathered, *lane.encoding)]
        for frame in (*frames, *self._queue.drain()):
            if not frame.result.done():
                frame.result.set_exception(Stopping("the service is shutting down"))
        self._threads.close(timeout_s=0)

    async def submit(self, frame_3SS: Floats) -> Floats:
        """Return the embedding, float32 (D,), of one preprocessed frame, float32 (3, S, S).

        Raises:
            EncoderFailure: the worker has ended; nothing was queued.
            Overloaded: the queue is full; nothing was queued.
            Stopping: the batcher was closed before the frame reached the encoder.
        """
        return (await self._submit(frame_3SS, mapped=False)).embedding_D

    async def submit_mapped(self, frame_3SS: Floats) -> Encoded:
        """Return the embedding with its feature map, at no cost for other frames of the batch.

        Raises: as ``submit``.
        """
        return await self._submit(frame_3SS, mapped=True)

    async def _submit(self, frame_3SS: Floats, *, mapped: bool) -> Encoded:
        if self._closed:
            raise Stopping("the service is shutting down")
        if not self.is_running:
            raise EncoderFailure("the worker of the encoder has ended")
        result: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        was_busy = self._is_busy
        self._queue.put(current_workspace(), _WaitingFrame(frame_3SS, mapped, result))
        if not was_busy:
            self._progressed_s = time.monotonic()
        self._arrived.set()
        return await result

    async def _run(self, lane: _Lane) -> None:
        while True:
            await self._gather(lane)
            # A caller may have disconnected while waiting.
            batch = [frame for frame in lane.gathered if not frame.result.done()]
            lane.gathered = []
            if batch:
                await self._finish(lane, batch)

    async def _finish(self, lane: _Lane, batch: list[_WaitingFrame]) -> None:
        """Encode a batch and resolve its frames, also when the batcher is closed meanwhile."""
        others = any(other.is_busy for other in self._lanes if other is not lane)
        passes = lane.passes if others else self._alone
        lane.encoding = batch
        job = self._threads.submit(SERVICE, partial(self._encode_all, passes, batch))
        work = asyncio.wrap_future(job)
        cancelled = False
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                if self._abandoned:
                    raise
                cancelled = True
        lane.encoding = []
        self._progressed_s = time.monotonic()
        self._succeeded_s = None if work.exception() else self._progressed_s
        _resolve(batch, work)
        if cancelled:
            raise asyncio.CancelledError

    def _encode_all(self, passes: Passes, batch: list[_WaitingFrame]) -> list[Encoded]:
        """On a thread of the lane: a failure reaches the callers and not the worker."""
        self._on_batch(len(batch))
        started_s = time.perf_counter()
        # A mixed batch takes two passes, because maps cost time.
        plain = iter(_encoded(passes, [w.frame_3SS for w in batch if not w.mapped], mapped=False))
        mapped = iter(_encoded(passes, [w.frame_3SS for w in batch if w.mapped], mapped=True))
        self._on_pass(time.perf_counter() - started_s)
        return [next(mapped) if frame.mapped else next(plain) for frame in batch]

    async def _gather(self, lane: _Lane) -> None:
        """Fill the lane with waiting frames, then with frames that arrive within the wait."""
        lane.gathered = [await self._next()]
        deadline = asyncio.get_running_loop().time() + self._max_wait_s
        while len(lane.gathered) < self._max_batch:
            if (turn := self._queue.get()) is not None:
                lane.gathered.append(turn[1])
                continue
            if self._max_wait_s <= 0:
                return
            try:
                async with asyncio.timeout_at(deadline):
                    lane.gathered.append(await self._next())
            except TimeoutError:
                return

    async def _next(self) -> _WaitingFrame:
        """Wait for a frame; a caller that is cancelled takes none."""
        while (turn := self._queue.get()) is None:
            self._arrived.clear()
            await self._arrived.wait()
        return turn[1]


def _encoded(passes: Passes, frames: list[Floats], *, mapped: bool) -> list[Encoded]:
    if not frames:
        return []
    maps: Sequence[Floats | None] = [None] * len(frames)
    if not mapped:
        embeddings_BD = passes.encode(np.stack(frames))
    elif passes.encode_mapped is not None:
        embeddings_BD, maps_BDhw = passes.encode_mapped(np.stack(frames))
        maps = list(maps_BDhw)
    else:
        raise EncoderFailure("the encoder gives no feature maps")
    for rows, name in ((embeddings_BD, "embeddings"), (maps, "feature maps")):
        if len(rows) != len(frames):
            raise EncoderFailure(f"expected {len(frames)} {name}, got {len(rows)}")
    return [Encoded(*pair) for pair in zip(embeddings_BD, maps, strict=True)]


def _resolve(batch: list[_WaitingFrame], work: asyncio.Future[list[Encoded]]) -> None:
    """Give each frame its row, or all frames the error of the encoder."""
    error = work.exception()
    for row, frame in enumerate(batch):
        if frame.result.done():
            continue
        if error is not None:
            frame.result.set_exception(error)
        else:
            frame.result.set_result(work.result()[row])
