"""Blocking calls of the event loop run in turn, and a workspace may hold so many."""

import asyncio
import threading

import pytest

from service.errors import Overloaded, Stopping
from service.fairness.turn_executor import TurnExecutor
from service.fairness.workspace_turn import working_for


def test_a_call_of_one_workspace_does_not_wait_for_those_of_another() -> None:
    release = threading.Event()

    async def calls() -> tuple[str, list[bool]]:
        asyncio.get_running_loop().set_default_executor(TurnExecutor(2, "t"))
        with working_for("a"):
            slow = [asyncio.create_task(asyncio.to_thread(release.wait, 20)) for _ in range(8)]
        await asyncio.sleep(0)
        with working_for("b"):
            quick = await asyncio.to_thread(str, "b")
        release.set()
        return quick, await asyncio.gather(*slow)

    assert asyncio.run(calls()) == ("b", [True] * 8)


def test_a_workspace_that_holds_too_many_calls_is_refused_and_another_is_not() -> None:
    executor, release = TurnExecutor(1, "t", max_held=4), threading.Event()
    with working_for("a"):
        slow = [executor.submit(release.wait, 20) for _ in range(4)]
        with pytest.raises(Overloaded, match="at most 4 calls"):
            executor.submit(release.wait, 20)
    with working_for("b"):
        assert executor.submit(str, "b").result(20) == "b"
    release.set()
    assert [future.result(20) for future in slow] == [True] * 4
    executor.shutdown()
    with working_for("a"), pytest.raises(Stopping):
        executor.submit(str)


def test_a_call_that_was_cancelled_while_it_waited_is_held_no_longer() -> None:
    executor, release = TurnExecutor(1, "t", max_held=2), threading.Event()
    with working_for("a"):
        running, waiting = (executor.submit(release.wait, 20) for _ in range(2))
        assert waiting.cancel()
        again = executor.submit(str, "again")
    release.set()
    assert (running.result(20), again.result(20)) == (True, "again")
    executor.shutdown()
