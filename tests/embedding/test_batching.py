"""The laws of the batcher, with one lane and with two."""

import asyncio
import threading

import numpy as np
import pytest

from service.embedding.batcher import MicroBatcher, Passes
from service.errors import EncoderFailure, Overloaded, Stopping


def frame(value: float) -> np.ndarray:
    return np.full((3, 2, 2), value, np.float32)


def means(frames_B3SS: np.ndarray) -> np.ndarray:
    return frames_B3SS.mean((2, 3))


def batcher(encode=means, *, max_batch=4, max_queue=64, on_batch=lambda size: None) -> MicroBatcher:
    return MicroBatcher(
        Passes(encode), max_batch=max_batch, max_wait_s=0.01, max_queue=max_queue, on_batch=on_batch
    )


def test_every_caller_gets_its_own_row_back_from_shared_batches() -> None:
    sizes: list[int] = []

    async def act() -> list[np.ndarray]:
        async with batcher(on_batch=sizes.append) as running:
            return await asyncio.gather(*(running.submit(frame(i)) for i in range(23)))

    rows = asyncio.run(act())
    assert [float(row[0]) for row in rows] == list(map(float, range(23)))
    assert max(sizes) == 4
    assert sum(sizes) == 23


def test_a_failure_reaches_all_of_its_batch_and_the_next_batch_runs() -> None:
    def encode(frames: np.ndarray) -> np.ndarray:
        if frames.min() < 0:
            raise ValueError("bad batch")
        return means(frames)

    async def act() -> tuple[list[object], np.ndarray]:
        async with batcher(encode, max_batch=3) as running:
            first = await asyncio.gather(
                *(running.submit(frame(v)) for v in (1, -1, 2)), return_exceptions=True
            )
            return list(first), await running.submit(frame(7))

    first, second = asyncio.run(act())
    assert [type(error) for error in first] == [ValueError] * 3
    assert second[0] == 7


def test_a_full_queue_refuses_at_once_and_answers_the_others() -> None:
    gate, entered = threading.Event(), threading.Event()

    def encode(frames: np.ndarray) -> np.ndarray:
        entered.set()
        gate.wait(30)
        return means(frames)

    async def act() -> tuple[list[np.ndarray], float]:
        async with batcher(encode, max_batch=1, max_queue=2) as running:
            waiting = [asyncio.create_task(running.submit(frame(0)))]
            await asyncio.to_thread(entered.wait, 30)
            waiting += [asyncio.create_task(running.submit(frame(i))) for i in (1, 2)]
            while running.waiting < 2:
                await asyncio.sleep(0.01)
            with pytest.raises(Overloaded):
                await running.submit(frame(3))
            gate.set()
            return await asyncio.gather(*waiting), running.waiting

    rows, waiting = asyncio.run(act())
    assert [float(row[0]) for row in rows] == [0, 1, 2]
    assert waiting == 0


