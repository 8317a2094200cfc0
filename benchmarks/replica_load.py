"""Writers and readers over several replicas, and a ledger that knows what each answer may say.

A scan has a version in its labels. The ledger notes each change when it is sent and when it is
acknowledged. A read that began after the acknowledgement must show it, whichever replica answers;
it may show a change that is under way. A read asks another replica than the one that wrote.

A request that fails in a way that a client must expect (a broken connection, 502 to 504) is
repeated until it succeeds, writes under the same Idempotency-Key. Other failures are errors.
"""

import io
import random
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
from PIL import Image
from replica_processes import REPLICA_HEADER

NAME = "replicas"
MEND_S = 60.0  # a request that fails for so long is not mended
PAUSE_S = 0.05  # before a request is repeated
BROKEN = (502, 503, 504)
NEAREST = 10
Span = tuple[float, float]


class Unmended(Exception):
    """A request failed for good; it is counted already."""


@dataclass
class Entry:
    """What was asked for one scan, and what was acknowledged."""

    scan_id: str
    begun: int = 0
    acknowledged: int = -1  # not stored yet
    is_being_deleted: bool = False
    is_deleted: bool = False
    replica: str = ""


@dataclass
class Tally:
    """What happened to all requests of a phase."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)  # expected ones, mended by a retry
    errors: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)  # by whether another replica answered
    without_retry_after: int = 0
    longest_mend_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, begin: float, was_mended: bool) -> None:
        """An answered request."""
        end = time.monotonic()
        with self.lock:
            self.spans.setdefault(kind, []).append((begin, end))
            if was_mended:
                self.longest_mend_s = max(self.longest_mend_s, end - begin)

    def fail(self, what: str, *, is_error: bool = False) -> None:
        """A failure: one that a retry shall mend, or an error."""
        with self.lock:
            (self.errors if is_error else self.failures)[what] += 1

    def expect(self, what: str, is_fresh: bool) -> None:
        """Note a stale read."""
        if not is_fresh:
            with self.lock:
                self.stale[what] += 1


class Ledger:
    """All scans of a run, by several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.recent: deque[Entry] = deque(maxlen=64)

    def new(self) -> Entry:
        """A scan that is about to be stored."""
        entry = Entry(f"s{uuid.uuid4().hex}")
        with self.lock:
            self.entries[entry.scan_id] = entry
        return entry

    def acknowledge(self, entry: Entry, replica: str) -> None:
        """The change that was begun last is stored."""
        with self.lock:
            entry.acknowledged = entry.begun
            entry.is_deleted = entry.is_being_deleted
            entry.replica = replica
            self.recent.append(entry)

    def some(self, rng: random.Random) -> tuple[Entry, Entry] | None:
        """A scan that was changed lately, and a copy of what is known of it now."""
        with self.lock:
            if not self.recent:
                return None
            entry = rng.choice(self.recent)
            return entry, replace(entry)

    def counts(self) -> dict[str, int]:
        """How much was acknowledged."""
        entries = [entry for entry in self.entries.values() if entry.acknowledged >= 0]
        return {
            "added": len(entries),
            "changed": sum(entry.acknowledged for entry in entries),
            "deleted": sum(entry.is_deleted for entry in entries),
        }

    def compare(self, stored: dict[str, int]) -> list[str]:
        """What is not as acknowledged, given {scan_id: version} of all scans of the run."""
        wrong = []
        for scan_id, entry in self.entries.items():
            version = stored.get(scan_id)
            if version is None:
                if entry.acknowledged >= 0 and not entry.is_being_deleted:
                    wrong.append("an acknowledged scan is missing")
            elif entry.is_deleted:
                wrong.append("a deleted scan is back")
            elif not entry.acknowledged <= version <= entry.begun:
                wrong.append("an acknowledged change is missing")
        wrong += ["a scan that nobody sent"] * len(stored.keys() - self.entries.keys())
        return wrong


