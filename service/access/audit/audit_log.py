"""Writing the audit log: entries of all requests share their way to the disk.

One thread takes whatever waits, chains it and commits it as a group, while the next group gathers.
Whoever waits for an entry waits for its group, so what was answered is on disk. No time is spent
waiting for a group to grow.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from service.access.audit.audit_entries import SERVICE, AuditEvent, Who, keyed_digest
from service.access.audit.audit_heads import HeadsFile
from service.access.audit.audit_verification import Verification, differing, verify_chain
from service.catalog.audit.audit_records import SERVICE_CHAIN, AuditStore, Draft
from service.catalog.ids import now
from service.errors import AuditFailure, ServiceError

log = logging.getLogger(__name__)
MAX_WAITING = 10_000  # entries; beyond it requests are refused
MAX_GROUP = 500  # entries in one commit
MAX_REPEATS = 10_000  # different refusals that are counted at once
SUM_UP_EVERY_S = 60.0
HEADS_EVERY_S = 3600.0
KEY_KEPT_S = 30.0  # in memory, also after another process has destroyed it
SUMMED_UP = frozenset({401, 429, 503})  # statuses of which a flood must not fill the disk


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: AuditEvent
    written: "Future[None] | None"  # None = nobody waits


@dataclass(slots=True)
class _Repeats:
    """How often an equal refusal came since its first one was written."""

    event: AuditEvent
    times: int = 0


class AuditLog:
    """The audit log of one process; ``open`` starts it.

    Args:
        heads: where the ends of the chains are noted, besides the log.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        store: AuditStore,
        heads: HeadsFile,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._heads = heads
        self._clock = clock
        self._wall_clock = wall_clock
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._repeats: dict[tuple[str, Who, str, int, str], _Repeats] = {}
        self._keys: dict[str, tuple[float, bytes]] = {}
        self._is_stopping = False
        self._is_failing = False
        self._noted_at_s = clock()  # when heads were last noted
        self._noted: dict[str, str] = {}  # chain -> digest of the head that was noted last
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self.failures = 0  # groups that could not be stored

    @property
    def head_age_s(self) -> float:
        """Time since the heads of the chains were last noted."""
        return self._clock() - self._noted_at_s

    def open(self) -> None:
        """Compare the heads with those that were noted, note them, and start to write.

        Raises:
            AuditFailure: the log cannot be read, or the heads cannot be noted.
        """
        for chain in differing(self.store, self._heads.read()):
            fields = {"chain": chain}
            log.error("audit log differs from the head that was noted last", extra=fields)
        self._note_heads()
        self._thread.start()

    def close(self) -> None:
        """Write what waits, sum up, note the heads, and release the store."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        self.store.close()

    def check(self) -> None:
        """Raises AuditFailure: entries could not be stored, and still cannot."""
        if self._is_failing:
            self.write(AuditEvent(SERVICE_CHAIN, "audit.recovered", SERVICE, "ok"))

    def submit(self, event: AuditEvent) -> "Future[None]":
        """The future ends when the entry is on disk, or with AuditFailure.

        Raises:
            AuditFailure: too many entries wait, or the log is closed.
        """
        written: Future[None] = Future()
        self._add(_Waiting(event, written))
        return written

    async def record(self, event: AuditEvent) -> None:
        """Return when the entry is on disk. Raises AuditFailure."""
        await asyncio.wrap_future(self.submit(event))

    def write(self, event: AuditEvent) -> None:
        """The same, blocking."""
        self.submit(event).result()

    def note(self, event: AuditEvent) -> None:
        """Write an entry that nobody waits for; if it cannot be stored, a log line says so."""
        try:
            self._add(_Waiting(event, None))
        except AuditFailure:
            self._tell_lost(1)

    def note_refusal(self, event: AuditEvent) -> None:
        """Write the first of equal refusals now, and how many more came once a minute.

        Nobody waits: a flood of refusals must neither fill the disk nor be slowed to its speed.
        """
        key = (event.chain, event.who, event.action, event.status, event.code)
        with self._changed:
            repeats = self._repeats.get(key)
            if repeats is not None:
                repeats.times += 1
                return
            if len(self._repeats) < MAX_REPEATS:
                self._repeats[key] = _Repeats(event)
        self.note(event)

    def verified(self, chain: str, *, after: int, limit: int) -> Verification:
        """Verify a part of a chain, also by the heads that this process can read. Blocks.

        Raises:
            AuditFailure: the log or the heads cannot be read.
        """
        noted = [head for head in self._heads.read() if head.chain == chain]
        return verify_chain(self.store, chain, noted, after=after, limit=limit)

    def digest(self, chain: str, kind: str, name: str) -> str:
        """The keyed digest of a name in a chain. Blocks."""
        return keyed_digest(self.key_of(chain), kind, name)

    def key_of(self, chain: str) -> bytes:
        """The key of the digests of a chain. Blocks."""
        kept = self._keys.get(chain)
        if kept is None or self._clock() - kept[0] > KEY_KEPT_S:
            kept = self._keys[chain] = (self._clock(), self.store.digest_key(chain))
        return kept[1]

    def close_chain(self, chain: str, who: Who) -> None:
        """End the chain of a deleted workspace with an entry, and destroy the key of its digests.

        The entries stay; nobody can tell any more which patients they were about. Blocks.
        """
        self.write(AuditEvent(chain, "audit.closed", who, "ok"))
        self.store.destroy_digest_key(chain)
        self._keys.pop(chain, None)

    def _add(self, waiting: _Waiting) -> None:
        with self._changed:
            if self._is_stopping or len(self._queue) >= MAX_WAITING:
                raise AuditFailure("the audit log takes no more entries now")
            self._queue.append(waiting)
            self._changed.notify()

    def _run(self) -> None:
        sum_up_s = self._clock() + SUM_UP_EVERY_S
        heads_s = self._clock() + self._until_full_hour_s()
        is_over = False
        while not is_over:
            with self._changed:
                wait_s = max(0.0, min(sum_up_s, heads_s) - self._clock())
                self._changed.wait_for(lambda: self._queue or self._is_stopping, wait_s)
                group, self._queue = self._queue[:MAX_GROUP], self._queue[MAX_GROUP:]
                is_over = self._is_stopping and not self._queue
            if self._clock() >= sum_up_s or is_over:
                group += self._summed_up()
                sum_up_s = self._clock() + SUM_UP_EVERY_S
            if group:
                self._store(group)
            if self._clock() >= heads_s or is_over:
                self._try_note_heads()
                heads_s = self._clock() + self._until_full_hour_s()

    def _until_full_hour_s(self) -> float:
        return HEADS_EVERY_S - self._wall_clock() % HEADS_EVERY_S

    def _summed_up(self) -> list[_Waiting]:
        with self._changed:
            repeats, self._repeats = self._repeats, {}
        moment = now()
        return [
            _Waiting(replace(r.event, times=r.times, at=moment), None)
            for r in repeats.values()
            if r.times
        ]

    def _store(self, group: list[_Waiting]) -> None:
        """Commit a group; whoever waits learns how it ended."""
        ours = [w for w in group if w.written is None or w.written.set_running_or_notify_cancel()]
        try:
            self.store.append([self._draft(waiting.event) for waiting in ours])
        except ServiceError as error:
            self._fail(ours, error)
        except Exception as error:  # a bug must not leave the requests waiting for ever
            log.error("bug", exc_info=error)
            self._fail(ours, AuditFailure("the audit log failed"))
        else:
            self._is_failing = False
            for waiting in ours:
                if waiting.written is not None:
                    waiting.written.set_result(None)

    def _fail(self, group: list[_Waiting], error: ServiceError) -> None:
        self.failures += 1
        if not self._is_failing:
            log.error("audit entries not stored", extra={"code": error.code})
        self._is_failing = True
        self._tell_lost(sum(waiting.event.times for waiting in group if waiting.written is None))
        for waiting in group:
            if waiting.written is not None:
                waiting.written.set_exception(type(error)(str(error)))

    def _tell_lost(self, entries: int) -> None:
        if entries:
            log.error("audit entries lost that nobody waited for", extra={"entries": entries})

    def _draft(self, event: AuditEvent) -> Draft:
        return event.draft(lambda kind, name: self.digest(event.chain, kind, name))

    def _note_heads(self) -> None:
        """Note the heads that changed since they were noted. Raises AuditFailure."""
        heads = [h for h in self.store.heads() if self._noted.get(h.chain) != h.sha256]
        if heads:
            self._heads.note(heads)
        self._noted |= {head.chain: head.sha256 for head in heads}
        self._noted_at_s = self._clock()

    def _try_note_heads(self) -> None:
        try:
            self._note_heads()
        except ServiceError as error:  # the age of the heads grows, which raises an alert
            log.error("audit heads not noted", extra={"code": error.code})
        except Exception as error:  # without this thread every request would wait for ever
            log.error("bug", exc_info=error)
