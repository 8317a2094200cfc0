"""Kill a service that keeps an audit log with SIGKILL again and again, and verify the chain.

    python benchmarks/audit_kill_rounds.py --rounds 300 --json
    python benchmarks/audit_kill_rounds.py --rounds 300 --engine postgres --json

As ``kill_rounds``, whose writer and data these are: each call has an entry before it and one after
it, as requests that write have. Four threads of the writer record reads meanwhile. After each kill:

- the chain continues the one of the round before, and agrees with every noted head;
- every acknowledged call has both entries, and every acknowledged read its one;
- what is stored without having been acknowledged has the entry before it;
- no other entry is without its outcome;
- every tenth round, and after the last, the whole chain is verified.
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from harness import argument_parser, end_in_order, print_report
from kill_engines import KilledEngine
from kill_rounds import (
    REFUSED,
    State,
    after,
    apply,
    end_of_writer,
    engine_of,
    open_gallery,
    plan,
    reported_by,
    stored,
)

from service.access.audit.audit_entries import AuditEvent, Outcome, Who
from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_log import AuditLog
from service.access.audit.audit_verification import verify
from service.catalog.audit.audit_place import store_of
from service.catalog.audit.audit_records import AuditHead, AuditStore, continues, empty_head

READERS = 4
READ_PAUSE_S = 0.002
WHO = Who("key", "key_5f2b1c0d9e8a7463aa01", ("curator",))


def record(log: AuditLog, owner: str, action: str, outcome: Outcome, request_id: str) -> None:
    """Return when the entry is on disk."""
    log.write(AuditEvent(owner, action, WHO, outcome, request_id=request_id))


def serve_until_killed(
    engine: KilledEngine, heads: Path, state: State, seed: int, pipe: int
) -> NoReturn:
    """The writer, and the threads that read. It opens everything first, which a kill can hit."""
    rng = random.Random(seed)
    catalog, gallery, owner = open_gallery(engine)
    log = AuditLog(store_of(catalog), HeadsFile(heads))
    log.open()

    def read(reader: int) -> None:
        for number in range(1_000_000):
            name = f"read-{seed}-{reader}-{number}"
            record(log, owner, "search", "ok", name)
            os.write(pipe, json.dumps(["read", name]).encode() + b"\n")
            time.sleep(READ_PAUSE_S)

    for reader in range(READERS):
        threading.Thread(target=read, args=[reader], daemon=True).start()
    for number in range(1_000_000):
        call = plan(state, rng)
        name = f"write-{seed}-{number}"
        os.write(pipe, json.dumps(["begin", call, name]).encode() + b"\n")
        record(log, owner, call[0], "begun", name)
        apply(call, gallery, catalog, owner)
        record(log, owner, call[0], "ok", name)
        state = after(state, call)
        os.write(pipe, json.dumps(["done", name]).encode() + b"\n")
    sys.exit("the writer ended by itself")


def kill_service(
    engine: KilledEngine, heads: Path, state: State, seed: int, *, wait_s: float
) -> list[list[Any]]:
    """Let the writer work for a while after it is open, or kill it while it opens."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        end_of_writer(
            engine, writer, lambda: serve_until_killed(engine, heads, state, seed, writer)
        )
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = [] if seed % 10 == 0 else [pipe.readline()]
        timer = threading.Timer(wait_s, os.kill, (child, signal.SIGKILL))
        timer.start()
        lines += pipe.read().split(b"\n")[:-1]
    timer.cancel()
    _, status = os.waitpid(child, 0)
    return reported_by(lines, status)


def require(is_so: bool, what: str) -> None:
    """Raises RuntimeError."""
    if not is_so:
        raise RuntimeError(what)


