"""Places of live streams: a key and a workspace have so many at a time, over all replicas."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from service.access.keys import Caller
from service.catalog.ids import new_id
from service.catalog.streams.stream_interface import StreamCatalog
from service.catalog.streams.stream_place_records import MaxStreams, StreamPlace
from service.errors import CatalogFailure, RateLimited

LEASE_S = 30.0  # after which the streams of a replica that was killed count no longer
KEEP_S = 10.0
RETRY_S = 10
LIMIT = "streams"  # as the metric of refusals names it


class StreamLimits(Protocol):
    """See the settings of the same names."""

    @property
    def max_streams_per_workspace(self) -> int:
        """Of one workspace."""

    @property
    def max_streams_per_key(self) -> int:
        """Of one key or holder of tokens."""


@dataclass(slots=True)
class HeldPlace:
    """The place of an open stream, and when its lease began, monotonic."""

    place: StreamPlace
    kept_s: float


class StreamPlaces:
    """Gives places to streams. Its methods block.

    Args:
        on_limited: called with ``streams`` when one is refused.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        catalog: StreamCatalog,
        most: MaxStreams,
        *,
        on_limited: Callable[[str], None] = lambda limit: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._most = most
        self._on_limited = on_limited
        self._clock = clock

    def take(self, caller: Caller) -> HeldPlace:
        """Raises RateLimited: the key or the workspace has too many streams."""
        place = StreamPlace(new_id("stream"), caller.workspace_id, caller.author.key_id)
        kept_s = self._clock()
        owner = self._catalog.take_stream_place(place, self._most, lease_s=LEASE_S)
        if owner is None:
            return HeldPlace(place, kept_s)
        self._on_limited(LIMIT)
        most = self._most.of_workspace if owner == "workspace" else self._most.of_author
        what = f"the {owner} has {most} live streams, and may have no more"
        raise RateLimited(what, LIMIT, owner, RETRY_S)

    def is_due(self, held: HeldPlace) -> bool:
        """Whether the lease of a place is to be renewed; this one blocks nothing."""
        return self._clock() - held.kept_s >= KEEP_S

    def keep(self, held: HeldPlace) -> None:
        """Renew the lease of a place. Raises CatalogFailure."""
        kept_s = self._clock()
        self._catalog.keep_stream_place(held.place, lease_s=LEASE_S)
        held.kept_s = kept_s

    def leave(self, held: HeldPlace) -> None:
        """Give a place back; without a database its lease ends by itself."""
        with contextlib.suppress(CatalogFailure):
            self._catalog.leave_stream_place(held.place)


def stream_places(
    catalog: StreamCatalog, limits: StreamLimits, on_limited: Callable[[str], None]
) -> StreamPlaces:
    """The places that the settings give."""
    most = MaxStreams(limits.max_streams_per_workspace, limits.max_streams_per_key)
    return StreamPlaces(catalog, most, on_limited=on_limited)
