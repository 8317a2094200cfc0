"""Kill a writing service with SIGKILL again and again, and check what it has stored.

    python benchmarks/kill_rounds.py --rounds 2000 --out kill_rounds.json
    python benchmarks/kill_rounds.py --rounds 200 --engine postgres --json

Each round forks a writer that adds, patches, deletes and erases scans through ``Gallery`` in one
data folder or database, which all rounds share. The writer reports every call that it begins and
every call that was acknowledged, and is killed at a random moment. Then the data are opened again
and compared with the reports:

- every acknowledged add, patch, delete and erasure is stored, with vector and thumbnail;
- the call that was under way is stored as a whole or not at all, and nothing else is;
- a search in the index that the service would start with gives the scores of an exact search over
  the expected vectors;
- every tenth round, and after the last, the file passes ``inspect``; in PostgreSQL, whatever the
  tables say twice agrees.

A writer whose call a busy server refuses for now, as a service does with 503, ends its round too.
A kill does not lose the page cache, so this proves nothing about power cuts, which
tests/catalog/test_power_cut.py simulates.
"""

import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from drawn_scans import scan_image
from harness import argument_parser, end_in_order, print_report
from kill_engines import KilledEngine, PostgresEngine, SqliteEngine

from service.arrays import unit_rows
from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog
from service.catalog.records import NewScan, Scan, ScanPatch, StoredScan
from service.errors import CatalogFailure
from service.gallery.gallery import Gallery
from service.gallery.gallery_records import QueryExample, SearchRequest

DIM, ENCODER, NAME = 16, "enc_kill", "g"
SUBJECTS = 12
MAX_SCANS = 300  # beyond it deletes are as likely as adds
MAX_LINES = 12  # of the writer's report before it is killed; two for each call
REFUSED = ["refused"]  # the last line of a writer whose call a busy server refused
State = dict[str, tuple[int, str, dict[str, str]]]  # scan_id -> (seed, subject_id, labels)


def vector(seed: int) -> np.ndarray:
    """A unit vector that follows from its seed, float32 (D,)."""
    return unit_rows(np.random.default_rng(seed).standard_normal((1, DIM)))[0].astype(np.float32)


def thumbnail(seed: int) -> bytes:
    """Bytes that look like a JPEG from outside and follow from the seed."""
    return b"\xff\xd8" + b"%d " % seed * 50 + b"\xff\xd9"


def new_scan(scan_id: str, seed: int, subject_id: str) -> NewScan:
    """What is stored for one entry of the state."""
    return NewScan(scan_id, scan_image(seed), vector(seed), thumbnail(seed), subject_id)


def plan(state: State, rng: random.Random) -> list[Any]:
    """One call to make, as JSON."""
    draw = rng.random()
    shrink = 0.55 if len(state) > MAX_SCANS else 0.15
    if not state or draw < 0.75 - shrink:
        seeds = [rng.getrandbits(48) for _ in range(rng.randint(1, 4))]
        return ["add", [[f"s{seed}", seed, f"p{rng.randrange(SUBJECTS)}"] for seed in seeds]]
    chosen = rng.choice(sorted(state))
    if draw < 0.95 - shrink:
        return ["patch", chosen, f"v{rng.getrandbits(32)}"]
    if draw < 0.98:
        return ["delete", chosen]
    return ["erase", state[chosen][1]]


def after(state: State, call: list[Any]) -> State:
    """The state that the call leads to."""
    kind, *rest = call
    if kind == "add":
        return state | {scan_id: (seed, subject, {}) for scan_id, seed, subject in rest[0]}
    if kind == "patch":
        seed, subject, _ = state[rest[0]]
        return state | {rest[0]: (seed, subject, {"view": rest[1]})}
    if kind == "delete":
        return {scan_id: entry for scan_id, entry in state.items() if scan_id != rest[0]}
    return {scan_id: entry for scan_id, entry in state.items() if entry[1] != rest[0]}


