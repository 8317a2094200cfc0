"""Several replicas over one PostgreSQL behind HAProxy: kills, crashes of the database, restarts.

    python benchmarks/bench_replicas.py --minutes 10 --json

1. Overhead: scans that are embedded and stored one after the other, by one service over SQLite and
   by one over PostgreSQL, in turns.
2. Scaling: requests a second with one to three replicas. All share this machine's cores, so this
   shows what replicas cost, not what they gain.
3. The main run: 8 writers and 8 readers without pauses. A reader asks another replica than the one
   that wrote. Every 20 s a random replica is killed (SIGKILL) and started again; twice the database
   is stopped with ``pg_ctl stop -m immediate`` and started again.
4. A rolling restart under load: each replica gets SIGTERM and is started again, one after the
   other. Here no client repeats a request, so each failure counts.

At the end all stored scans are compared with what was acknowledged (``lost``). The encoder is the
tiny one of the tests, so that database and service are loaded and not the encoder; its vectors have
16 numbers. Overhead is measured with the shipped encoder too.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from catalogs import new_postgres_catalog, new_sqlite_catalog
from harness import argument_parser, end_in_order, median_ms, print_report
from postgres_process import PostgresProcess, postgres_process
from replica_load import (
    NAME,
    Ledger,
    LoadClient,
    Reader,
    Tally,
    Writer,
    picture,
    run_turns,
    stored_versions,
)
from replica_processes import TINY_BUNDLE, HAProxy, Replica, has_haproxy, replicas

COUNT = 3
KILL_EVERY_S = 20.0
SEEDED = 500
SEEDED_AT_ONCE = 100
LASTING = "seed-0"
SETTINGS = {
    "LOG_LEVEL": "WARNING",
    "REGION": "none",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "DRAIN_S": "2",
    "DECODE_PROCESSES": "1",
    "DECODE_THREADS": "1",
    "ENCODER_THREADS": "1",
}
Parts = dict[str, Any]


def tell(what: str) -> None:
    """How far it is, on standard error."""
    print(time.strftime("%H:%M:%S"), what, file=sys.stderr, flush=True)


class Bench:
    """What all phases share."""

    def __init__(
        self, group: Sequence[Replica], proxy: HAProxy, server: PostgresProcess, key: str
    ) -> None:
        self.group, self.proxy, self.server, self.key = group, proxy, server, key
        self.ledger = Ledger()
        self.names = [replica.name for replica in group]
        self.rng = random.Random(0)

    def seed(self) -> None:
        """Create the collection with scans that nobody changes."""
        client = LoadClient(self.proxy.url, self.key, Tally(), mends=False)
        client.call("create", "POST", "/v1/collections", json={"name": NAME})
        for start in range(0, SEEDED, SEEDED_AT_ONCE):
            numbers = range(start, start + SEEDED_AT_ONCE)
            files = [("files", (f"{n}", picture(self.rng))) for n in numbers]
            metadata = "[" + ", ".join(f'{{"scan_id": "seed-{n}"}}' for n in numbers) + "]"
            path = f"/v1/collections/{NAME}/scans"
            client.call("seed", "POST", path, files=files, data={"metadata": metadata})
        client.close()

    @contextlib.contextmanager
    def load(
        self, writers: int, readers: int, names: Sequence[str], *, mends: bool
    ) -> Iterator[Tally]:
        """Writers and readers that work while the block runs."""
        tally, until, clients = Tally(), threading.Event(), []
        turns: list[Writer | Reader] = []
        for number in range(writers + readers):
            client = LoadClient(self.proxy.url, self.key, tally, mends=mends)
            clients.append(client)
            seed = self.rng.getrandbits(40)
            if number < writers:
                turns.append(Writer(client, self.ledger, seed))
            else:
                turns.append(Reader(client, self.ledger, names, LASTING, seed))
        threads = run_turns(turns, until)
        try:
            yield tally
        finally:
            until.set()
            for thread in threads:
                thread.join(120)
            for client in clients:
                client.close()

    def wait_until_up(self, replica: Replica) -> None:
        """Until the proxy sends requests to it."""
        replica.wait_until_ready()
        while not self.proxy.is_up(replica.name):
            time.sleep(0.1)


def scaling(bench: Bench, seconds: float) -> dict[str, float]:
    """Requests a second by number of replicas; ends with all running."""
    found: dict[str, float] = {}
    for replica in bench.group[1:]:
        replica.stop()
    for count in range(1, len(bench.group) + 1):
        if count > 1:
            bench.group[count - 1].start()
            bench.wait_until_up(bench.group[count - 1])
        with bench.load(8, 8, bench.names[:count], mends=True) as tally:
            time.sleep(seconds)
            answered = sum(map(len, tally.spans.values()))
        found[str(count)] = round(answered / seconds, 1)
    return found


def disturbed(bench: Bench, seconds: float) -> tuple[Tally, dict[str, Any]]:
    """The main run, with kills and crashes."""
    crashes_at_s = [seconds / 3, 2 * seconds / 3]
    down_s: list[float] = []
    killer = Killer(bench)
    with bench.load(8, 8, bench.names, mends=True) as tally:
        begin = time.monotonic()
        while (now_s := time.monotonic() - begin) < seconds:
            if crashes_at_s and now_s >= crashes_at_s[0]:
                crashes_at_s.pop(0)
                down_s.append(crash(bench.server))
            killer.turn()
            time.sleep(0.1)
    figures = {
        "kills": killer.kills,
        "kills_put_off": killer.put_off,
        "replica_ready_again_s": [round(s, 1) for s in sorted(killer.ready_s)],
        "database_crashes": len(down_s),
        "database_down_s": [round(s, 1) for s in down_s],
    }
    return tally, figures


class Killer:
    """Kills a random replica on time, unless no other one is up: then with the next turn.

    Attributes:
        ready_s: times of the replicas that were started again until they were up.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._next_s = time.monotonic() + KILL_EVERY_S
        self._since: dict[str, float] = {}  # by name of a replica that is not up again
        self.kills = self.put_off = 0
        self.ready_s: list[float] = []

    def turn(self) -> None:
        """Kill if it is time."""
        up = [replica for replica in self._bench.group if self._bench.proxy.is_up(replica.name)]
        now = time.monotonic()
        for replica in up:
            # The proxy needs a moment to see that a killed one is down.
            if now - self._since.get(replica.name, now) > 1:
                self.ready_s.append(now - self._since.pop(replica.name))
        if now < self._next_s:
            return
        self._next_s = now + KILL_EVERY_S
        candidates = [replica for replica in up if replica.name not in self._since]
        if len(candidates) < 2:
            self.put_off += 1
            return
        victim = self._bench.rng.choice(candidates)
        victim.kill()
        victim.start()
        self._since[victim.name] = now
        self.kills += 1


