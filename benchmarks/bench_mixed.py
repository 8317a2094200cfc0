"""Writers and readers at the same time, while the index is rebuilt again and again.

    python benchmarks/bench_mixed.py --minutes 10 --out mixed.json

The service runs in this process, each client in one of its own, over HTTP. A writer uploads a new
picture and changes, finds and deletes it; after each acknowledged write it reads at once, and an
answer from before that write is a stale read. A reader searches. Meanwhile this process has the
index of the collection rebuilt from the catalog, with pauses; searches that overlap a rebuild are
counted apart. Pictures are noise, taken whole, and stored vectors are random: neither matters for
the time.
A request that is refused because the service is busy (503) is no error, and is counted.
"""

import argparse
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from service.catalog.records import NewScan, ScanImage
from service.client.client import ApiError, Client
from service.server import LocalService, local_service
from service.settings import Settings

NAME = "mixed"
STORED_AT_ONCE = 2000
REBUILD_PAUSE_S = 2.0
START_S = 15.0  # for the clients to come up
Span = tuple[float, float]


class Worker:
    """One client: what it did, how long it took, and what was wrong.

    Attributes:
        spans: (begin, end) of each call by kind, in seconds of the system's monotonic clock.
    """

    def __init__(self, client: Client, seed: int, seeded: int) -> None:
        self.client, self.seeded = client, seeded
        self.rng = random.Random(seed)
        self.spans: dict[str, list[Span]] = {}
        self.errors: list[str] = []
        self.stale: list[str] = []
        self.busy = 0

    def timed(self, kind: str, call: Callable[[], Any]) -> Any:
        """The answer of the call."""
        begin = time.monotonic()
        answer = call()
        self.spans.setdefault(kind, []).append((begin, time.monotonic()))
        return answer

    def anything(self) -> str:
        """The id of a scan that is never deleted."""
        return f"seed-{self.rng.randrange(self.seeded)}"

    def search(self, where: dict[str, Any] | None = None) -> list[str]:
        """Scan ids that are found around a scan of the first ones."""
        query: dict[str, Any] = {"scan_id": self.anything(), "k": 10}
        query |= {} if where is None else {"filter": where}
        hits = self.timed("search", lambda: self.client.search(NAME, query))["hits"]
        return [hit["scan"]["scan_id"] for hit in hits]

    def expect(self, what: str, found: list[str], expected: list[str]) -> None:
        """Note a stale read unless the answer is the one after the write."""
        if found != expected:
            self.stale.append(what)

    def read_once(self) -> None:
        """One search."""
        if len(self.search()) != 10:
            self.errors.append("a search found fewer than 10 scans")

    def write_once(self) -> None:
        """Add a scan, change it, and delete it half of the time; read after each."""
        tag = f"t{self.rng.getrandbits(60)}"
        noise = np.random.default_rng(self.rng.getrandbits(60)).integers(0, 256, (64, 64), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG")
        said = [{"scan_id": tag, "labels": {"tag": tag}}]
        (item,) = self.timed("add", lambda: self.client.add_scans(NAME, [buffer.getvalue()], said))[
            "items"
        ]
        if "problem" in item:
            if item["problem"]["status"] == 503:
                self.busy += 1
            else:
                self.errors.append(item["problem"]["code"])
            return
        self.expect("search after add", self.search({"labels": {"tag": tag}}), [tag])
        changes = {"labels": {"tag": f"{tag}-b"}}
        self.timed("patch", lambda: self.client.patch_scan(NAME, tag, changes))
        self.expect("search after patch", self.search({"labels": {"tag": tag}}), [])
        self.expect("search for patch", self.search({"labels": {"tag": f"{tag}-b"}}), [tag])
        found = self.client.scan(NAME, tag)["labels"]["tag"]
        self.expect("read after patch", [found], [f"{tag}-b"])
        if self.rng.random() < 0.5:
            self.timed("delete", lambda: self.client.delete_scan(NAME, tag))
            self.expect("search after delete", self.search({"labels": {"tag": f"{tag}-b"}}), [])
            try:
                self.client.scan(NAME, tag)
            except ApiError as error:
                self.expect("read after delete", [error.code], ["unknown_item"])
            else:
                self.stale.append("read after delete")

    def work(self, role: str, until_s: float) -> None:
        """Go on until then; failures are noted and the next turn begins."""
        turn = self.write_once if role == "writer" else self.read_once
        while time.monotonic() < until_s:
            try:
                turn()
            except ApiError as error:
                if error.status == 503:
                    self.busy += 1
                    time.sleep(0.05)
                else:
                    self.errors.append(error.code)
            except httpx.HTTPError as error:
                self.errors.append(type(error).__name__)


def run_client(asked: argparse.Namespace) -> None:
    """A client's process: waits for the start, works, prints what it saw."""
    with Client(asked.url, key=os.environ["SONOPROBE_KEY"]) as client:
        worker = Worker(client, asked.seed, asked.scans)
        time.sleep(max(0.0, asked.begin_s - time.monotonic()))
        worker.work(asked.role, asked.until_s)
    seen = {"spans": worker.spans, "errors": worker.errors, "stale": worker.stale}
    print(json.dumps(seen | {"busy": worker.busy}))


def fill(local: LocalService, scans: int) -> None:
    """Store scans with random directions, past HTTP."""
    running = local.running()
    owner, dim = running.default_workspace_id, running.pipeline.encoder.dim
    rng = np.random.default_rng(0)
    for start in range(0, scans, STORED_AT_ONCE):
        count = min(STORED_AT_ONCE, scans - start)
        rows_ND = rng.standard_normal((count, dim)).astype(np.float32)
        rows_ND /= np.linalg.norm(rows_ND, axis=1, keepdims=True)
        batch = [
            NewScan(
                f"seed-{start + i}",
                _image(start + i),
                row_D,
                b"\xff\xd8\xff\xd9",
            )
            for i, row_D in enumerate(rows_ND)
        ]
        running.gallery.add(owner, NAME, batch)


def rebuild_until(local: LocalService, begin_s: float, until_s: float) -> list[Span]:
    """Rebuild the index with pauses; when each rebuild began and ended."""
    running, spans = local.running(), []
    time.sleep(max(0.0, begin_s - time.monotonic()) + REBUILD_PAUSE_S)
    while time.monotonic() + REBUILD_PAUSE_S < until_s:
        begin = time.monotonic()
        running.gallery.reload(running.default_workspace_id, NAME)
        spans.append((begin, time.monotonic()))
        time.sleep(REBUILD_PAUSE_S)
    return spans


def milliseconds(spans: list[Span], percent: float) -> float | None:
    """A percentile of their lengths."""
    lengths = [1000 * (end - begin) for begin, end in spans]
    return round(float(np.percentile(lengths, percent)), 2) if lengths else None


def summary(seen: list[dict[str, Any]], rebuilds: list[Span]) -> dict[str, Any]:
    """All figures."""
    spans: dict[str, list[Span]] = {}
    for one in seen:
        for kind, found in one["spans"].items():
            spans.setdefault(kind, []).extend((begin, end) for begin, end in found)
    searches = spans.get("search", [])
    overlapping = [
        span
        for span in searches
        if any(span[0] < end and begin < span[1] for begin, end in rebuilds)
    ]
    apart = sorted(set(searches) - set(overlapping))
    errors = [error for one in seen for error in one["errors"]]
    stale = [what for one in seen for what in one["stale"]]
    return {
        "acknowledged_writes": sum(len(spans.get(k, [])) for k in ("add", "patch", "delete")),
        "searches": len(searches),
        "errors": len(errors),
        "error_kinds": sorted(set(errors)),
        "stale_reads": len(stale),
        "stale_kinds": sorted(set(stale)),
        "refused_busy": sum(one["busy"] for one in seen),
        "rebuilds": len(rebuilds),
        "rebuild_p50_ms": milliseconds(rebuilds, 50),
        "search_p50_ms": milliseconds(searches, 50),
        "search_p99_ms": milliseconds(searches, 99),
        "searches_during_rebuild": len(overlapping),
        "search_p50_ms_during_rebuild": milliseconds(overlapping, 50),
        "search_p99_ms_during_rebuild": milliseconds(overlapping, 99),
        "search_p99_ms_otherwise": milliseconds(apart, 99),
        "add_p50_ms": milliseconds(spans.get("add", []), 50),
        "patch_p50_ms": milliseconds(spans.get("patch", []), 50),
    }


def measure(asked: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """Start everything, wait, and add it up."""
    settings = Settings(data_dir=data_dir, bundle_dir=asked.bundle, region="none", drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection(NAME)
        fill(local, asked.scans)
        begin_s = time.monotonic() + START_S
        until_s = begin_s + 60 * asked.minutes
        times = ["--begin-s", str(begin_s), "--until-s", str(until_s)]
        roles = ["writer"] * asked.writers + ["reader"] * asked.readers
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--role", role, "--url", local.url, *times),
                    *("--seed", str(number), "--scans", str(asked.scans)),
                ],
                env=os.environ | {"SONOPROBE_KEY": local.key},
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, role in enumerate(roles)
        ]
        rebuilds = rebuild_until(local, begin_s, until_s)
        seen = [json.loads(process.communicate()[0]) for process in processes]
        left = client.collection(NAME)["scans"]
    told = {
        "minutes": asked.minutes,
        "writers": asked.writers,
        "readers": asked.readers,
        "scans_at_start": asked.scans,
        "scans_at_end": left,
        "cores": os.cpu_count(),
    }
    return told | summary(seen, rebuilds)


def _image(number: int) -> ScanImage:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    return ScanImage(digest, "frame", "png", 640, 480, digest)


def main() -> None:
    """Measure and write JSON, or be one of the clients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--bundle", type=Path, help="Encoder bundle; the shipped one without it.")
    parser.add_argument("--out", type=Path, help="JSON file; standard output without it.")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--role", choices=("writer", "reader"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--begin-s", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--until-s", type=float, default=0.0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role is not None:
        run_client(asked)
        return
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(measure(asked, Path(scratch) / "data"), indent=1)
    if asked.out is not None:
        asked.out.write_text(text + "\n")
    if asked.json or asked.out is None:
        print(json.dumps(json.loads(text)) if asked.json else text)


if __name__ == "__main__":
    main()