def apply(call: list[Any], gallery: Gallery, catalog: Catalog, owner: str) -> None:
    """Make the call as the service does."""
    kind, *rest = call
    if kind == "add":
        answers = gallery.store(owner, NAME, [new_scan(*entry) for entry in rest[0]])
        if not all(isinstance(answer, StoredScan) and answer.created for answer in answers):
            raise RuntimeError("an add was not stored as new")
    elif kind == "patch":
        catalog.patch_scan(owner, NAME, rest[0], ScanPatch(labels={"view": rest[1]}))
    elif kind == "delete":
        gallery.remove(owner, NAME, rest[0], if_version=None)
    else:
        gallery.erase_subject(owner, rest[0])


def write_until_killed(engine: KilledEngine, state: State, seed: int, pipe: int) -> NoReturn:
    """The writer. It opens the data first, so that a kill can hit that as well."""
    rng = random.Random(seed)
    catalog, gallery, owner = open_gallery(engine)
    while True:
        call = plan(state, rng)
        os.write(pipe, json.dumps(["begin", call]).encode() + b"\n")
        apply(call, gallery, catalog, owner)
        state = after(state, call)
        os.write(pipe, b'["done"]\n')


def open_gallery(engine: KilledEngine) -> tuple[Catalog, Gallery, str]:
    """Catalog, gallery that can be searched, and the workspace."""
    catalog, search = engine.open(ENCODER, DIM)
    owner = catalog.ensure_workspace("ours").workspace_id
    gallery = Gallery(catalog, search)
    if not any(collection.name == NAME for _, collection in catalog.all_collections()):
        gallery.create(owner, NAME)
    gallery.open()
    return catalog, gallery, owner


def end_of_writer(engine: KilledEngine, pipe: int, write: Callable[[], None]) -> NoReturn:
    """Write; a writer that a busy server refuses reports that, and any other error is printed."""
    try:
        write()
    except CatalogFailure as error:
        if engine.is_busy(error):
            os.write(pipe, json.dumps(REFUSED).encode() + b"\n")
        else:
            traceback.print_exc()
    except Exception:
        traceback.print_exc()  # why it ended by itself
    finally:
        os._exit(1)


def reported_by(lines: list[bytes], status: int) -> list[list[Any]]:
    """What a writer reported. Raises RuntimeError: it was neither killed nor refused."""
    reported = [json.loads(line) for line in lines if line]
    if not os.WIFSIGNALED(status) and REFUSED not in reported[-1:]:
        raise RuntimeError("the writer ended by itself")
    return reported