def crash(server: PostgresProcess) -> float:
    """Stop the database as a power cut would, start it again; return the seconds between."""
    begin = time.monotonic()
    server.stop("immediate")
    server.start()
    return time.monotonic() - begin


def rolling_restart(bench: Bench) -> dict[str, Any]:
    """Restart each replica in turn under load; every failure counts."""
    codes = []
    with bench.load(4, 4, bench.names, mends=False) as tally:
        time.sleep(3)
        for replica in bench.group:
            codes.append(replica.stop())
            replica.start()
            bench.wait_until_up(replica)
            time.sleep(2)
    return {
        "requests": sum(map(len, tally.spans.values())),
        "failed": sum(tally.errors.values()),
        "failures": dict(tally.errors),
        "stale_reads": sum(tally.stale.values()),
        "exit_codes": codes,
    }


def overhead(server: PostgresProcess, folder: Path, bundle: Path | None, scans: int) -> Parts:
    """Median times of one service over each engine, in turns, ms."""
    settings = SETTINGS | ({} if bundle is None else {"BUNDLE_DIR": str(bundle)})
    rng, times_s = random.Random(1), {}
    with contextlib.ExitStack() as stack:
        calls: dict[str, Callable[[bool], None]] = {}
        for engine in ("sqlite", "postgres"):
            own = folder / f"{engine}-{'shipped' if bundle is None else 'tiny'}"
            own.mkdir()
            if engine == "sqlite":
                catalog, key = new_sqlite_catalog(own / "replica1")
            else:
                catalog, key = new_postgres_catalog(server)
            (replica,) = stack.enter_context(replicas(1, settings | catalog, own))
            calls[engine] = caller(stack, replica, key, rng)
        for engine in calls:
            times_s |= {(engine, kind): [] for kind in ("embed", "store")}
        for number in range(scans + 10):
            for engine, call in calls.items():
                for kind in ("embed", "store"):
                    begin = time.perf_counter()
                    call(kind == "store")
                    if number >= 10:
                        times_s[engine, kind].append(time.perf_counter() - begin)
    found = {f"{engine}_{kind}_ms": median_ms(of, 2) for (engine, kind), of in times_s.items()}
    found["overhead_ms"] = round(found["postgres_store_ms"] - found["sqlite_store_ms"], 2)
    return found


