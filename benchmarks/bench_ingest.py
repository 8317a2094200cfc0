"""Ingest a folder of many pictures from a process that is killed half way and started again.

    python benchmarks/bench_ingest.py --files 100000 --bundle tests/fixtures/bundle_v1

Pictures are noise of 64 x 64 px and are embedded whole. With the tiny bundle of the tests the
figures are those of reading, sending, decoding and storing; without ``--bundle`` they include the
shipped encoder. The first run is killed when its report names half of the files, and the second
goes on with the same report. The third finds every file in the report. The fourth has no report and
asks the service about every file.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import argument_parser, print_report
from PIL import Image

from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client

PER_FOLDER = 1000
SIDE_PX = 64


def write_pictures(folder: Path, count: int) -> None:
    """Noise, another one in each file."""
    rng = np.random.default_rng(0)
    for start in range(0, count, PER_FOLDER):
        place = folder / f"{start // PER_FOLDER:04d}"
        place.mkdir(parents=True)
        for number in range(start, min(start + PER_FOLDER, count)):
            noise = rng.integers(0, 256, (SIDE_PX, SIDE_PX), np.uint8)
            Image.fromarray(noise).save(place / f"{number:07d}.png", compress_level=0)


def report_lines(report: Path) -> int:
    """Lines of the report without its head: files whose outcome is known."""
    return report.read_bytes().count(b"\n") - 1 if report.exists() else 0


def ingest(words: list[str], key: str, *, kill_at: int | None = None, report: Path) -> float:
    """Run the command; return its seconds. Raises RuntimeError: it failed."""
    environment = os.environ | {"SONOPROBE_KEY": key}
    started = time.perf_counter()
    command = [sys.executable, "-m", "service", "ingest", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while kill_at is not None and process.poll() is None and report_lines(report) < kill_at:
            time.sleep(0.05)
        if kill_at is not None:
            process.send_signal(signal.SIGKILL)
        code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the command ended with {code}")
    return time.perf_counter() - started


def measure(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All four runs."""
    pictures, report = scratch / "pictures", scratch / "report.csv"
    write_pictures(pictures, arguments.files)
    settings = Settings(
        data_dir=scratch / "data", bundle_dir=arguments.bundle, region="none", drain_s=0
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        words = [str(pictures), "--collection", "bulk", "--url", local.url]
        words += ["--workers", str(arguments.workers)]
        with_report = [*words, "--report", str(report)]
        first_s = ingest(with_report, local.key, kill_at=arguments.files // 2, report=report)
        when_killed = report_lines(report)
        second_s = ingest(with_report, local.key, report=report)
        third_s = ingest(with_report, local.key, report=report)
        fourth_s = ingest(words, local.key, report=report)
        stored = client.collection("bulk")["scans"]
    return {
        "files": arguments.files,
        "workers": arguments.workers,
        "cores": os.cpu_count(),
        "settled_when_killed": when_killed,
        "files_per_s": round(arguments.files / (first_s + second_s), 1),
        "all_settled_s": round(third_s, 2),
        "all_known_s": round(fourth_s, 2),
        "stored": stored,
        "report_lines": report_lines(report),
        "command_rss_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--bundle", type=Path, help="encoder bundle; the shipped one without it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print_report(measure(arguments, Path(scratch)), arguments)


if __name__ == "__main__":
    main()
