"""SIGKILL at random moments of any write; see benchmarks/kill_rounds.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_hundred_kills_lose_nothing_that_was_acknowledged() -> None:
    command = [sys.executable, "benchmarks/kill_rounds.py", "--rounds", "200", "--seed", "7"]
    command.append("--json")
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["rounds"] == 200
    assert min(report["acknowledged"].values()) > 0, "every kind of call was killed after"
    assert report["unacknowledged_but_whole"] > 0, "some kills hit between commit and answer"
