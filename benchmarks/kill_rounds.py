"""Kill a writing service with SIGKILL, again and again, and look at what is left.

    python benchmarks/kill_rounds.py --rounds 2000 --out kill_rounds.json

A round forks a process that adds, patches, deletes and erases scans through ``Gallery`` on one
data folder that lives through all rounds. It says what it begins and what was acknowledged; at a
random moment it is killed. Then the folder is opened again and held against what was said:

- every acknowledged add, patch, delete and erasure is there, with vector and thumbnail;
- the call that was under way happened as a whole or not at all, and nothing else happened;
- searches through the index that the service would start with equal exact search over the
  expected vectors;
- every tenth round, and after the last, the file passes ``inspect``.

A kill leaves the page cache alone, so this says nothing of power cuts; those are simulated in
tests/catalog/test_power_cut.py.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from service.catalog.records import NewScan, Scan, ScanFilter, ScanImage, ScanPatch, StoredScan
from service.catalog.sqlite.inspection import inspect
from service.catalog.sqlite.sqlite_catalog import FILE_NAME, SqliteCatalog, open_catalog
from service.gallery.gallery import Gallery, Query

DIM, ENCODER, NAME = 16, "enc_kill", "g"
SUBJECTS = 12
MOST_SCANS = 300  # beyond it deletes are as likely as adds
MOST_LINES = 12  # that the writer says before it is killed; two for each call
LONGEST_WAIT_S = 0.004  # after the last of them; a call takes about as long
State = dict[str, tuple[int, str, dict[str, str]]]  # scan_id -> (seed, subject_id, labels)


def vector(seed: int) -> np.ndarray:
    """A unit vector that follows from its seed, float32 (D,)."""
    found_D = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return found_D / np.linalg.norm(found_D)


def thumbnail(seed: int) -> bytes:
    """Bytes that look like a JPEG from outside and follow from the seed."""
    return b"\xff\xd8" + b"%d " % seed * 50 + b"\xff\xd9"


def new_scan(scan_id: str, seed: int, subject_id: str) -> NewScan:
    """What is stored for one entry of the state."""
    digest = hashlib.sha256(b"%d" % seed).hexdigest()
    image = ScanImage(digest, "frame", "png", 640, 480, digest)
    return NewScan(scan_id, image, vector(seed), thumbnail(seed), subject_id)


def plan(state: State, rng: random.Random) -> list[Any]:
    """One call to make, as JSON."""
    what = rng.random()
    shrink = 0.55 if len(state) > MOST_SCANS else 0.15
    if not state or what < 0.75 - shrink:
        seeds = [rng.getrandbits(48) for _ in range(rng.randint(1, 4))]
        return ["add", [[f"s{seed}", seed, f"p{rng.randrange(SUBJECTS)}"] for seed in seeds]]
    chosen = rng.choice(sorted(state))
    if what < 0.95 - shrink:
        return ["patch", chosen, f"v{rng.getrandbits(32)}"]
    if what < 0.98:
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
        return {scan_id: found for scan_id, found in state.items() if scan_id != rest[0]}
    return {scan_id: found for scan_id, found in state.items() if found[1] != rest[0]}


def make(call: list[Any], gallery: Gallery, catalog: SqliteCatalog, owner: str) -> None:
    """Make the call as the service does."""
    kind, *rest = call
    if kind == "add":
        answers = gallery.add(owner, NAME, [new_scan(*each) for each in rest[0]])
        if not all(isinstance(answer, StoredScan) and answer.created for answer in answers):
            raise RuntimeError("an add was not stored as new")
    elif kind == "patch":
        catalog.patch_scan(owner, NAME, rest[0], ScanPatch(labels={"view": rest[1]}))
    elif kind == "delete":
        gallery.remove(owner, NAME, rest[0], if_version=None)
    else:
        gallery.erase_subject(owner, rest[0])


def write_until_killed(folder: Path, state: State, seed: int, pipe: int) -> NoReturn:
    """The child: begins with opening, so that the kill may hit that as well."""
    rng = random.Random(seed)
    catalog, gallery, owner = opened(folder)
    while True:
        call = plan(state, rng)
        os.write(pipe, json.dumps(["begin", call]).encode() + b"\n")
        make(call, gallery, catalog, owner)
        state = after(state, call)
        os.write(pipe, b'["done"]\n')


def opened(folder: Path) -> tuple[SqliteCatalog, Gallery, str]:
    """Catalog, galleries with a filled index, and the workspace."""
    catalog = open_catalog(folder)
    owner = catalog.ensure_workspace("ours").workspace_id
    gallery = Gallery(catalog, encoder_id=ENCODER, dim=DIM)
    if not any(found.name == NAME for _, found in catalog.all_collections()):
        gallery.create(owner, NAME, "")
    gallery.rebuild()
    return catalog, gallery, owner


def kill_one(
    folder: Path, state: State, seed: int, *, lines: int, wait_s: float
) -> list[list[Any]]:
    """Run a writer until it has said so much, and a moment longer; return all that it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            write_until_killed(folder, state, seed, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = [pipe.readline() for _ in range(lines)]
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
        said += pipe.read().split(b"\n")[:-1]
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the writer ended by itself")
    return [json.loads(line) for line in said]


def stored(catalog: SqliteCatalog, owner: str) -> tuple[State, list[Scan]]:
    """What the folder holds, with seeds found again from the scan ids."""
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
    hits = gallery.search(owner, NAME, Query(query_D, k=len(names)))
    scores_N = rows_ND @ query_D
    expected = {name: float(score) for name, score in zip(names, scores_N, strict=True)}
    found = {hit.scan.scan_id: hit.score for hit in hits}
    if found.keys() != expected.keys():
        raise RuntimeError(f"search found {len(found)} scans of {len(expected)}")
    worst = max(abs(found[name] - expected[name]) for name in names)
    if worst > 1e-5:
        raise RuntimeError(f"a score is {worst} from the exact one")


def run(rounds: int, folder: Path, *, seed: int) -> dict[str, Any]:
    """All rounds; raises RuntimeError at the first thing that is not as acknowledged."""
    rng = random.Random(seed)
    state: State = {}
    counted: Counter[str] = Counter()
    opening_s: list[float] = []
    for number in range(rounds):
        lines = rng.randint(0, MOST_LINES)
        wait_s = rng.uniform(0, LONGEST_WAIT_S if lines else 5 * LONGEST_WAIT_S)
        said = kill_one(folder, state, rng.getrandbits(40), lines=lines, wait_s=wait_s)
        pending: list[Any] | None = None
        for word, *rest in said:
            if word == "begin":
                pending = rest[0]
            elif pending is not None:
                state = after(state, pending)
                counted[pending[0]] += 1
                pending = None
        started = time.perf_counter()
        catalog, gallery, owner = opened(folder)
        opening_s.append(time.perf_counter() - started)
        found, scans = stored(catalog, owner)
        if pending is not None and found != state:
            state = after(state, pending)
            counted["unacknowledged_but_whole"] += 1
        if found != state:
            raise RuntimeError(f"round {number}: stored and acknowledged differ")
        counted["killed_before_the_first_call"] += not said
        for scan in rng.sample(scans, min(20, len(scans))):
            if catalog.thumbnail(owner, NAME, scan.scan_id) != thumbnail(state[scan.scan_id][0]):
                raise RuntimeError(f"round {number}: a thumbnail is not its scan's")
        check_index(gallery, owner, state, rng)
        catalog.close()
        if number % 10 == 9 or number == rounds - 1:
            inspection = inspect(folder / FILE_NAME)
            if not inspection.is_sound:
                raise RuntimeError(f"round {number}: {sorted(inspection.findings)}")
    opening_s.sort()
    return {
        "rounds": rounds,
        "seed": seed,
        "acknowledged": {kind: counted[kind] for kind in ("add", "patch", "delete", "erase")},
        "unacknowledged_but_whole": counted["unacknowledged_but_whole"],
        "killed_before_the_first_call": counted["killed_before_the_first_call"],
        "lost": 0,
        "scans_at_the_end": len(state),
        "reopening_p50_ms": round(1000 * opening_s[len(opening_s) // 2], 2),
        "reopening_max_ms": round(1000 * opening_s[-1], 2),
    }


def main() -> None:
    """Run and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file; standard output without it.")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        found = run(asked.rounds, Path(scratch) / "data", seed=asked.seed)
        found["elapsed_s"] = round(time.perf_counter() - started, 1)
    text = json.dumps(found, indent=1)
    if asked.out is not None:
        asked.out.write_text(text + "\n")
    if asked.json or asked.out is None:
        print(json.dumps(json.loads(text)) if asked.json else text)


if __name__ == "__main__":
    main()
