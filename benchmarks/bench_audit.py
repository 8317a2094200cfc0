"""What the audit log costs: predictions with and without it in one run, appends, verification.

    python benchmarks/bench_audit.py --json

Two services over one bundle run at the same time, one with the log and one without. Rounds of
predictions go to one and the other in turns, whose order changes each round, so that both meet the
same machine. The ratio is the median of the rounds. Beside the rates stands the processor time of a
prediction, which says on a busy machine too what there is less of. The log waits for the disk:
``append_alone_ms`` is the time of one commit.
"""

import http.client
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness import argument_parser, print_report
from service_process import ServiceProcess, service_process

from service.access.audit.audit_entries import AuditEvent, Who
from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_log import AuditLog
from service.access.audit.audit_verification import verify
from service.catalog.audit.audit_records import AuditStore, Draft
from service.catalog.audit.sqlite_audit import AUDIT_FILE, SqliteAudit
from service.cli.demo import SAMPLES
from service.cli.folder_walk import image_files
from sonoprobe_client import PlainClient as Client

APPENDS, WRITERS = 2000, 16
WHO = Who("key", "key_5f2b1c0d9e8a7463aa01", ("reader",))


@contextmanager
def service_of(folder: Path, port: int, *, audit: bool) -> Iterator[ServiceProcess]:
    """Run the service while the block runs, with a fitted classifier."""
    with service_process(folder, port, {"audit": str(audit).lower()}) as service:
        with Client(service.url, key=service.key) as client:
            _teach(client)
        yield service


def _teach(client: Client) -> None:
    client.create_collection("c")
    files, metadata = [], []
    for scene in ("cyst", "stone"):
        for file in sorted((SAMPLES / scene).glob("*.png"))[:8]:
            files.append(file.read_bytes())
            metadata.append({"labels": {"t": scene}})
    client.add_scans("c", files, metadata)
    client.fit({"name": "k", "collection": "c", "task": "t"})


def processor_s(pid: int) -> float:
    """Processor time of a process and its children so far."""
    ticks = 0
    for process in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime (proc(5))
    return ticks / os.sysconf("SC_CLK_TCK")


def predictions_s(
    service: ServiceProcess, images: list[bytes], clients: int, seconds: float
) -> tuple[float, float]:
    """Predictions per second of concurrent clients, one image each; processor ms of one."""
    done, lock, stop = 0, threading.Lock(), time.perf_counter() + seconds

    def work(worker: int) -> None:
        nonlocal done
        link = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "image/png"}
        number = worker
        while time.perf_counter() < stop:
            link.request("POST", "/v1/classifiers/k/predict", images[number % len(images)], headers)
            answer = link.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read())
            answer.read()
            number += clients
            with lock:
                done += 1

    began, used_s = time.perf_counter(), processor_s(service.pid)
    threads = [threading.Thread(target=work, args=[worker]) for worker in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used_s = processor_s(service.pid) - used_s
    return done / (time.perf_counter() - began), 1000 * used_s / done


def compare(
    services: dict[str, ServiceProcess],
    images: list[bytes],
    *,
    clients: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Both services in turns; the first round is warm-up."""
    rates: dict[str, list[float]] = {name: [] for name in services}
    costs: dict[str, list[float]] = {name: [] for name in services}
    for number in range(rounds + 1):
        order = list(services) if number % 2 else list(reversed(services))
        for name in order:
            rate, cost_ms = predictions_s(services[name], images, clients, seconds)
            if number:
                rates[name].append(rate)
                costs[name].append(cost_ms)
    ratios = [a / b for a, b in zip(rates["audited"], rates["plain"], strict=True)]
    return {
        "clients": clients,
        "per_second": {name: round(statistics.median(found), 2) for name, found in rates.items()},
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
        "processor_ms": {name: round(statistics.median(ms), 2) for name, ms in costs.items()},
        "rounds": rounds,
    }


def draft(number: int) -> Draft:
    """An entry of usual length."""
    event = AuditEvent("ws_1", "predict_items", WHO, "ok", {"classifier": ["k"]}, status=200)
    event.request_id = f"req_{number:016x}"
    return event.draft(lambda kind, name: name)


def store_figures(store: AuditStore, folder: Path) -> dict[str, Any]:
    """Appends one at a time and from many threads, and verification, of one store."""
    start = time.perf_counter()
    for number in range(APPENDS // 10):
        store.append([draft(number)])
    single_s = (time.perf_counter() - start) / (APPENDS // 10)
    log = AuditLog(store, HeadsFile(folder))
    log.open()

    def write() -> None:
        for _ in range(APPENDS // WRITERS):
            log.write(AuditEvent("ws_1", "predict_items", WHO, "ok", {"classifier": ["k"]}))

    start = time.perf_counter()
    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grouped = WRITERS * (APPENDS // WRITERS) / (time.perf_counter() - start)
    for start_at in range(0, 50_000, 500):
        store.append([draft(start_at + number) for number in range(500)])
    start = time.perf_counter()
    (result,) = verify(store, store.heads())
    verified = result.entries / (time.perf_counter() - start)
    if not result.is_sound:
        raise RuntimeError("the chain does not verify")
    log.close()
    return {
        "append_alone_ms": round(1000 * single_s, 2),
        "appends_per_second_16_waiting": round(grouped),
        "entries": result.entries,
        "verified_per_second": round(verified),
    }


def stores(*, with_postgres: bool) -> dict[str, Any]:
    """The figures of each engine."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = SqliteAudit(folder / AUDIT_FILE)
        figures["sqlite"] = store_figures(store, folder)
        size = sum(file.stat().st_size for file in folder.glob(f"{AUDIT_FILE}*"))
        figures["sqlite"]["bytes_per_entry"] = round(size / figures["sqlite"]["entries"])
        if with_postgres:
            from catalogs import new_postgres_catalog
            from postgres_process import postgres_process

            from service.catalog.audit.postgres_audit import PostgresAudit
            from service.catalog.postgres.postgres_database import PostgresDatabase

            with postgres_process() as server:
                database = PostgresDatabase(new_postgres_catalog(server)[0]["CATALOG"])
                figures["postgres"] = store_figures(PostgresAudit(database), folder / "heads")
                database.close()
    return figures


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--postgres", action="store_true", help="also the store in PostgreSQL")
    parser.add_argument("--port", type=int, default=8391)
    arguments = parser.parse_args()
    images = [file.read_bytes() for file in image_files(SAMPLES)[:40]]
    report: dict[str, Any] = {"stores": stores(with_postgres=arguments.postgres), "predictions": []}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        services = {
            name: stack.enter_context(
                service_of(Path(scratch) / name, arguments.port + place, audit=name == "audited")
            )
            for place, name in enumerate(("audited", "plain"))
        }
        for clients in arguments.clients:
            report["predictions"].append(
                compare(
                    services,
                    images,
                    clients=clients,
                    rounds=arguments.rounds,
                    seconds=arguments.seconds,
                )
            )
    print_report(report, arguments)


if __name__ == "__main__":
    main()
