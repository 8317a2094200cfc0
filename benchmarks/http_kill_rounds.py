"""Kill a service that answers over HTTP with SIGKILL again and again, and verify its audit log.

    python benchmarks/http_kill_rounds.py --rounds 300 --json

Each round starts the service, as ``sonoprobe serve`` does, in a process of its own over one data
folder. A writer adds, changes, deletes and erases scans, three readers predict, search and list.
The process is killed at a random moment, in every tenth round while it starts. After each kill:

- the chain continues the one of the round before, and its kept head is its last entry;
- every acknowledged write has both entries under the request id of its answer, every acknowledged
  read has its one, and every acknowledged write is stored;
- what is stored without having been acknowledged has the entry before it;
- no other entry of a write is without its outcome.

Every tenth round, and after the last, ``sonoprobe audit verify`` reads the whole log.
"""

import base64
import hashlib
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from audit_kill_rounds import new_entries, require
from harness import ROOT, argument_parser, end_in_order, print_report
from PIL import Image

from service.access.keys import create_key
from service.catalog.audit.audit_place import store_of
from service.catalog.audit.audit_records import AuditHead, empty_head
from service.catalog.filter_records import ScanFilter
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.demo import SAMPLES
from service.server import serve
from service.settings import Settings

SMALL_BUNDLE = ROOT / "tests" / "fixtures" / "bundle_v1"  # its accuracy is no matter here
COLLECTION, SUBJECTS, MAX_SCANS = "g", 12, 60
READERS = 3
START_S = 120.0
MAX_ANSWERS = 40  # after as many or fewer it is killed
MAX_WORK_S = 10.0  # or after this time
PAUSE_S = 0.1  # at most, between the last answer that is waited for and the kill
VERIFIED_EVERY = 10
Call: TypeAlias = tuple[str, ...]  # kind, scan id or subject, further values
State: TypeAlias = dict[str, tuple[str, str]]  # scan id -> subject, label
ACTIONS = {
    "add": "add_scans",
    "patch": "patch_scan",
    "delete": "delete_scan",
    "erase": "erase_subject",
}