class LoadClient:
    """One client with its own connections.

    Args:
        mends: repeat what failed in an expected way; otherwise that is an error.
    """

    def __init__(self, url: str, key: str, tally: Tally, *, mends: bool = True) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False)
        self.tally, self.mends = tally, mends

    def call(
        self, kind: str, method: str, path: str, *, gone_is_fine: bool = False, **request: Any
    ) -> httpx.Response:
        """The answer, or 404 if that is fine. Raises Unmended."""
        begin, attempts = time.monotonic(), 0
        while True:
            answer, what = self._once(method, path, request)
            if what is None and answer is not None:
                if answer.status_code < 400 or (gone_is_fine and answer.status_code == 404):
                    self.tally.note(kind, begin, attempts > 0)
                    return answer
                self.tally.fail(f"{kind}: {_code(answer)}", is_error=True)
                raise Unmended(_code(answer))
            is_late = time.monotonic() - begin > MEND_S
            self.tally.fail(f"{kind}: {what}", is_error=is_late or not self.mends)
            if is_late or not self.mends:
                raise Unmended(what)
            attempts += 1
            time.sleep(PAUSE_S)

    def _once(
        self, method: str, path: str, request: dict[str, Any]
    ) -> tuple[httpx.Response | None, str | None]:
        """The answer, and what failed in a way that a client must expect."""
        try:
            answer = self.http.request(method, path, **request)
        except httpx.TransportError as error:
            return None, f"broken connection ({type(error).__name__})"
        if answer.status_code not in BROKEN:
            return answer, None
        if answer.status_code == 503 and "retry-after" not in answer.headers:
            is_ours = answer.headers.get("content-type") == "application/problem+json"
            self.tally.without_retry_after += is_ours
        return answer, _code(answer)

    def close(self) -> None:
        """Release the connections."""
        self.http.close()


def _code(answer: httpx.Response) -> str:
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status_code} of the proxy"
    return f"{answer.status_code} {answer.json()['code']}"


