"""Operations over several processes that are killed again and again: each ends once, none is lost.

    python benchmarks/operation_rounds.py --operations 1000 --json

Three processes work on the operations of one catalog in PostgreSQL. Every 2 s a random one is
killed (SIGKILL) and started again, unless no other one works. Now and then one is halted (SIGSTOP)
for longer than its lease lasts, and goes on afterwards as if nothing had happened. A trigger in the
database, which the workers cannot reach, counts how often each operation ends.

An operation whose process is killed at its third attempt ends as failed (``interrupted``), as in
the service, so that work that crashes a process does not do so for ever.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from harness import ROOT, argument_parser, end_in_order, print_report
from postgres_process import SERVICE_ROLE, PostgresProcess, postgres_process

from service.catalog.operation_records import Operation
from service.catalog.postgres.postgres_catalog import open_postgres
from service.catalog.postgres.postgres_schema import migrate
from service.jobs.operation_workers import JobKind
from service.jobs.operations import Operations
from service.jobs.progress import Progress
from service.observability import configure_logging

WORKERS = 3
KILL_EVERY_S = 2.0
HALT_EVERY = 5  # kills
LEASE_S = 2.0
HALT_S = 2 * LEASE_S
STEPS = 4
KIND = "step"
# Owned by the superuser, so that the role of the service can neither read nor avoid it.
WATCH = """
    CREATE TABLE endings (operation_id text, was text, became text);
    CREATE FUNCTION note_ending() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO endings VALUES (NEW.operation_id, OLD.state, NEW.state);
        RETURN NEW;
    END $$;
    CREATE TRIGGER note_ending AFTER UPDATE ON operations FOR EACH ROW
        WHEN (NEW.state NOT IN ('waiting', 'running') OR OLD.state NOT IN ('waiting', 'running'))
        EXECUTE FUNCTION note_ending()
"""
COUNTS = """
    SELECT count(*) FILTER (WHERE state = 'done') AS done,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state IN ('waiting', 'running')) AS unfinished,
        count(*) FILTER (WHERE attempts > 1) AS begun_again, max(attempts) AS attempts_max,
        count(*) FILTER (WHERE state = 'failed' AND problem NOT LIKE '%interrupted%') AS other
    FROM operations
"""
ENDINGS = """
    SELECT count(DISTINCT operation_id) AS ended, count(*) AS endings FROM endings
"""


def work(folder: Path, step_s: float, operation: Operation, progress: Progress) -> dict[str, Any]:
    """One operation: some steps, then a line in a file that outlives the process."""
    for step in range(STEPS):
        time.sleep(step_s)
        progress.report(step + 1, STEPS)
    with (folder / f"{os.getpid()}.txt").open("a") as file:
        file.write(f"{operation.operation_id}\n")
    return {"process": os.getpid()}


def run_worker(arguments: argparse.Namespace) -> None:
    """A process that works until it is killed."""
    configure_logging("WARNING")
    catalog = open_postgres(os.environ["SONOPROBE_CATALOG"])
    step_s = arguments.work_ms / 1000 / STEPS

    def of_kind(operation: Operation, progress: Progress) -> Mapping[str, Any]:
        return work(arguments.folder, step_s, operation, progress)

    operations = Operations(
        catalog, {KIND: JobKind(of_kind)}, threads=2, max_waiting=10_000, lease_s=LEASE_S
    )
    operations.open()
    (arguments.folder / f"ready-{os.getpid()}").touch()
    signal.pause()


class Worker:
    """One process of ``run_worker``."""

    def __init__(self, url: str, folder: Path, work_ms: float) -> None:
        self._command = [
            *(sys.executable, __file__, "--folder", str(folder), "--work-ms", str(work_ms)),
        ]
        self._environment = os.environ | {"SONOPROBE_CATALOG": url, "PYTHONPATH": str(ROOT)}
        self._folder = folder
        self.start()

    @property
    def is_ready(self) -> bool:
        """Whether it works; a start takes longer than the pause between two kills may be."""
        return (self._folder / f"ready-{self.process.pid}").exists()

    def start(self) -> None:
        """Start it."""
        with (self._folder / "workers.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def halt(self, seconds: float) -> None:
        """Stop it for a while; it does not notice."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


