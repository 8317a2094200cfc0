"""Readiness follows what the encoder does, and does not cost a forward pass per question."""

import asyncio
import threading
from collections.abc import Callable

import numpy as np
import pytest

from service.embedding.pipeline import Pipeline
from service.errors import EncoderFailure
from service.imaging.analysis.preprocess import PreprocessSpec
from service.imaging.analysis.thumbnails import encode_png
from service.opening.encoder_opening import pipeline_limits
from service.settings import Settings

FILE = encode_png(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))


class FakeEncoder:
    """Means of the frames, after ``before``, which may fail or wait."""

    encoder_id, dim, manifest, card, ultrasound, lanes = "fake", 3, None, "", None, ()
    spec = PreprocessSpec(32, (0.5,) * 3, (0.25,) * 3)

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.passes = 0
        self._before = before

    def encode(self, frames_B3SS: np.ndarray) -> np.ndarray:
        self.passes += 1
        self._before()
        return frames_B3SS.mean((2, 3)) + 1

    def encode_mapped(self, frames_B3SS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.encode(frames_B3SS), frames_B3SS


def pipeline(encoder: FakeEncoder, **options: float) -> Pipeline:
    return Pipeline(encoder, pipeline_limits(Settings()), **options)


def test_many_questions_cost_one_pass_and_none_after_real_work() -> None:
    async def act() -> list[int]:
        encoder, counts = FakeEncoder(), []
        async with pipeline(encoder) as running:
            await asyncio.gather(*(running.check() for _ in range(20)))
            counts.append(encoder.passes)
            await running.embed_all([FILE])
            for _ in range(20):
                await running.check()
            counts.append(encoder.passes)
        return counts

    assert asyncio.run(act()) == [1, 2]


def test_an_encoder_that_was_idle_for_long_is_asked_again() -> None:
    async def act() -> int:
        encoder = FakeEncoder()
        async with pipeline(encoder, fresh_s=0) as running:
            for _ in range(3):
                await running.check()
        return encoder.passes

    assert asyncio.run(act()) == 3


def test_an_encoder_that_fails_is_not_ready_until_it_recovers() -> None:
    failing = threading.Event()

    def fail() -> None:
        if failing.is_set():
            raise RuntimeError("broken")

    async def act() -> None:
        async with pipeline(FakeEncoder(fail)) as running:
            await running.check()
            failing.set()
            (refused,) = await asyncio.gather(running.embed_all([FILE]), return_exceptions=True)
            assert isinstance(refused, RuntimeError)
            for _ in range(2):
                with pytest.raises(EncoderFailure, match="fails on a plain frame"):
                    await running.check()
            failing.clear()
            await running.check()

    asyncio.run(act())


def test_an_encoder_that_hangs_is_not_ready_and_questions_do_not_pile_up() -> None:
    release = threading.Event()

    async def act() -> tuple[int, float]:
        encoder = FakeEncoder(lambda: release.wait(30))
        async with pipeline(encoder, stall_s=0.1) as running:
            work = asyncio.create_task(running.embed_all([FILE]))
            while not encoder.passes:
                await asyncio.sleep(0.01)
            for _ in range(3):
                with pytest.raises(EncoderFailure, match=r"not ended a pass|did not answer"):
                    await running.check()
            waiting, stalled_s = running.queues["encoder"].waiting, running._batcher.heartbeat
            release.set()
            await work
            await running.check()
        return waiting, stalled_s.stalled_s

    waiting, stalled_s = asyncio.run(act())
    assert waiting <= 1
    assert stalled_s > 0.1


def test_the_queues_tell_what_waits_and_for_how_long() -> None:
    release = threading.Event()

    async def act() -> None:
        encoder = FakeEncoder(lambda: release.wait(30))
        async with pipeline(encoder) as running:
            assert {state.waiting for state in running.queues.values()} == {0}
            work = asyncio.create_task(running.embed_all([FILE] * 9))
            while running.queues["encoder"].waiting < 4:
                await asyncio.sleep(0.01)
            state = running.queues["encoder"]
            assert state.running >= 1
            assert state.oldest_s > 0
            release.set()
            await work
            assert running.queues["encoder"].oldest_s == 0

    asyncio.run(act())