def test_leaving_finishes_the_batch_in_flight_and_releases_every_waiter() -> None:
    gate, entered = threading.Event(), threading.Event()

    def encode(frames: np.ndarray) -> np.ndarray:
        entered.set()
        gate.wait(10)
        return means(frames)

    async def act() -> list[object]:
        running = batcher(encode, max_batch=1)
        await running.__aenter__()
        tasks = [asyncio.create_task(running.submit(frame(i))) for i in range(3)]
        await asyncio.to_thread(entered.wait, 10)
        closing = asyncio.create_task(running.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        gate.set()
        await closing
        with pytest.raises(Stopping):
            await running.submit(frame(9))
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, *others = asyncio.run(act())
    assert isinstance(first, np.ndarray)
    assert [type(error) for error in others] == [Stopping, Stopping]


def test_whatever_goes_wrong_with_a_batch_its_callers_hear_of_it_and_the_worker_lives() -> None:
    def count(size: int) -> None:
        if size == 3:
            raise RuntimeError("metrics are down")

    def encode(frames: np.ndarray) -> np.ndarray:
        return means(frames)[: 1 if frames.min() < 0 else None]

    async def act() -> None:
        async with batcher(encode, on_batch=count) as running:
            for frames in (
                [frame(1), np.zeros((3, 1, 1), np.float32)],  # do not stack
                [frame(1), frame(-1)],  # one row comes back
                [frame(1)] * 3,  # the observer fails
            ):
                said = await asyncio.gather(
                    *(running.submit(one) for one in frames), return_exceptions=True
                )
                assert all(isinstance(found, Exception) for found in said), said
            assert running.is_running
            assert (await running.submit(frame(5)))[0] == 5

    asyncio.run(act())


def test_a_worker_that_is_gone_refuses_instead_of_letting_callers_wait() -> None:
    async def act() -> None:
        async with batcher() as running:
            (worker,) = running._tasks
            worker.cancel()
            await asyncio.wait([worker])
            with pytest.raises(EncoderFailure):
                await running.submit(frame(1))

    asyncio.run(act())


def test_only_those_who_ask_for_a_map_get_one_and_pay_for_it() -> None:
    passes: list[tuple[str, int]] = []

    def plain(frames: np.ndarray) -> np.ndarray:
        passes.append(("plain", len(frames)))
        return means(frames)

    def mapped(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        passes.append(("mapped", len(frames)))
        return means(frames), frames

    async def act() -> list[object]:
        waiting = MicroBatcher(Passes(plain, mapped), max_batch=4, max_wait_s=1.0, max_queue=8)
        async with waiting:
            return await asyncio.gather(
                waiting.submit(frame(0)),
                waiting.submit_mapped(frame(1)),
                waiting.submit(frame(2)),
                waiting.submit_mapped(frame(3)),
            )

    first, second, third, fourth = asyncio.run(act())
    assert (first[0], third[0]) == (0, 2)
    for value, found in ((1, second), (3, fourth)):
        assert found.embedding_D[0] == value
        np.testing.assert_array_equal(found.map_Dhw, frame(value))
    assert passes == [("plain", 2), ("mapped", 2)]


def test_an_encoder_without_maps_or_with_too_few_fails_those_who_asked() -> None:
    async def act(encode_mapped) -> object:
        passes = Passes(means, encode_mapped)
        waiting = MicroBatcher(passes, max_batch=4, max_wait_s=0, max_queue=8)
        async with waiting:
            return await waiting.submit_mapped(frame(1))

    for encode_mapped in (None, lambda frames: (means(frames), frames[:0])):
        with pytest.raises(EncoderFailure):
            asyncio.run(act(encode_mapped))


def with_lanes(alone, lane, *, max_batch: int = 1) -> MicroBatcher:
    passes = Passes(lane)
    return MicroBatcher(
        Passes(alone), max_batch=max_batch, max_wait_s=0, max_queue=64, lanes=[passes, passes]
    )


def test_a_batch_that_finds_the_other_lane_idle_takes_the_whole_machine() -> None:
    used: list[str] = []

    def named(name: str):
        def encode(frames: np.ndarray) -> np.ndarray:
            used.append(name)
            return means(frames)

        return encode

    async def act() -> None:
        async with with_lanes(named("alone"), named("lane")) as running:
            for value in range(3):
                assert (await running.submit(frame(value)))[0] == value

    asyncio.run(act())
    assert used == ["alone"] * 3


def test_two_batches_run_side_by_side_and_every_caller_gets_its_own_row() -> None:
    both = threading.Barrier(2, timeout=20)  # passes only when two forward passes overlap
    used: list[int] = []

    def meet(frames: np.ndarray) -> np.ndarray:
        both.wait()
        used.append(len(frames))
        return means(frames)

    async def act() -> list[np.ndarray]:
        async with with_lanes(meet, meet, max_batch=2) as running:
            return await asyncio.gather(*(running.submit(frame(i)) for i in range(8)))

    rows = asyncio.run(act())
    assert [float(row[0]) for row in rows] == list(map(float, range(8)))
    assert used == [2, 2, 2, 2]


def test_leaving_lets_both_lanes_finish_and_refuses_the_rest() -> None:
    started, release = threading.Barrier(3, timeout=20), threading.Event()

    def held(frames: np.ndarray) -> np.ndarray:
        started.wait()
        assert release.wait(20)
        return means(frames)

    async def act() -> list[object]:
        running = with_lanes(held, held)
        async with running:
            waiting = [asyncio.create_task(running.submit(frame(i))) for i in range(4)]
            await asyncio.to_thread(started.wait)
            asyncio.get_running_loop().call_later(0.05, release.set)
        return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(act())
    assert [float(row[0]) for row in found[:2]] == [0, 1]
    assert all(isinstance(each, Stopping) for each in found[2:])
