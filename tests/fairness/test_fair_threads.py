"""Threads serve workspaces in turn, keep a place for who comes later, and never keep a process."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import pytest

from service.errors import Stopping
from service.fairness.fair_threads import FairThreads
from service.fairness.workspace_turn import SERVICE, current_workspace, working_for

ROOT = Path(__file__).parents[2]


class Gate:
    """Work that waits until it is let go, and notes the order in which it began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.open = threading.Event()
        self.changed = threading.Condition()

    def work(self, name: str):
        def run() -> str:
            with self.changed:
                self.began.append(name)
                self.changed.notify_all()
            assert self.open.wait(30)
            return name

        return run

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.began) >= count, 30)


@pytest.fixture
def gate() -> Iterator[Gate]:
    found = Gate()
    yield found
    found.open.set()


def test_an_item_that_may_run_after_another_has_ended_does_not_wait_for_more(gate: Gate) -> None:
    threads, first = FairThreads(2, name="t"), Gate()
    threads.submit("a", first.work("a0"))
    threads.submit("b", gate.work("b0"))
    first.wait_for(1)
    gate.wait_for(1)
    threads.submit("b", gate.work("b1"))
    threads.submit("a", gate.work("a1"))
    first.open.set()
    # The thread of a0 takes b1, whose turn it is, and nothing else ends that could start a1.
    gate.wait_for(3)
    assert sorted(gate.began) == ["a1", "b0", "b1"]


def test_every_item_of_many_workspaces_runs(gate: Gate) -> None:
    threads = FairThreads(2, name="t")
    names = [f"{workspace}{number}" for number in range(200) for workspace in "abcde"]
    done = [threads.submit(name[0], partial(str, name)) for name in names]
    assert [future.result(30) for future in done] == names
    assert threads.state.waiting == 0


def test_another_workspace_runs_at_once_while_one_holds_every_thread(gate: Gate) -> None:
    threads = FairThreads(2, name="t")
    slow = [threads.submit("a", gate.work(f"a{number}")) for number in range(24)]
    gate.wait_for(2)
    quick = threads.submit("b", gate.work("b0"))
    gate.wait_for(3)
    assert gate.began == ["a0", "a1", "b0"]
    assert threads.state.running == 3
    assert threads.state.waiting == 22
    gate.open.set()
    assert quick.result(30) == "b0"
    assert [future.result(30) for future in slow] == [f"a{number}" for number in range(24)]


def test_the_place_for_others_holds_one_item_and_two_workspaces_share_the_rest(gate: Gate) -> None:
    threads = FairThreads(1, name="t")
    threads.submit("a", gate.work("a0"))
    gate.wait_for(1)
    for name in ("a1", "b0", "b1", "c0"):
        threads.submit(name[0], gate.work(name))
    gate.wait_for(2)
    time.sleep(0.05)
    assert gate.began == ["a0", "b0"]
    gate.open.set()
    gate.wait_for(5)
    assert sorted(gate.began[2:]) == ["a1", "b1", "c0"]


def test_an_error_reaches_its_caller_and_the_thread_goes_on() -> None:
    threads = FairThreads(1, name="t")

    def fail() -> None:
        raise ValueError("bad work")

    with pytest.raises(ValueError, match="bad work"):
        threads.submit("a", fail).result(30)
    assert threads.submit("a", lambda: 7).result(30) == 7


def test_a_caller_that_hangs_up_leaves_the_queue(gate: Gate) -> None:
    threads = FairThreads(1, name="t")
    threads.submit("a", gate.work("a0"))
    gate.wait_for(1)
    waiting = threads.submit("a", gate.work("a1"))
    assert threads.state.waiting == 1
    assert waiting.cancel()
    assert threads.state.waiting == 0
    with pytest.raises(CancelledError):
        waiting.result(0)


def test_a_result_is_freed_as_soon_as_its_caller_lets_go() -> None:
    class Picture:
        pass

    threads = FairThreads(1, name="t")
    gc.disable()
    try:
        future = threads.submit("a", Picture)
        picture = weakref.ref(future.result(30))
        assert picture() is not None
        del future
        threads.submit("a", lambda: None).result(30)
        assert picture() is None
    finally:
        gc.enable()


def test_closing_refuses_what_waits_and_does_not_wait_for_ever(gate: Gate) -> None:
    threads = FairThreads(1, name="t")
    running = threads.submit("a", gate.work("a0"))
    gate.wait_for(1)
    waiting = threads.submit("a", gate.work("a1"))
    assert not threads.close(timeout_s=0.05)
    with pytest.raises(Stopping):
        waiting.result(30)
    with pytest.raises(Stopping):
        threads.submit("b", gate.work("b0"))
    gate.open.set()
    assert running.result(30) == "a0"
    assert threads.close(timeout_s=30)


def test_work_that_never_ends_does_not_keep_a_process_alive() -> None:
    program = (
        "import threading\n"
        "from service.fairness.fair_threads import FairThreads\n"
        "begun = threading.Event()\n"
        "FairThreads(1, name='t').submit('a', lambda: (begun.set(), threading.Event().wait()))\n"
        "begun.wait(30)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60)
    assert ended.returncode == 0


def test_a_workspace_is_named_for_a_block_only() -> None:
    assert current_workspace() == SERVICE
    with working_for("a"):
        assert current_workspace() == "a"
    assert current_workspace() == SERVICE
