"""Replicas as processes over a real PostgreSQL: the demo, and short runs of the benchmarks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from replica_processes import has_haproxy

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "fixtures" / "bundle_v1"


def output_of(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def report_of(script: str, *arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(output_of(script, *arguments, "--json").splitlines()[-1])
    return report


def test_the_demo_goes_on_when_replicas_are_killed() -> None:
    text = output_of(
        "demo_replicas.py", "--own-balancer", "--repeats", "2", "--bundle", str(BUNDLE)
    )
    assert text.count("was killed with SIGKILL") == 2
    assert "60 are in the database, 60 were sent" in text
    assert "2 classifiers were fitted" in text


@pytest.mark.slow
@pytest.mark.skipif(not has_haproxy(), reason="HAProxy is not installed")
def test_nothing_acknowledged_is_lost_when_replicas_and_the_database_are_killed() -> None:
    report = report_of(
        *("bench_replicas.py", "--minutes", "1.5", "--scaling-s", "5", "--overhead-scans", "0")
    )
    assert report["kills"] > 0
    assert report["database_crashes"] == 2
    assert report["mended"] > 0, "something failed and a retry mended it"
    assert report["reads"]["another_replica"] > report["reads"].get("the_same_replica", 0)
    assert report["acknowledged"]["added"] > 0
    assert (report["lost"], report["stale_reads"], report["errors"]) == (0, 0, 0)
    assert report["rolling_restart"]["failed"] == 0
    assert report["rolling_restart"]["exit_codes"] == [0, 0, 0]


@pytest.mark.slow
def test_every_operation_of_killed_workers_ends_once() -> None:
    report = report_of("operation_rounds.py", "--operations", "200")
    assert report["kills"] > 3
    assert report["begun_again"] > 0
    assert report["done"] + report["failed"] == 200
    assert (report["lost"], report["ended_more_than_once"], report["other"]) == (0, 0, 0)
