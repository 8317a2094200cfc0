"""Work in the background is less urgent than the process, however urgent that is."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from service.errors import InputError
from service.jobs.fit_queue import NICENESS, FitQueue
from service.jobs.threads import LAST, TURN_S, gc_paused, lower_priority, shorten_switch_interval

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads share one niceness")
T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


async def _ask(fits: FitQueue, work: Callable[[], T]) -> T:
    return await fits.run(work)


def test_fits_run_less_urgently_than_requests() -> None:
    fits = FitQueue(threads=1, max_waiting=0)
    try:
        assert asyncio.run(_ask(fits, niceness)) == min(LAST, niceness() + NICENESS)
    finally:
        fits.close()


def test_a_process_that_is_nice_already_steps_back_further() -> None:
    # As a user without rights, who may not make a thread more urgent again.
    script = (
        "import os; from service.jobs.threads import lower_priority\n"
        "os.nice(7); os.getuid() or os.setuid(65534)\n"
        "lower_priority(3); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    run = [sys.executable, "-c", script]
    wanted = min(LAST, niceness() + 7 + 3)
    assert int(subprocess.check_output(run, cwd=ROOT)) == wanted


def test_no_thread_goes_beyond_the_last_step() -> None:
    found: list[int] = []

    def act() -> None:
        lower_priority(50)
        found.append(niceness())

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert found == [LAST]


def test_threads_take_shorter_turns_than_python_lets_them() -> None:
    before = sys.getswitchinterval()
    try:
        shorten_switch_interval()
        assert sys.getswitchinterval() == pytest.approx(TURN_S)
    finally:
        sys.setswitchinterval(before)


def test_no_cycles_are_looked_for_while_any_fit_runs() -> None:
    seen: list[bool] = []
    both_run, first_is_done = threading.Barrier(2), threading.Event()

    def first() -> None:
        with gc_paused():
            both_run.wait()
        first_is_done.set()

    def second() -> None:
        with gc_paused():
            both_run.wait()
            first_is_done.wait()
            seen.append(gc.isenabled())

    assert gc.isenabled()
    threads = [threading.Thread(target=act) for act in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False]
    assert gc.isenabled()


def test_a_fit_that_fails_leaves_the_cycle_collector_on() -> None:
    fits = FitQueue(threads=1, max_waiting=0)

    def fail() -> None:
        assert not gc.isenabled()
        raise InputError("no fit")

    try:
        with pytest.raises(InputError):
            asyncio.run(_ask(fits, fail))
    finally:
        fits.close()
    assert gc.isenabled()


def test_who_had_no_collections_before_has_none_afterwards() -> None:
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
