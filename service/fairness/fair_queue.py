"""A bounded queue that serves workspaces in turn, and a quota of what each may hold.

A workspace that sends much waits for itself: the others find room, and each is served after at
most one item of every workspace that waits.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import Overloaded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueState:
    """How busy a queue is.

    Attributes:
        waiting: number of items that wait.
        running: number of items that are being worked on.
        oldest_s: age of the item that has waited longest, seconds; 0 when none waits.
    """

    waiting: int
    running: int
    oldest_s: float


def reserve_of(limit: int) -> int:
    """Places beyond ``limit`` for workspaces that hold few: a quarter, at least one."""
    return max(1, limit // 4)


def fits(count: int, *, limit: int, total: int, own: int) -> bool:
    """Whether a workspace may hold ``count`` more of something limited.

    A workspace that is alone may hold all ``limit`` places. Nobody can take the reserve beyond them
    away from others, because a workspace gets of it only what it holds altogether.

    Args:
        total: what all workspaces hold.
        own: what this one holds.
    """
    reserve = reserve_of(limit)
    from_reserve = own + count <= reserve and total + count <= limit + reserve
    return total + count <= limit or from_reserve


class FairQueue(Generic[T]):
    """First in, first out within a workspace; one item of each workspace in turn.

    Not thread safe.

    Args:
        max_waiting: number of items that may wait.
        clock: seconds.
    """

    def __init__(self, max_waiting: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_waiting = max_waiting
        self._clock = clock
        self._waiting: dict[str, deque[tuple[float, T]]] = {}  # in the order of the turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def oldest_s(self) -> float:
        """Age of the item that has waited longest; 0 when none waits."""
        since = [items[0][0] for items in self._waiting.values()]
        return max(0.0, self._clock() - min(since)) if since else 0.0

    def put(self, workspace_id: str, item: T) -> None:
        """Append an item. Raises Overloaded: the queue is full."""
        if self._count >= self._max_waiting:
            raise Overloaded(f"{self._count} items wait, at most {self._max_waiting} may")
        self._waiting.setdefault(workspace_id, deque()).append((self._clock(), item))
        self._count += 1

    def get(self, may: Callable[[str], bool] = lambda workspace_id: True) -> tuple[str, T] | None:
        """Remove and return the next item and its workspace; None when there is none.

        Args:
            may: whether it is possible to serve this workspace now; others keep their turn.
        """
        workspace_id = next((name for name in self._waiting if may(name)), None)
        if workspace_id is None:
            return None
        items = self._waiting.pop(workspace_id)
        _, item = items.popleft()
        if items:
            self._waiting[workspace_id] = items  # behind all others
        self._count -= 1
        return workspace_id, item

    def may_get(self, may: Callable[[str], bool]) -> bool:
        """Whether ``get`` would return an item."""
        return any(may(workspace_id) for workspace_id in self._waiting)

    def remove(self, workspace_id: str, item: T) -> bool:
        """Remove an item that nobody waits for any more; return whether it was there."""
        items = self._waiting.get(workspace_id, deque())
        for place, (_, waiting) in enumerate(items):
            if waiting is item:
                del items[place]
                self._count -= 1
                if not items:
                    del self._waiting[workspace_id]
                return True
        return False

    def drain(self) -> list[T]:
        """Remove and return all items, in no particular order."""
        items = [item for waiting in self._waiting.values() for _, item in waiting]
        self._waiting.clear()
        self._count = 0
        return items


class Quota:
    """Counts what each workspace holds of something limited; see ``fits``. Not thread safe.

    Args:
        limit: of one workspace that is alone.
        of: what is counted, for messages, such as ``images``.
    """

    def __init__(self, limit: int, *, of: str) -> None:
        self._limit = limit
        self._of = of
        self._held: dict[str, int] = {}

    @property
    def total(self) -> int:
        """What all workspaces hold."""
        return sum(self._held.values())

    def take(self, workspace_id: str, count: int = 1) -> None:
        """Hold ``count`` more. Raises Overloaded: it does not fit; nothing was taken."""
        own = self._held.get(workspace_id, 0)
        if not fits(count, limit=self._limit, total=self.total, own=own):
            raise Overloaded(
                f"expected at most {self._limit} {self._of} at a time, "
                f"got {count} in addition to {self.total}"
            )
        self._held[workspace_id] = own + count

    def give_back(self, workspace_id: str, count: int = 1) -> None:
        """Hold ``count`` fewer."""
        left = self._held[workspace_id] - count
        if left:
            self._held[workspace_id] = left
        else:
            del self._held[workspace_id]
