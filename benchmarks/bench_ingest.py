"""Send a folder of many pictures to a service in a process of its own, break off, and go on.

    python benchmarks/bench_ingest.py --files 100000 --bundle tests/fixtures/bundle_v1

Pictures are noise of 64 x 64 px, taken whole. With the tiny bundle of the tests the figures are
those of reading, sending, decoding and storing; without ``--bundle`` those of the shipped encoder
as well. The run is killed when half of the files are settled and begun again with the same report;
a third run finds everything settled, a fourth without a report asks the service for every file.
"""

import argparse
import json
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
from PIL import Image

from service.client.client import Client
from service.server import local_service
from service.settings import Settings

PER_FOLDER = 1000
SIDE_PX = 64


def write_pictures(folder: Path, count: int) -> None:
    """Noise, different each."""
    rng = np.random.default_rng(0)
    for start in range(0, count, PER_FOLDER):
        place = folder / f"{start // PER_FOLDER:04d}"
        place.mkdir(parents=True)
        for number in range(start, min(start + PER_FOLDER, count)):
            noise = rng.integers(0, 256, (SIDE_PX, SIDE_PX), np.uint8)
            Image.fromarray(noise).save(place / f"{number:07d}.png", compress_level=0)


def settled(report: Path) -> int:
    """Lines of the report."""
    return report.read_bytes().count(b"\n") - 1 if report.exists() else 0


def send(words: list[str], key: str, *, kill_at: int | None = None, report: Path) -> float:
    """Run the command; return its seconds. Raises RuntimeError: it failed."""
    environment = os.environ | {"SONOPROBE_KEY": key}
    started = time.perf_counter()
    command = [sys.executable, "-m", "service", "ingest", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while kill_at is not None and process.poll() is None and settled(report) < kill_at:
            time.sleep(0.05)
        if kill_at is not None:
            process.send_signal(signal.SIGKILL)
        code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the command ended with {code}")
    return time.perf_counter() - started


def measure(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All four runs."""
    pictures, report = scratch / "pictures", scratch / "report.csv"
    write_pictures(pictures, asked.files)
    settings = Settings(
        data_dir=scratch / "data", bundle_dir=asked.bundle, region="none", drain_s=0
    )
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        words = [str(pictures), "--collection", "bulk", "--url", local.url]
        words += ["--workers", str(asked.workers)]
        told = [*words, "--report", str(report)]
        first_s = send(told, local.key, kill_at=asked.files // 2, report=report)
        before = settled(report)
        second_s = send(told, local.key, report=report)
        third_s = send(told, local.key, report=report)
        fourth_s = send(words, local.key, report=report)
        stored = client.collection("bulk")["scans"]
    return {
        "files": asked.files,
        "workers": asked.workers,
        "cores": os.cpu_count(),
        "settled_when_killed": before,
        "files_per_s": round(asked.files / (first_s + second_s), 1),
        "all_settled_s": round(third_s, 2),
        "all_known_s": round(fourth_s, 2),
        "stored": stored,
        "report_lines": settled(report),
        "command_rss_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--bundle", type=Path, help="Encoder bundle; the shipped one without it.")
    parser.add_argument("--out", type=Path, help="JSON file; standard output without it.")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(measure(asked, Path(scratch)), indent=1)
    if asked.out is not None:
        asked.out.write_text(text + "\n")
    if asked.json or asked.out is None:
        print(json.dumps(json.loads(text)) if asked.json else text)


if __name__ == "__main__":
    main()