def caller(
    stack: contextlib.ExitStack, replica: Replica, key: str, rng: random.Random
) -> Callable[[bool], None]:
    """A function that embeds a new picture, or embeds and stores it."""
    http = httpx.Client(
        base_url=replica.url,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "image/png"},
        timeout=60,
        trust_env=False,
    )
    stack.callback(http.close)
    http.post("/v1/collections", json={"name": NAME}, headers={"Content-Type": "application/json"})

    def call(is_stored: bool) -> None:
        path = f"/v1/collections/{NAME}/scans" if is_stored else "/v1/embeddings"
        http.post(path, content=picture(rng)).raise_for_status()

    return call


def summary(tally: Tally) -> dict[str, Any]:
    """What the clients of the main run saw."""
    spans = {kind: [end - begin for begin, end in of] for kind, of in tally.spans.items()}
    return {
        "requests": sum(map(len, spans.values())),
        "median_ms": {kind: median_ms(of) for kind, of in sorted(spans.items())},
        "reads": dict(tally.reads),
        "mended": sum(tally.failures.values()),
        "mended_kinds": dict(tally.failures.most_common()),
        "longest_until_mended_s": round(tally.longest_mend_s, 1),
        "answers_503_without_retry_after": tally.without_retry_after,
        "errors": sum(tally.errors.values()),
        "error_kinds": dict(tally.errors),
        "stale_reads": sum(tally.stale.values()),
        "stale_kinds": dict(tally.stale),
    }


def compared(bench: Bench) -> dict[str, Any]:
    """All stored scans against the ledger of all phases."""
    client = LoadClient(bench.proxy.url, bench.key, Tally())
    wrong = bench.ledger.compare(stored_versions(client))
    client.close()
    return {"acknowledged": bench.ledger.counts(), "lost": len(wrong), "lost_kinds": set(wrong)}


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All phases."""
    report: dict[str, Any] = {"replicas": COUNT, "minutes": arguments.minutes}
    with postgres_process() as server:
        if arguments.overhead_scans:
            tell("overhead")
            report["overhead"] = {
                "tiny_encoder": overhead(server, folder, TINY_BUNDLE, arguments.overhead_scans),
                "shipped_encoder": overhead(server, folder, None, arguments.overhead_scans // 2),
            }
        catalog, key = new_postgres_catalog(server)
        settings = SETTINGS | {"BUNDLE_DIR": str(TINY_BUNDLE)} | catalog
        with replicas(COUNT, settings, folder) as group:
            proxy = HAProxy(group, folder)
            with proxy.running():
                bench = Bench(group, proxy, server, key)
                tell("scaling")
                bench.seed()
                report["scaling"] = scaling(bench, arguments.scaling_s)
                tell("kills")
                tally, figures = disturbed(bench, 60 * arguments.minutes)
                report |= summary(tally) | figures | {"proxy": proxy.figures()}
                for replica in group:
                    bench.wait_until_up(replica)
                tell("rolling restart")
                report["rolling_restart"] = rolling_restart(bench)
                report |= compared(bench)
    return report


def plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Sets as sorted lists, for JSON."""
    return {key: sorted(of) if isinstance(of, set) else of for key, of in report.items()}


def main() -> None:
    """Run all phases and print the figures."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--scaling-s", type=float, default=20.0)
    parser.add_argument("--overhead-scans", type=int, default=200, help="0 = not measured")
    arguments = parser.parse_args()
    end_in_order()
    if not has_haproxy():
        raise SystemExit("expected HAProxy: apt-get install haproxy")
    with tempfile.TemporaryDirectory(prefix="sp-replicas-") as scratch:
        report = plain(measure(arguments, Path(scratch)))
    print_report(report, arguments)
    if report["errors"] or report["stale_reads"] or report["lost"]:
        raise SystemExit("acknowledged writes were lost, reads were stale, or requests failed")


if __name__ == "__main__":
    main()
