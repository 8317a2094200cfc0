"""The part of the catalog's interface that counts live streams over all replicas.

The rules in ``service.catalog.interface`` apply, but for one: a place is no data. It ends with its
lease, and a backup without it lacks nothing.
"""

from typing import Protocol

from service.catalog.streams.stream_place_records import MaxStreams, StreamOwner, StreamPlace


class StreamCatalog(Protocol):
    """The open live streams of workspaces and keys."""

    def take_stream_place(
        self, place: StreamPlace, most: MaxStreams, *, lease_s: float
    ) -> StreamOwner | None:
        """Count a stream until its lease ends, or return who has too many already.

        The count is exact: of two replicas that ask for the last place, one gets it.
        """

    def keep_stream_place(self, place: StreamPlace, *, lease_s: float) -> None:
        """Count a stream for longer, also if its lease has ended meanwhile."""

    def leave_stream_place(self, place: StreamPlace) -> None:
        """Count a stream no longer; leaving twice is allowed."""
