"""SIGKILL at random moments of any write; see benchmarks/kill_rounds.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("engine", "rounds"),
    [
        ("sqlite", 100),
        pytest.param("sqlite", 400, marks=pytest.mark.slow),
        pytest.param("postgres", 200, marks=[pytest.mark.postgres, pytest.mark.slow]),
    ],
)
def test_hundreds_of_kills_lose_nothing_that_was_acknowledged(engine: str, rounds: int) -> None:
    command = [sys.executable, "benchmarks/kill_rounds.py", "--rounds", f"{rounds}", "--seed", "7"]
    command += ["--engine", engine, "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["rounds"] == rounds
    assert min(report["acknowledged"].values()) > 0, "every kind of call was killed after"
    if engine == "sqlite":  # a server commits and answers in one moment
        assert report["unacknowledged_but_whole"] > 0, "some kills hit between commit and answer"
