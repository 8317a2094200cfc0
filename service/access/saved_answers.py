"""The answers kept under Idempotency-Keys, and the claim of a key by one request at a time.

Requests of one process wait for each other in memory, in their order. The claim in the catalog
keeps out requests of other processes; it is a lease, so that a process that dies blocks its keys
for seconds only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from service.catalog.access_records import AnswerClaim
from service.catalog.access_records import SavedAnswer as SavedAnswer
from service.catalog.ids import new_id
from service.catalog.interface import Catalog
from service.errors import Overloaded, ServiceError

T = TypeVar("T")
LEASE_S = 10.0
RENEWALS = 4  # in the time of a lease: three may fail or be late
POLL_S = 0.05  # doubles while the other process works
MAX_POLL_S = 0.5
MAX_WAIT_S = 30.0  # proxies give up soon after


@dataclass
class KeyLock:
    """Serialises the requests under one Idempotency-Key; ``users`` counts them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


@dataclass(frozen=True, slots=True)
class KeyToClaim:
    """An Idempotency-Key and the request that wants it; ``owner`` is unique among requests."""

    workspace_id: str
    key: str
    request_sha256: str
    owner: str


class HeldKey:
    """An Idempotency-Key in the hands of one request.

    Attributes:
        saved: the answer of an earlier request; None = this one must work.
        is_over: whether the claim has ended with an answer.
    """

    def __init__(
        self, catalog: Catalog, claimed: KeyToClaim, claim: AnswerClaim, *, keep_s: float
    ) -> None:
        self._catalog = catalog
        self._claimed = claimed
        self._forgettings = claim.forgettings
        self._keep_s = keep_s
        self.saved = claim.saved
        self.is_over = False

    async def save(self, answer: SavedAnswer, *, outlives_deletions: bool = False) -> None:
        """Keep the answer, unless something was deleted since the key was claimed.

        Args:
            outlives_deletions: it repeats nothing that is stored, so a deletion is no reason.
        """
        await asyncio.to_thread(
            self._catalog.save_answer,
            self._claimed.workspace_id,
            self._claimed.key,
            answer,
            keep_s=self._keep_s,
            forgettings=None if outlives_deletions else self._forgettings,
            owner=self._claimed.owner,
        )
        self.is_over = True


class AnswerStore:
    """Keeps each answer for ``keep_s`` seconds.

    Args:
        max_wait_s: for a request of another process under the same key.
        lease_s: after which the key of a process that died is free; renewed a few times in it.
        threads: for the catalog, which other calls cannot fill: a renewal that waits for them is
            too late. None = the default threads of the event loop.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        keep_s: float,
        max_wait_s: float = MAX_WAIT_S,
        lease_s: float = LEASE_S,
        threads: Executor | None = None,
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._keep_s = keep_s
        self._max_wait_s = max_wait_s
        self._lease_s = lease_s
        self.locks: dict[tuple[str, str], KeyLock] = {}

    @asynccontextmanager
    async def hold(
        self, workspace_id: str, key: str, request_sha256: str
    ) -> AsyncIterator[HeldKey]:
        """Let one request at a time use a key, among those of all processes.

        Raises:
            Overloaded: another process still works on a request under this key.
        """
        wanted = KeyToClaim(workspace_id, key, request_sha256, new_id("own"))
        async with self._lock(workspace_id, key):
            claim = await self._claimed(wanted)
            held = HeldKey(self._catalog, wanted, claim, keep_s=self._keep_s)
            if not claim.is_mine:
                yield held
                return
            over = asyncio.Event()
            renewal = asyncio.create_task(self._renew(wanted, over))
            try:
                yield held
            finally:
                over.set()
                await renewal  # else a late renewal would claim the key again
                if not held.is_over:
                    release = self._catalog.release_answer
                    await self._on_thread(partial(release, workspace_id, key, wanted.owner))

    @asynccontextmanager
    async def _lock(self, workspace_id: str, key: str) -> AsyncIterator[None]:
        """Let one request of this process at a time use a key."""
        entry = self.locks.setdefault((workspace_id, key), KeyLock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if entry.users == 0:
                del self.locks[workspace_id, key]

    async def _claimed(self, wanted: KeyToClaim) -> AnswerClaim:
        """The claim or the saved answer, once no other process works under the key."""
        loop = asyncio.get_running_loop()
        deadline_s, poll_s = loop.time() + self._max_wait_s, POLL_S
        while True:
            claim = await self._on_thread(partial(self._claim, wanted))
            if claim.is_mine or claim.saved is not None:
                return claim
            if loop.time() >= deadline_s:
                raise Overloaded("a request under this Idempotency-Key is still at work: repeat it")
            await asyncio.sleep(poll_s)
            poll_s = min(2 * poll_s, MAX_POLL_S)

    async def _on_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _claim(self, wanted: KeyToClaim) -> AnswerClaim:
        return self._catalog.claim_answer(
            wanted.workspace_id,
            wanted.key,
            wanted.request_sha256,
            owner=wanted.owner,
            lease_s=self._lease_s,
        )

    async def _renew(self, wanted: KeyToClaim, over: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), self._lease_s / RENEWALS)
                return
            # The next renewal tries again. A claim that is lost meanwhile refuses the answer.
            with suppress(ServiceError):
                await self._on_thread(partial(self._claim, wanted))
