"""Turns many small concurrent requests into few large forward passes.

Shape suffixes: B batch, S encoder side, D embedding width, h w places.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.errors import EncoderFailure, Overloaded, Stopping

Floats: TypeAlias = npt.NDArray[np.float32]
Encode: TypeAlias = Callable[[Floats], Floats]  # (B, 3, S, S) -> (B, D)
EncodeMapped: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]  # -> (B, D), (B, D, h, w)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder gave for one frame.

    Attributes:
        embedding_D: float32, unit length.
        map_Dhw: float32; None unless it was asked for.
    """

    embedding_D: Floats
    map_Dhw: Floats | None


@dataclass(frozen=True, slots=True)
class Passes:
    """The forward passes of one network; ``encode_mapped`` is None when it gives no maps."""

    encode: Encode
    encode_mapped: EncodeMapped | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame_3SS: Floats
    mapped: bool
    result: asyncio.Future[Encoded]


@dataclass(slots=True)
class _Lane:
    """One worker: its passes beside others, what it holds, and whether that is being encoded."""

    beside: Passes
    gathered: list[_Waiting] = field(default_factory=list)
    is_encoding: bool = False

    @property
    def is_busy(self) -> bool:
        return self.is_encoding or bool(self.gathered)


class MicroBatcher:
    """Runs an encoder on batches gathered from concurrent ``submit`` calls.

    Without ``lanes`` one thread owns the encoder, so ``alone`` need not be thread safe. With
    them, as many batches run side by side, each on few cores: two passes of one thread do a
    sixth more than one pass of two threads, which wait for each other at every layer. A batch
    that finds every other lane idle takes ``alone``, the whole machine.

    Use as an async context manager: leaving it lets the batches in the encoder finish and
    refuses what still waits with Stopping, so that no caller hangs.

    Args:
        alone: passes of a batch that runs alone; one call at a time, but beside those of lanes.
        lanes: passes of batches side by side, one thread each; the same may come twice where
            it is thread safe.
    """

    def __init__(
        self,
        alone: Passes,
        *,
        max_batch: int,
        max_wait_s: float,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda size: None,
        lanes: Sequence[Passes] = (),
    ) -> None:
        self._alone = alone
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(max_queue)
        self._lanes = [_Lane(passes) for passes in (lanes or (alone,))]
        self._on_batch = on_batch
        self._threads = ThreadPoolExecutor(len(self._lanes), thread_name_prefix="encoder")
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def waiting(self) -> int:
        """Frames in the queue, without those in the encoder."""
        return self._queue.qsize()

    @property
    def is_running(self) -> bool:
        """Whether the worker takes frames."""
        alive = bool(self._tasks) and not any(task.done() for task in self._tasks)
        return alive and not self._closed

    async def __aenter__(self) -> "MicroBatcher":
        self._tasks = [asyncio.create_task(self._run(lane)) for lane in self._lanes]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        left = [each for lane in self._lanes for each in lane.gathered]
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        for each in left:
            if not each.result.done():
                each.result.set_exception(Stopping("the service is shutting down"))
        self._threads.shutdown(wait=True)

    async def submit(self, frame_3SS: Floats) -> Floats:
        """Return the embedding, float32 (D,), of one preprocessed frame, float32 (3, S, S).

        Raises:
            EncoderFailure: the worker is gone; nothing was queued.
            Overloaded: the queue is full; nothing was queued.
            Stopping: the batcher was closed before the frame reached the encoder.
        """
        return (await self._submit(frame_3SS, mapped=False)).embedding_D

    async def submit_mapped(self, frame_3SS: Floats) -> Encoded:
        """The embedding with its feature map, for which others in the batch do not pay.

        Raises: as ``submit``.
        """
        return await self._submit(frame_3SS, mapped=True)

    async def _submit(self, frame_3SS: Floats, *, mapped: bool) -> Encoded:
        if self._closed:
            raise Stopping("the service is shutting down")
        if not self.is_running:
            raise EncoderFailure("the encoder's worker is gone")
        result: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(frame_3SS, mapped, result))
        except asyncio.QueueFull:
            raise Overloaded(f"{self._queue.maxsize} frames already wait") from None
        return await result

    async def _run(self, lane: _Lane) -> None:
        while True:
            await self._gather(lane)
            # The caller may have hung up while waiting: do not spend the encoder on it.
            batch = [each for each in lane.gathered if not each.result.done()]
            lane.gathered = []
            if batch:
                await self._finish(lane, batch)

    async def _finish(self, lane: _Lane, batch: list[_Waiting]) -> None:
        """Answer every waiter of the batch, also when the stop comes while it is encoded."""
        loop = asyncio.get_running_loop()
        others = any(other.is_busy for other in self._lanes if other is not lane)
        passes = lane.beside if others else self._alone
        lane.is_encoding = True
        work = loop.run_in_executor(self._threads, self._encode_all, passes, batch)
        cancelled = False
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                cancelled = True
        lane.is_encoding = False
        _answer(batch, work)
        if cancelled:
            raise asyncio.CancelledError

    def _encode_all(self, passes: Passes, batch: list[_Waiting]) -> list[Encoded]:
        """On a lane's thread, where any failure reaches the waiters and not the worker."""
        self._on_batch(len(batch))
        # Two passes of a mixed batch: maps cost time that those who want none must not pay.
        plain = iter(_without_maps(passes, [e.frame_3SS for e in batch if not e.mapped]))
        mapped = iter(_with_maps(passes, [e.frame_3SS for e in batch if e.mapped]))
        return [next(mapped) if each.mapped else next(plain) for each in batch]

    async def _gather(self, lane: _Lane) -> None:
        """Fill the lane: with what waits already, then with what comes within the wait."""
        lane.gathered = [await self._queue.get()]
        deadline = asyncio.get_running_loop().time() + self._max_wait_s
        while len(lane.gathered) < self._max_batch:
            if not self._queue.empty():
                lane.gathered.append(self._queue.get_nowait())
                continue
            if self._max_wait_s <= 0:
                return
            try:
                async with asyncio.timeout_at(deadline):
                    lane.gathered.append(await self._queue.get())
            except TimeoutError:
                return


def _without_maps(passes: Passes, frames: list[Floats]) -> list[Encoded]:
    if not frames:
        return []
    embeddings_BD = passes.encode(np.stack(frames))
    _require(len(embeddings_BD), "embeddings", len(frames))
    return [Encoded(embedding_D, None) for embedding_D in embeddings_BD]


def _with_maps(passes: Passes, frames: list[Floats]) -> list[Encoded]:
    if not frames:
        return []
    if passes.encode_mapped is None:
        raise EncoderFailure("the encoder gives no feature maps")
    embeddings_BD, maps_BDhw = passes.encode_mapped(np.stack(frames))
    _require(len(embeddings_BD), "embeddings", len(frames))
    _require(len(maps_BDhw), "feature maps", len(frames))
    pairs = zip(embeddings_BD, maps_BDhw, strict=True)
    return [Encoded(embedding_D, map_Dhw) for embedding_D, map_Dhw in pairs]


def _require(given: int, what: str, expected: int) -> None:
    if given != expected:
        raise EncoderFailure(f"expected {expected} {what}, got {given}")


def _answer(batch: list[_Waiting], work: asyncio.Future[list[Encoded]]) -> None:
    """Give each waiter its row, or all of them the encoder's error."""
    error = work.exception()
    for row, each in enumerate(batch):
        if each.result.done():
            continue
        if error is not None:
            each.result.set_exception(error)
        else:
            each.result.set_result(work.result()[row])
