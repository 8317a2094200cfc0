"""Rates and quotas of keys and workspaces, and how much of them is used.

Rates are token buckets in the memory of one process: N replicas allow N times as much. Sharing
them through the database would cost more than the request that they count. What may be stored is
compared in the transaction of the write, so it holds over all replicas.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from service.access.access_limits import RATES, STORED, Limits
from service.access.keys import Caller
from service.access.policy_store import PolicyStore, WorkspacePolicy
from service.access.token_buckets import TokenBucket
from service.catalog.interface import Catalog
from service.catalog.policies.policy_records import AdmitUsage, StoredUsage
from service.errors import QuotaExceeded, RateLimited

REQUESTS, IMAGES, DECODE = RATES
MAX_OWNERS = 20_000  # keys and workspaces; the one that sent nothing for longest is forgotten
MAX_RETRY_S = 3600


@dataclass(slots=True)
class _Owner:
    """A key or a workspace with its buckets."""

    kind: str
    owner_id: str
    limits: Limits = field(default_factory=dict)
    buckets: dict[str, TokenBucket] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsedLimit:
    """How much of a limit is used.

    Attributes:
        limit: its name.
        used: of the last minute for a rate; None = it is not limited, so nobody counts.
        most: None = it is not limited.
        reset_s: until a rate is unused again; None for what is stored.
    """

    limit: str
    used: float | None
    most: float | None
    reset_s: float | None = None


Owners: TypeAlias = tuple[_Owner, ...]
PAYING: ContextVar[Owners] = ContextVar("paying", default=())  # for what the context embeds
PAYER: ContextVar[str | None] = ContextVar("payer", default=None)  # key for what it stores


class Quotas:
    """Counts what callers use, and refuses what is too much. Thread safe.

    Args:
        on_limited: called with the name of the limit that refused a request.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        policies: PolicyStore,
        *,
        on_limited: Callable[[str], None] = lambda limit: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._policies = policies
        self._on_limited = on_limited
        self._clock = clock
        self._lock = threading.Lock()
        self._owners: OrderedDict[tuple[str, str], _Owner] = OrderedDict()

    # rates ------------------------------------------------------------------------------------

    def count_request(self, caller: Caller, policy: WorkspacePolicy) -> Owners:
        """Count one request; return who pays for what it embeds. Raises RateLimited: too many."""
        if owners := self.owners_of(caller, policy):
            self._take(owners, REQUESTS, 1)
        return owners

    def admit_files(self, files: int) -> None:
        """Count the files of a request before anything is done with them, one image each.

        Raises:
            RateLimited: too many images, or too much time was spent on decoding.
        """
        if owners := PAYING.get():
            self._take(owners, DECODE, 0)
            self._take(owners, IMAGES, files)

    def embedded(self, more_frames: int) -> None:
        """Count the frames of a file beyond the first, which are known only now."""
        self._pay(IMAGES, more_frames)

    def decoded(self, elapsed_s: float) -> None:
        """Count the time for which a file held a thread or process that decodes."""
        self._pay(DECODE, elapsed_s)

    def owners_of(self, caller: Caller, policy: WorkspacePolicy) -> Owners:
        """The key and the workspace, as far as they have rates; nothing is counted."""
        return self.owners_for(caller.workspace_id, caller.author.key_id, policy)

    def owners_for(self, workspace_id: str, key_id: str | None, policy: WorkspacePolicy) -> Owners:
        """As ``owners_of``, of work that goes on without its caller."""
        if not policy.has_limits:
            return ()
        owners = []
        if key_id is not None and (limits := policy.limits_of_key(key_id)):
            owners.append(self._owner("key", key_id, limits))
        if policy.limits:
            owners.append(self._owner("workspace", workspace_id, policy.limits))
        return tuple(owners)

    def _owner(self, kind: str, owner_id: str, limits: Limits) -> _Owner:
        with self._lock:
            owner = self._owners.get((kind, owner_id))
            if owner is None:
                owner = self._owners[kind, owner_id] = _Owner(kind, owner_id)
                if len(self._owners) > MAX_OWNERS:
                    self._owners.popitem(last=False)
            self._owners.move_to_end((kind, owner_id))
            if owner.limits != limits:
                self._resize(owner, limits)
            return owner

    def _resize(self, owner: _Owner, limits: Limits) -> None:
        now_s = self._clock()
        for name in RATES:
            if name not in limits:
                owner.buckets.pop(name, None)
            elif name in owner.buckets:
                owner.buckets[name].resize(limits[name], now_s)
            else:
                owner.buckets[name] = TokenBucket(limits[name], now_s)
        owner.limits = limits

    def _take(self, owners: Owners, limit: str, amount: float) -> None:
        """Take from the buckets of all owners, or from none. Raises RateLimited."""
        now_s = self._clock()
        with self._lock:
            found = [(o, o.buckets[limit]) for o in owners if limit in o.buckets]
            waits = [(bucket.wait_s(amount, now_s), o) for o, bucket in found]
            wait_s, owner = max(waits, key=lambda wait: wait[0], default=(0.0, None))
            if owner is None or wait_s <= 0:
                for _, bucket in found:
                    bucket.take(amount, now_s)
                return
        self._on_limited(limit)
        raise RateLimited(
            f"the {owner.kind} has used up its {limit} of {owner.limits[limit]:g}",
            limit,
            owner.kind,
            min(MAX_RETRY_S, max(1, math.ceil(wait_s))),
        )

    def _pay(self, limit: str, amount: float) -> None:
        owners = PAYING.get()
        if not owners or amount <= 0:
            return
        now_s = self._clock()
        with self._lock:
            for owner in owners:
                if limit in owner.buckets:
                    owner.buckets[limit].take(amount, now_s)

    # what is stored ---------------------------------------------------------------------------

    def admission(self, workspace_id: str, key_id: str | None = None) -> AdmitUsage | None:
        """Called by the catalog in the transaction of a write; None = nothing is limited.

        It raises QuotaExceeded.
        """
        policy = self._policies.current(workspace_id)
        payer = key_id or PAYER.get()
        of_workspace = _of_storage(policy.limits)
        of_key = {} if payer is None else _of_storage(policy.limits_of_key(payer))
        if not of_workspace and not of_key:
            return None

        def admit(usage: StoredUsage, usage_of: Callable[[str], StoredUsage]) -> None:
            self._require(of_workspace, usage, "workspace", "its operator")
            if payer is not None and of_key:
                self._require(of_key, usage_of(payer), "key", "an administrator")

        return admit

    def _require(self, most: Limits, usage: StoredUsage, of: str, whom: str) -> None:
        for name, value in most.items():
            stored = getattr(usage, name)
            if stored > value:
                self._on_limited(name)
                raise QuotaExceeded(
                    f"the {of} may have {value:.0f} {name}, and would have {stored}: "
                    f"delete some, or ask {whom} for more",
                    name,
                    of,
                )

    # usage ------------------------------------------------------------------------------------

    def of_key(self, caller: Caller, policy: WorkspacePolicy) -> list[UsedLimit]:
        """The rates of the caller's key in this process, and what it has stored. Blocks."""
        key_id = caller.author.key_id
        if key_id is None:
            return self._rates("key", "", {})
        limits = policy.limits_of_key(key_id)
        stored = self._catalog.key_usage(caller.workspace_id, key_id)
        return self._rates("key", key_id, limits) + _used(stored, limits)

    def of_workspace(self, workspace_id: str, policy: WorkspacePolicy) -> list[UsedLimit]:
        """The rates of the workspace in this process, and what it stores. Blocks."""
        stored = self._catalog.stored_usage(workspace_id)
        rates = self._rates("workspace", workspace_id, policy.limits)
        return rates + _used(stored, policy.limits)

    def _rates(self, kind: str, owner_id: str, limits: Limits) -> list[UsedLimit]:
        buckets = self._owner(kind, owner_id, limits).buckets if limits else {}
        now_s = self._clock()
        with self._lock:
            return [
                UsedLimit(
                    name,
                    buckets[name].used(now_s) if name in buckets else None,
                    limits.get(name),
                    buckets[name].reset_s(now_s) if name in buckets else None,
                )
                for name in RATES
            ]


def _of_storage(limits: Limits) -> Limits:
    return {name: limits[name] for name in STORED if name in limits}


def _used(stored: StoredUsage, limits: Limits) -> list[UsedLimit]:
    return [UsedLimit(name, getattr(stored, name), limits.get(name)) for name in STORED]