def disturb(workers: list[Worker], unfinished: Any, rng: random.Random) -> tuple[int, int, int]:
    """Kill and halt until nothing is unfinished; return how often, and how often not."""
    kills = halts = put_off = 0
    next_s = time.monotonic() + KILL_EVERY_S
    while unfinished():
        time.sleep(0.1)
        if time.monotonic() < next_s:
            continue
        next_s = time.monotonic() + KILL_EVERY_S
        ready = [worker for worker in workers if worker.is_ready]
        if len(ready) < 2:
            put_off += 1
            continue
        if kills % HALT_EVERY == HALT_EVERY - 1 and halts <= kills // HALT_EVERY:
            rng.choice(ready).halt(HALT_S)
            halts += 1
            continue
        victim = rng.choice(ready)
        victim.kill()
        victim.start()
        kills += 1
    return kills, halts, put_off


def measure(arguments: argparse.Namespace, server: PostgresProcess, folder: Path) -> dict[str, Any]:
    """Store all operations, let the processes work, and count what became of them."""
    name = server.create_database()
    migrate(server.url(name), service_role=SERVICE_ROLE)
    url = server.url(name, role=SERVICE_ROLE)
    rng = random.Random(arguments.seed)
    with (
        psycopg.connect(server.url(name), autocommit=True) as watch,
        contextlib.closing(open_postgres(url)) as catalog,
    ):
        watch.execute(WATCH)
        owners = [catalog.ensure_workspace(f"w{n}").workspace_id for n in range(3)]
        for number in range(arguments.operations):
            catalog.create_operation(owners[number % len(owners)], KIND, {"number": number})
        begin = time.monotonic()
        workers = [Worker(url, folder, arguments.work_ms) for _ in range(WORKERS)]
        try:

            def unfinished() -> bool:
                if time.monotonic() - begin > arguments.timeout_s:
                    return False
                return bool(row(watch, COUNTS)["unfinished"])

            kills, halts, put_off = disturb(workers, unfinished, rng)
        finally:
            for worker in workers:
                worker.kill()
        counts, endings = row(watch, COUNTS), row(watch, ENDINGS)
    finished = [line for file in folder.glob("*.txt") for line in file.read_text().split()]
    taken_over = (folder / "workers.log").read_text().count('"operation taken over"')
    return {
        "operations": arguments.operations,
        "workers": WORKERS,
        "seconds": round(time.monotonic() - begin, 1),
        "kills": kills,
        "kills_put_off": put_off,
        "halts_longer_than_the_lease": halts,
        **counts,
        "lost": arguments.operations - endings["ended"],
        "ended_more_than_once": endings["endings"] - endings["ended"],
        "work_done_twice": len(finished) - len(set(finished)),
        "leases_found_lost_in_time": taken_over,
    }


def row(connection: psycopg.Connection[Any], query: str) -> dict[str, int]:
    """The one row of an answer."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute(query).fetchone()  # type: ignore[call-overload]
    return dict(found or {})


def main() -> None:
    """Run and print, or be one of the workers."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--work-ms", type=float, default=300.0, help="length of one operation")
    parser.add_argument("--timeout-s", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    end_in_order()
    if arguments.folder is not None:
        run_worker(arguments)
        return
    with postgres_process() as server, tempfile.TemporaryDirectory() as scratch:
        report = measure(arguments, server, Path(scratch))
    print_report(report, arguments)
    if report["lost"] or report["ended_more_than_once"] or report["other"]:
        raise SystemExit("operations were lost, ended twice or failed")


if __name__ == "__main__":
    main()