@dataclass(slots=True)
class Reports:
    """What the clients of one round have begun, and what was answered.

    Attributes:
        writes: calls with the request ids of their answers; None = it was never answered.
        reads: request ids of answers.
    """

    writes: list[tuple[Call, str | None]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return len(self.reads) + sum(request_id is not None for _, request_id in self.writes)


@dataclass(frozen=True, slots=True)
class Killed:
    """The service that is killed: its settings, a key, and pictures to send."""

    settings: Settings
    key: str
    pictures: tuple[bytes, ...]


class Link:
    """One connection to the service."""

    def __init__(self, service: Killed) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", service.settings.port, timeout=60)
        self._key = service.key

    def send(self, method: str, path: str, body: Any = None) -> str:
        """The request id of the answer. Raises OSError, HTTPException: the service was killed.

        Raises:
            RuntimeError: it refused, which it never should here.
        """
        is_file = isinstance(body, bytes)
        kind = "image/png" if is_file else "application/json"
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": kind}
        content = body if is_file or body is None else json.dumps(body).encode()
        self._http.request(method, path, content, headers)
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300 or answer.status == 207:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        for item in (
            json.loads(text).get("items", ()) if path.endswith("/scans") and content else ()
        ):
            if item["scan"]["scan_id"] != body["metadata"][0]["scan_id"]:
                raise RuntimeError("the picture is stored already, as another scan")
        return str(answer.headers["X-Request-Id"])


def plan(state: State, rng: random.Random, number: int) -> Call:
    """The next call of the writer."""
    kind = rng.choice(("add", "add", "patch", "delete") if len(state) < MAX_SCANS else ("delete",))
    if state and rng.random() < 0.05:
        return ("erase", rng.choice(sorted(state.values()))[0])
    if kind == "add" or not state:
        return ("add", f"s{number}", f"p{rng.randrange(SUBJECTS)}", rng.choice("ab"))
    scan_id = rng.choice(sorted(state))
    return (kind, scan_id, rng.choice("abcd")) if kind == "patch" else (kind, scan_id)


def after(state: State, call: Call) -> State:
    """The state that a call makes of another."""
    kind, name, *values = call
    if kind == "add":
        return state | {name: (values[0], values[1])}
    if kind == "patch":
        return state | {name: (state[name][0], values[0])}
    if kind == "delete":
        return {scan_id: scan for scan_id, scan in state.items() if scan_id != name}
    return {scan_id: scan for scan_id, scan in state.items() if scan[0] != name}


def marked(png: bytes, name: str) -> bytes:
    """The picture with noise of its own: the same one of a patient is not stored twice."""
    picture_HW = np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.int16)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    noise_HW = np.random.default_rng(seed).integers(-20, 21, picture_HW.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(picture_HW + noise_HW, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def send_call(link: Link, call: Call, picture: bytes) -> str:
    """The request id of the answer to a write."""
    kind, name, *values = call
    scans = f"/v1/collections/{COLLECTION}/scans"
    if kind == "add":
        facts = {"scan_id": name, "subject_id": values[0], "labels": {"t": values[1]}}
        images = [base64.b64encode(picture).decode()]
        return link.send("POST", scans, {"images": images, "metadata": [facts]})
    if kind == "patch":
        return link.send("PATCH", f"{scans}/{name}", {"labels": {"t": values[0]}})
    path = f"{scans}/{name}" if kind == "delete" else f"/v1/subjects/{name}"
    return link.send("DELETE", path)


def write(service: Killed, state: State, rng: random.Random, reports: Reports) -> None:
    """Write until the service is gone."""
    link = Link(service)
    while True:
        number = rng.getrandbits(40)
        call = plan(state, rng, number)
        reports.writes.append((call, None))
        picture = service.pictures[number % len(service.pictures)]
        request_id = send_call(link, call, marked(picture, call[1]))
        reports.writes[-1] = (call, request_id)
        state = after(state, call)


def read(service: Killed, reader: int, reports: Reports) -> None:
    """Read until the service is gone."""
    link, number = Link(service), reader
    places = ("/v1/classifiers/k/predict", f"/v1/collections/{COLLECTION}/search")
    while True:
        number += READERS
        picture = service.pictures[number % len(service.pictures)]
        if number % 3:
            reports.reads.append(link.send("POST", places[number % 2], picture))
        else:
            reports.reads.append(link.send("GET", f"/v1/collections/{COLLECTION}/scans"))


def started(service: Killed) -> int:
    """The number of a process that serves. A fork, because imports take longer than a round."""
    child = os.fork()
    if child == 0:
        try:
            serve(service.settings)
        except Exception:
            traceback.print_exc()  # why it ended by itself
        finally:
            os._exit(1)
    return child


def prepare(service: Killed) -> None:
    """Store what predictions and searches need, in a run that ends in order."""
    child = started(service)
    wait_until_ready(service, child)
    link = Link(service)
    link.send("POST", "/v1/collections", {"name": COLLECTION})
    for number in range(8):
        call = ("add", f"first{number}", f"p{number}", "ab"[number % 2])
        send_call(link, call, marked(service.pictures[number], call[1]))
    link.send("POST", "/v1/classifiers", {"name": "k", "collection": COLLECTION, "task": "t"})
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)


def round_of(service: Killed, state: State, rng: random.Random, *, early: bool) -> Reports:
    """Start the service, let clients work, and kill it.

    Raises:
        RuntimeError: it ended by itself, or refused a request.
    """
    child = started(service)
    reports, refusals = Reports(), list[RuntimeError]()

    def until_killed(work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, http.client.HTTPException):
            pass  # killed
        except RuntimeError as error:
            refusals.append(error)

    seed = random.Random(rng.getrandbits(40))
    work: list[Callable[[], None]] = [partial(write, service, state, seed, reports)]
    work += [partial(read, service, number, reports) for number in range(READERS)]
    threads = [threading.Thread(target=until_killed, args=[each]) for each in work]
    if early:
        time.sleep(rng.uniform(0, 1.0))
    else:
        wait_until_ready(service, child)
        for thread in threads:
            thread.start()
        enough, until_s = rng.randrange(MAX_ANSWERS), time.monotonic() + MAX_WORK_S
        while reports.answers < enough and time.monotonic() < until_s:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, PAUSE_S))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    for thread in [] if early else threads:
        thread.join()
    require(os.WIFSIGNALED(status), "the service ended by itself")
    if refusals:
        raise refusals[0]
    return reports