def kill_writer(
    engine: KilledEngine, state: State, seed: int, *, lines: int, wait_s: float
) -> list[list[Any]]:
    """Run a writer until it has reported so many lines, wait, kill it; return all its lines."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        end_of_writer(engine, writer, lambda: write_until_killed(engine, state, seed, writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines_of_writer = [pipe.readline() for _ in range(lines)]
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
        lines_of_writer += pipe.read().split(b"\n")[:-1]
    _, status = os.waitpid(child, 0)
    return reported_by(lines_of_writer, status)


def stored(catalog: Catalog, owner: str) -> tuple[State, list[Scan]]:
    """What the folder holds; the seeds follow from the scan ids."""
    page = catalog.list_scans(owner, NAME, where=ScanFilter(), limit=1_000_000)
    state = {
        scan.scan_id: (int(scan.scan_id[1:]), str(scan.subject_id), dict(scan.labels))
        for scan in page.items
    }
    return state, list(page.items)


def check_index(gallery: Gallery, owner: str, state: State, rng: random.Random) -> None:
    """The index answers as exact search over the expected vectors does. Raises RuntimeError."""
    if not state:
        return
    names = sorted(state)
    rows_ND = np.stack([vector(state[name][0]) for name in names])
    query_D = vector(rng.getrandbits(40))
    hits = gallery.search(
        owner, SearchRequest((NAME,), (QueryExample(embedding_D=query_D),), k=len(names))
    )
    scores_N = rows_ND @ query_D
    expected = {name: float(score) for name, score in zip(names, scores_N, strict=True)}
    scores = {hit.scan.scan_id: hit.score for hit in hits}
    if scores.keys() != expected.keys():
        raise RuntimeError(f"search returned {len(scores)} scans of {len(expected)}")
    worst = max(abs(scores[name] - expected[name]) for name in names)
    if worst > 1e-5:
        raise RuntimeError(f"a score is {worst} from the exact one")


def run(rounds: int, engine: KilledEngine, *, seed: int) -> dict[str, Any]:
    """All rounds; raises RuntimeError at the first thing that is not as acknowledged."""
    rng = random.Random(seed)
    state: State = {}
    counts: Counter[str] = Counter()
    opening_s: list[float] = []
    for number in range(rounds):
        lines = rng.randint(0, MAX_LINES)
        wait_s = rng.uniform(0, engine.call_s if lines else 5 * engine.call_s)
        lines_of_writer = kill_writer(
            engine, state, rng.getrandbits(40), lines=lines, wait_s=wait_s
        )
        pending: list[Any] | None = None
        for word, *rest in lines_of_writer:
            if word == "begin":
                pending = rest[0]
            elif [word] == REFUSED:
                counts["refused_by_a_busy_server"] += 1
            elif pending is not None:
                state = after(state, pending)
                counts[pending[0]] += 1
                pending = None
        engine.settle()
        started = time.perf_counter()
        catalog, gallery, owner = open_gallery(engine)
        opening_s.append(time.perf_counter() - started)
        stored_state, scans = stored(catalog, owner)
        if pending is not None and stored_state != state:
            state = after(state, pending)
            counts["unacknowledged_but_whole"] += 1
        if stored_state != state:
            raise RuntimeError(f"round {number}: stored and acknowledged differ")
        counts["killed_before_the_first_call"] += not lines_of_writer
        for scan in rng.sample(scans, min(20, len(scans))):
            if catalog.thumbnail(owner, NAME, scan.scan_id) != thumbnail(state[scan.scan_id][0]):
                raise RuntimeError(f"round {number}: a thumbnail is not its scan's")
        check_index(gallery, owner, state, rng)
        gallery.close()
        catalog.close()
        if (number % 10 == 9 or number == rounds - 1) and (findings := engine.findings()):
            raise RuntimeError(f"round {number}: {findings}")
    opening_s.sort()
    return {
        "rounds": rounds,
        "seed": seed,
        "acknowledged": {kind: counts[kind] for kind in ("add", "patch", "delete", "erase")},
        "unacknowledged_but_whole": counts["unacknowledged_but_whole"],
        "killed_before_the_first_call": counts["killed_before_the_first_call"],
        "refused_by_a_busy_server": counts["refused_by_a_busy_server"],
        "lost": 0,
        "scans_at_the_end": len(state),
        "reopening_p50_ms": round(1000 * opening_s[len(opening_s) // 2], 2),
        "reopening_max_ms": round(1000 * opening_s[-1], 2),
    }


@contextmanager
def engine_of(name: str) -> Iterator[KilledEngine]:
    """New, empty data; a server of its own for PostgreSQL."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as scratch:
            yield SqliteEngine(Path(scratch) / "data")
        return
    from catalogs import new_postgres_catalog
    from postgres_process import SERVICE_ROLE, postgres_process

    with postgres_process() as server:
        url = new_postgres_catalog(server)[0]["CATALOG"]
        yield PostgresEngine(url, url.replace(f"//{SERVICE_ROLE}@", "//postgres@"))


def main() -> None:
    """Run all rounds and print what happened."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite")
    arguments = parser.parse_args()
    end_in_order()
    with engine_of(arguments.engine) as engine:
        start = time.perf_counter()
        report = {"engine": arguments.engine} | run(arguments.rounds, engine, seed=arguments.seed)
        report["elapsed_s"] = round(time.perf_counter() - start, 1)
    print_report(report, arguments)


if __name__ == "__main__":
    main()