def new_entries(
    store: AuditStore, owner: str, since: AuditHead
) -> tuple[AuditHead, list[dict[str, Any]]]:
    """The head now, and the fields of what came since a head, which it continues."""
    entries = store.read(owner, after=since.seq, limit=1_000_000)
    require(continues(since, entries), "the chain does not continue that of the round before")
    (head,) = [head for head in store.heads() if head.chain == owner] or [empty_head(owner)]
    last = (entries[-1].seq, entries[-1].sha256) if entries else (since.seq, since.sha256)
    require((head.seq, head.sha256) == last, "the head that is kept is not the last entry")
    return head, [entry.fields for entry in entries]


def check_round(
    lines: list[list[Any]], fields: list[dict[str, Any]], state: State, found: State
) -> tuple[State, Counter[str]]:
    """The state that was acknowledged, and counts. Raises RuntimeError."""
    counts: Counter[str] = Counter()
    begun = {entry["request"] for entry in fields if entry["outcome"] == "begun"}
    ended = {entry["request"] for entry in fields if entry["outcome"] == "ok"}
    pending: tuple[list[Any], str] | None = None
    for word, *rest in lines:
        if word == "read":
            require(rest[0] in ended, "an acknowledged read has no entry")
            counts["reads"] += 1
        elif word == "begin":
            pending = (rest[0], rest[1])
        elif [word] == REFUSED:
            counts["refused"] += 1
        elif pending is not None:
            require({pending[1]} <= begun & ended, "an acknowledged call lacks an entry")
            state = after(state, pending[0])
            counts["writes"] += 1
            pending = None
    if pending is not None:
        counts["killed_with_entry_before"] += pending[1] in begun
        if found != state:
            require(pending[1] in begun, "something is stored without an entry before it")
            state = after(state, pending[0])
            counts["stored_unacknowledged"] += 1
    left = begun - ended
    require(left <= {pending[1] if pending else ""}, "another entry is without its outcome")
    counts["without_outcome"] += len(left)
    require(found == state, "stored and acknowledged differ")
    return state, counts


def run(rounds: int, engine: KilledEngine, heads: Path, *, seed: int) -> dict[str, Any]:
    """All rounds; raises RuntimeError at the first thing that is not as it should be."""
    rng = random.Random(seed)
    state: State = {}
    counts: Counter[str] = Counter()
    head: AuditHead | None = None
    for number in range(rounds):
        wait_s = rng.uniform(0, 60 * engine.call_s)
        lines = kill_service(engine, heads, state, rng.getrandbits(40), wait_s=wait_s)
        engine.settle()
        catalog, gallery, owner = open_gallery(engine)
        with closing(store_of(catalog)) as store:
            head, fields = new_entries(store, owner, head or empty_head(owner))
            found, _ = stored(catalog, owner)
            state, counted = check_round(lines, fields, state, found)
            counts += counted
            if number % 10 == 9 or number == rounds - 1:
                noted = HeadsFile(heads).read()
                for result in verify(store, noted):
                    require(result.is_sound, f"round {number}: {result.findings}")
        gallery.close()
        catalog.close()
    return {
        "rounds": rounds,
        "seed": seed,
        "entries": 0 if head is None else head.seq,
        "noted_heads": len(HeadsFile(heads).read()),
        "acknowledged_reads": counts["reads"],
        "acknowledged_writes": counts["writes"],
        "killed_between_entry_and_outcome": counts["without_outcome"],
        "stored_unacknowledged": counts["stored_unacknowledged"],
        "refused_by_a_busy_server": counts["refused"],
        "lost_or_broken": 0,
    }


def main() -> None:
    """Run all rounds and print what happened."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite")
    arguments = parser.parse_args()
    end_in_order()
    with engine_of(arguments.engine) as engine, tempfile.TemporaryDirectory() as heads:
        start = time.perf_counter()
        report = {"engine": arguments.engine}
        report |= run(arguments.rounds, engine, Path(heads), seed=arguments.seed)
        report["elapsed_s"] = round(time.perf_counter() - start, 1)
    print_report(report, arguments)


if __name__ == "__main__":
    main()