def wait_until_ready(service: Killed, child: int) -> None:
    """Ask until it is ready. Raises RuntimeError: it ended, or takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException, RuntimeError):
            Link(service).send("GET", "/health/ready")
            return
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            break
        time.sleep(0.02)
    raise RuntimeError("the service did not become ready")


def check_round(
    reports: Reports, fields: list[dict[str, Any]], state: State, found: State
) -> tuple[State, Counter[str]]:
    """The state after a round, and counts. Raises RuntimeError."""
    counts: Counter[str] = Counter()
    begun = {e["request"]: e["action"] for e in fields if e["outcome"] == "begun"}
    ended = {e["request"] for e in fields if e["outcome"] == "ok" and "request" in e}
    require(set(reports.reads) <= ended, "an acknowledged read has no entry")
    counts["reads"] += len(reports.reads)
    pending: Call | None = None
    for call, request_id in reports.writes:
        if request_id is None:
            pending = call  # only the last one
            continue
        require(begun.get(request_id) == ACTIONS[call[0]], "an acknowledged write has no begin")
        require(request_id in ended, "an acknowledged write has no outcome")
        state = after(state, call)
        counts[call[0]] += 1
    known = {request_id for _, request_id in reports.writes}
    others = {request: action for request, action in begun.items() if request not in known}
    require(len(others) <= (pending is not None), "entries of writes that nobody sent")
    if found != state:
        require(pending is not None, "stored and acknowledged differ")
        if pending is not None:
            named = list(others.values()) == [ACTIONS[pending[0]]]
            require(named, f"stored without an entry before it, or lost: {set(found) ^ set(state)}")
            state = after(state, pending)
        counts["stored_unacknowledged"] += 1
    missing, more = set(state.items()) - set(found.items()), set(found.items()) - set(state.items())
    calls = [call for call, _ in reports.writes]
    require(not missing | more, f"missing {missing}, stored {more}, after the calls {calls}")
    counts["without_outcome"] += len(set(others) - ended)
    return state, counts


def stored(service: Killed, owner: str, since: AuditHead) -> tuple[State, AuditHead, list[Any]]:
    """What the folder holds now: scans, the head of the log, and the entries since another."""
    folder = service.settings.data_dir
    with closing(open_catalog(folder)) as catalog, closing(store_of(catalog)) as store:
        page = catalog.list_scans(owner, COLLECTION, where=ScanFilter(), limit=10_000)
        head, fields = new_entries(store, owner, since)
    found = {s.scan_id: (str(s.subject_id), s.labels["t"]) for s in page.items}
    return found, head, fields


def verify_by_command(folder: Path) -> int:
    """The number of entries that the command has verified.

    Raises:
        RuntimeError: it found something.
    """
    command = [sys.executable, "-m", "service", "audit", "verify", "--json"]
    environment = os.environ | {"SONOPROBE_DATA_DIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    require(done.returncode == 0, f"audit verify: {done.stdout} {done.stderr}")
    return sum(chain["entries"] for chain in json.loads(done.stdout)["chains"])


def run(service: Killed, owner: str, rounds: int, seed: int) -> dict[str, Any]:
    """All rounds; raises RuntimeError at the first thing that is not as it should be."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    prepare(service)
    state, head, _ = stored(service, owner, empty_head(owner))
    verified = 0
    for number in range(rounds):
        reports = round_of(service, state, rng, early=number % 10 == 5)
        found, head, fields = stored(service, owner, head)
        state, counted = check_round(reports, fields, state, found)
        counts += counted
        if number % VERIFIED_EVERY == VERIFIED_EVERY - 1 or number == rounds - 1:
            verified = verify_by_command(service.settings.data_dir)
            print(f"round {number + 1}: {verified} entries verified", file=sys.stderr)
    writes = {kind: counts[kind] for kind in ACTIONS}
    return {
        "rounds": rounds,
        "seed": seed,
        "entries_verified": verified,
        "acknowledged_reads": counts["reads"],
        "acknowledged_writes": writes,
        "killed_between_entry_and_outcome": counts["without_outcome"],
        "stored_unacknowledged": counts["stored_unacknowledged"],
        "lost_or_broken": 0,
    }


def main() -> None:
    """Run all rounds and print what happened."""
    parser = argument_parser(__doc__, with_out=True)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    end_in_order()
    with tempfile.TemporaryDirectory() as folder:
        with closing(open_catalog(Path(folder))) as catalog:
            key, secret = create_key(catalog, "kill", "default")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = Settings(
            data_dir=Path(folder), bundle_dir=SMALL_BUNDLE, port=port, drain_s=0, log_level="ERROR"
        )
        files = sorted(SAMPLES.rglob("*.png"))[:12]
        service = Killed(settings, secret, tuple(file.read_bytes() for file in files))
        start = time.perf_counter()
        report = run(service, key.workspace_id, arguments.rounds, arguments.seed)
        report["elapsed_s"] = round(time.perf_counter() - start, 1)
    print_report(report, arguments)


if __name__ == "__main__":
    main()
