"""SIGKILL at random moments of any write; see benchmarks/kill_rounds.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def report_of(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of the benchmarks, which has to succeed, and read its report."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", "--seed", "7", "--json", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize(
    ("engine", "rounds"),
    [
        ("sqlite", 100),
        pytest.param("sqlite", 400, marks=pytest.mark.slow),
        pytest.param("postgres", 200, marks=[pytest.mark.postgres, pytest.mark.slow]),
    ],
)
def test_hundreds_of_kills_lose_nothing_that_was_acknowledged(engine: str, rounds: int) -> None:
    report = report_of("kill_rounds.py", "--rounds", f"{rounds}", "--engine", engine)
    assert report["rounds"] == rounds
    assert min(report["acknowledged"].values()) > 0, "every kind of call was killed after"
    if engine == "sqlite":  # a server commits and answers in one moment
        assert report["unacknowledged_but_whole"] > 0, "some kills hit between commit and answer"


REFUSED_ROUND = """
from kill_engines import PostgresEngine
from kill_rounds import kill_writer
nowhere = PostgresEngine("postgresql:///x?host=/nowhere", "")
print(kill_writer(nowhere, {}, 7, lines=1, wait_s=0.0))
"""


def test_a_writer_that_a_busy_server_refuses_ends_its_round_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_ROUND],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[['refused']]\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_three_hundred_kills_leave_an_audit_chain_that_verifies(engine: str) -> None:
    report = report_of("audit_kill_rounds.py", "--rounds", "300", "--engine", engine)
    assert report["acknowledged_reads"] > 300
    assert report["acknowledged_writes"] > 300
    assert report["killed_between_entry_and_outcome"] > 0


@pytest.mark.slow
def test_kills_of_a_service_over_http_leave_an_audit_chain_that_verifies() -> None:
    report = report_of("http_kill_rounds.py", "--rounds", "20")
    assert report["acknowledged_reads"] > 0
    assert sum(report["acknowledged_writes"].values()) > 0
