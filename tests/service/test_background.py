"""Work in the background is less urgent than the process, however urgent that is."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.background import LAST, TURN_S, step_back, take_short_turns
from service.heads.queue import NICENESS, FitQueue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads share one niceness")
ROOT = Path(__file__).parents[2]


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


async def _run(fits: FitQueue) -> int:
    return await fits.run(niceness)


def test_fits_run_less_urgently_than_requests() -> None:
    fits = FitQueue(threads=1, max_waiting=0)
    try:
        assert asyncio.run(_run(fits)) == min(LAST, niceness() + NICENESS)
    finally:
        fits.close()


def test_a_process_that_is_nice_already_steps_back_further() -> None:
    # As a user without rights, who may not make a thread more urgent again.
    script = (
        "import os; os.nice(7); os.getuid() or os.setuid(65534)\n"
        "from service.background import step_back\n"
        "step_back(3); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    run = [sys.executable, "-c", script]
    wanted = min(LAST, niceness() + 7 + 3)
    assert int(subprocess.check_output(run, cwd=ROOT)) == wanted


def test_no_thread_goes_beyond_the_last_step() -> None:
    found: list[int] = []

    def act() -> None:
        step_back(50)
        found.append(niceness())

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert found == [LAST]


def test_threads_take_shorter_turns_than_python_lets_them() -> None:
    before = sys.getswitchinterval()
    try:
        take_short_turns()
        assert sys.getswitchinterval() == pytest.approx(TURN_S)
    finally:
        sys.setswitchinterval(before)
