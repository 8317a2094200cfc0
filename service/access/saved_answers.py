"""The answers kept under Idempotency-Keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.catalog.access_records import SavedAnswer as SavedAnswer
from service.catalog.interface import Catalog


@dataclass
class KeyLock:
    """Serialises the requests under one Idempotency-Key; ``users`` counts them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class AnswerStore:
    """Keeps each answer for ``keep_s`` seconds."""

    def __init__(self, catalog: Catalog, *, keep_s: float) -> None:
        self._catalog = catalog
        self._keep_s = keep_s
        self.locks: dict[tuple[str, str], KeyLock] = {}

    @asynccontextmanager
    async def lock(self, workspace_id: str, key: str) -> AsyncIterator[None]:
        """Let one request at a time use a key."""
        entry = self.locks.setdefault((workspace_id, key), KeyLock())
        entry.users += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.users -= 1
            if entry.users == 0:
                del self.locks[workspace_id, key]

    def find(self, workspace_id: str, key: str) -> SavedAnswer | None:
        """The answer under a key, None without one."""
        return self._catalog.find_answer(workspace_id, key)

    def forgettings(self, workspace_id: str) -> int:
        """How often answers were dropped because of a deletion; for ``save``."""
        return self._catalog.forgettings(workspace_id)

    def save(self, workspace_id: str, key: str, answer: SavedAnswer, forgettings: int) -> None:
        """Keep an answer under a key, unless something was deleted since ``forgettings``."""
        self._catalog.save_answer(
            workspace_id, key, answer, keep_s=self._keep_s, forgettings=forgettings
        )