def picture(rng: random.Random) -> bytes:
    """A PNG of noise that nobody has sent before."""
    noise = np.random.default_rng(rng.getrandbits(60)).integers(0, 256, (64, 64), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


class Writer:
    """Adds scans, changes and deletes them, as fast as the answers come."""

    def __init__(self, client: LoadClient, ledger: Ledger, seed: int) -> None:
        self._client, self._ledger = client, ledger
        self._rng = random.Random(seed)
        self._mine: list[Entry] = []

    def turn(self) -> None:
        """One write."""
        draw = self._rng.random()
        if len(self._mine) < 5 or draw < 0.5:
            self._add()
        elif draw < 0.8:
            self._change(self._rng.choice(self._mine))
        else:
            self._delete(self._mine.pop(self._rng.randrange(len(self._mine))))

    def _add(self) -> None:
        entry = self._ledger.new()
        answer = self._client.call(
            "add",
            "POST",
            f"/v1/collections/{NAME}/scans",
            files=[("files", ("image", picture(self._rng)))],
            data={"metadata": _metadata(entry)},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )
        (item,) = answer.json()["items"]
        if "problem" in item:
            self._client.tally.fail(f"add: {item['problem']['code']}", is_error=True)
            raise Unmended
        self._acknowledge(entry, answer)
        self._mine.append(entry)

    def _change(self, entry: Entry) -> None:
        entry.begun += 1
        changes = {"labels": {"version": str(entry.begun)}}
        path = f"/v1/collections/{NAME}/scans/{entry.scan_id}"
        self._acknowledge(entry, self._client.call("change", "PATCH", path, json=changes))

    def _delete(self, entry: Entry) -> None:
        entry.is_being_deleted = True
        path = f"/v1/collections/{NAME}/scans/{entry.scan_id}"
        # The first attempt may have deleted it although its answer was lost.
        self._acknowledge(entry, self._client.call("delete", "DELETE", path, gone_is_fine=True))

    def _acknowledge(self, entry: Entry, answer: httpx.Response) -> None:
        self._ledger.acknowledge(entry, answer.headers.get(REPLICA_HEADER, ""))


def _metadata(entry: Entry) -> str:
    labels = f'{{"tag": "{entry.scan_id}", "version": "0"}}'
    return f'[{{"scan_id": "{entry.scan_id}", "labels": {labels}}}]'


class Reader:
    """Reads and searches what was changed lately, at another replica than the one that did it."""

    def __init__(
        self, client: LoadClient, ledger: Ledger, names: Sequence[str], lasting: str, seed: int
    ) -> None:
        self._client, self._ledger = client, ledger
        self._names, self._lasting = names, lasting
        self._rng = random.Random(seed)

    def turn(self) -> None:
        """One read."""
        found = self._ledger.some(self._rng)
        if found is None:
            time.sleep(0.01)
            return
        entry, before = found
        others = [name for name in self._names if name != before.replica]
        chosen = self._rng.choice(others or list(self._names))
        draw = self._rng.random()
        if draw < 0.5:
            answer = self._read(entry, before, chosen)
        elif draw < 0.8:
            answer = self._find(entry, before, chosen)
        else:
            answer = self._search(chosen)
        served = answer.headers.get(REPLICA_HEADER, "")
        with self._client.tally.lock:
            kind = "another_replica" if served != before.replica else "the_same_replica"
            self._client.tally.reads[kind] += 1

    def _read(self, entry: Entry, before: Entry, replica: str) -> httpx.Response:
        answer = self._client.call(
            "read",
            "GET",
            f"/v1/collections/{NAME}/scans/{entry.scan_id}",
            gone_is_fine=True,
            headers={REPLICA_HEADER: replica},
        )
        if answer.status_code == 404:
            self._client.tally.expect("read: a scan is missing", entry.is_being_deleted)
            return answer
        version = int(answer.json()["labels"]["version"])
        self._client.tally.expect("read: a deleted scan", not before.is_deleted)
        is_fresh = before.acknowledged <= version <= entry.begun
        self._client.tally.expect("read: an old version", is_fresh)
        return answer

    def _find(self, entry: Entry, before: Entry, replica: str) -> httpx.Response:
        where = {"labels": {"tag": entry.scan_id, "version": str(before.acknowledged)}}
        answer = self._search(replica, {"filter": where}, kind="filtered search")
        found = [hit["scan"]["scan_id"] for hit in answer.json()["items"]]
        # Only what nobody changes meanwhile has one right answer.
        is_quiet = entry.begun == before.acknowledged and not entry.is_being_deleted
        if before.is_deleted:
            self._client.tally.expect("search: a deleted scan", found == [])
        elif is_quiet:
            self._client.tally.expect("search: a scan is missing", found == [entry.scan_id])
        return answer

    def _search(
        self, replica: str, more: dict[str, Any] | None = None, kind: str = "search"
    ) -> httpx.Response:
        query = {"scan_id": self._lasting, "k": NEAREST, **(more or {})}
        path, headers = f"/v1/collections/{NAME}/search", {REPLICA_HEADER: replica}
        answer = self._client.call(kind, "POST", path, json=query, headers=headers)
        if more is None:
            is_whole = len(answer.json()["items"]) == NEAREST
            self._client.tally.expect("search: a short answer", is_whole)
        return answer


def run_turns(turns: Sequence[Writer | Reader], until: threading.Event) -> list[threading.Thread]:
    """A thread for each; a turn that failed is counted, and the next one begins."""

    def work(of_thread: Writer | Reader) -> None:
        while not until.is_set():
            try:
                of_thread.turn()
            except Unmended:
                time.sleep(PAUSE_S)

    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in turns]
    for thread in threads:
        thread.start()
    return threads


def stored_versions(client: LoadClient) -> dict[str, int]:
    """{scan_id: version} of all scans that the writers stored."""
    stored: dict[str, int] = {}
    params: dict[str, Any] = {"limit": 500}
    while True:
        page = client.call("list", "GET", f"/v1/collections/{NAME}/scans", params=params).json()
        for scan in page["items"]:
            if "version" in scan["labels"]:
                stored[scan["scan_id"]] = int(scan["labels"]["version"])
        if page["next_cursor"] is None:
            return stored
        params["cursor"] = page["next_cursor"]
