"""Writers and readers at the same time, while the index is rebuilt again and again.

    python benchmarks/bench_mixed.py --minutes 10 --out mixed.json

The service runs in this process and each client in one of its own; they speak HTTP. A writer
uploads a new picture, then changes, finds and deletes it. It reads immediately after each
acknowledged write; an answer from before that write is a stale read. A reader searches. Meanwhile
this process rebuilds the index of the collection from the catalog, with pauses; searches that
overlap a rebuild are counted apart. Pictures are noise and are embedded whole, and stored vectors
are random: neither changes the time. A request that is refused because the service is busy (503)
is counted, but is no error.
"""

import argparse
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
from drawn_scans import scan_image
from harness import argument_parser, print_report
from PIL import Image

from service.arrays import unit_rows
from service.catalog.records import NewScan
from service.gallery.embedded_search import EmbeddedSearch
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client

NAME = "mixed"
STORED_AT_ONCE = 2000
REBUILD_PAUSE_S = 2.0
START_S = 15.0  # for the clients to come up
Span = tuple[float, float]


class Worker:
    """One client: what it did, how long it took, and what went wrong.

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

    def lasting_scan_id(self) -> str:
        """The id of a scan that is never deleted."""
        return f"seed-{self.rng.randrange(self.seeded)}"

    def search(self, where: dict[str, Any] | None = None) -> list[str]:
        """Ids of the ten scans most similar to one that is never deleted."""
        query: dict[str, Any] = {"scan_id": self.lasting_scan_id(), "k": 10}
        query |= {} if where is None else {"filter": where}
        hits = self.timed("search", lambda: self.client.search(NAME, query))["items"]
        return [hit["scan"]["scan_id"] for hit in hits]

    def expect(self, what: str, answer: list[str], expected: list[str]) -> None:
        """Note a stale read unless the answer is the one after the write."""
        if answer != expected:
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
        metadata = [{"scan_id": tag, "labels": {"tag": tag}}]
        images = [buffer.getvalue()]
        (item,) = self.timed("add", lambda: self.client.add_scans(NAME, images, metadata))["items"]
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
        label = self.client.scan(NAME, tag)["labels"]["tag"]
        self.expect("read after patch", [label], [f"{tag}-b"])
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


def run_client(arguments: argparse.Namespace) -> None:
    """A client's process: waits for the start, works, prints what it saw."""
    with Client(arguments.url, key=os.environ["SONOPROBE_KEY"]) as client:
        worker = Worker(client, arguments.seed, arguments.scans)
        time.sleep(max(0.0, arguments.begin_s - time.monotonic()))
        worker.work(arguments.role, arguments.until_s)
    record = {"spans": worker.spans, "errors": worker.errors, "stale": worker.stale}
    print(json.dumps(record | {"busy": worker.busy}))


def fill(local: LocalService, scans: int) -> None:
    """Store scans with random directions, past HTTP."""
    services = local.running()
    owner, dim = services.default_workspace_id, services.pipeline.encoder.dim
    rng = np.random.default_rng(0)
    for start in range(0, scans, STORED_AT_ONCE):
        count = min(STORED_AT_ONCE, scans - start)
        rows_ND = unit_rows(rng.standard_normal((count, dim))).astype(np.float32)
        batch = [
            NewScan(f"seed-{number}", scan_image(number), row_D, b"\xff\xd8\xff\xd9")
            for number, row_D in enumerate(rows_ND, start)
        ]
        services.gallery.store(owner, NAME, batch)


def rebuild_until(local: LocalService, begin_s: float, until_s: float) -> list[Span]:
    """Rebuild the index with pauses; return when each rebuild began and ended."""
    services, spans = local.running(), []
    search = services.gallery.vector_search
    if not isinstance(search, EmbeddedSearch):
        raise SystemExit("only the embedded search has an index that can be rebuilt alone")
    time.sleep(max(0.0, begin_s - time.monotonic()) + REBUILD_PAUSE_S)
    while time.monotonic() + REBUILD_PAUSE_S < until_s:
        begin = time.monotonic()
        search.reload(services.default_workspace_id, NAME)
        spans.append((begin, time.monotonic()))
        time.sleep(REBUILD_PAUSE_S)
    return spans


def milliseconds(spans: list[Span], percent: float) -> float | None:
    """A percentile of their lengths."""
    lengths = [1000 * (end - begin) for begin, end in spans]
    return round(float(np.percentile(lengths, percent)), 2) if lengths else None


def summary(records: list[dict[str, Any]], rebuilds: list[Span]) -> dict[str, Any]:
    """All figures."""
    spans: dict[str, list[Span]] = {}
    for record in records:
        for kind, pairs in record["spans"].items():
            spans.setdefault(kind, []).extend((begin, end) for begin, end in pairs)
    searches = spans.get("search", [])
    overlapping = [
        span
        for span in searches
        if any(span[0] < end and begin < span[1] for begin, end in rebuilds)
    ]
    apart = sorted(set(searches) - set(overlapping))
    errors = [error for record in records for error in record["errors"]]
    stale = [what for record in records for what in record["stale"]]
    return {
        "acknowledged_writes": sum(len(spans.get(k, [])) for k in ("add", "patch", "delete")),
        "searches": len(searches),
        "errors": len(errors),
        "error_kinds": sorted(set(errors)),
        "stale_reads": len(stale),
        "stale_kinds": sorted(set(stale)),
        "refused_busy": sum(record["busy"] for record in records),
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


def measure(arguments: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """Start everything, wait, and sum it up."""
    settings = Settings(data_dir=data_dir, bundle_dir=arguments.bundle, region="none", drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection(NAME)
        fill(local, arguments.scans)
        begin_s = time.monotonic() + START_S
        until_s = begin_s + 60 * arguments.minutes
        times = ["--begin-s", str(begin_s), "--until-s", str(until_s)]
        roles = ["writer"] * arguments.writers + ["reader"] * arguments.readers
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--role", role, "--url", local.url, *times),
                    *("--seed", str(number), "--scans", str(arguments.scans)),
                ],
                env=os.environ | {"SONOPROBE_KEY": local.key},
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, role in enumerate(roles)
        ]
        rebuilds = rebuild_until(local, begin_s, until_s)
        records = [json.loads(process.communicate()[0]) for process in processes]
        scans_left = client.collection(NAME)["scans"]
    setup = {
        "minutes": arguments.minutes,
        "writers": arguments.writers,
        "readers": arguments.readers,
        "scans_at_start": arguments.scans,
        "scans_at_end": scans_left,
        "cores": os.cpu_count(),
    }
    return setup | summary(records, rebuilds)


def main() -> None:
    """Measure and print, or be one of the clients."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--bundle", type=Path, help="encoder bundle; the shipped one without it")
    parser.add_argument("--role", choices=("writer", "reader"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--begin-s", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--until-s", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role is not None:
        run_client(arguments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        print_report(measure(arguments, Path(scratch) / "data"), arguments)


if __name__ == "__main__":
    main()
