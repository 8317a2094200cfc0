"""Live streams beside a catalog in a file: in memory, because one process uses the file."""

import threading

from service.catalog.streams.stream_place_records import MaxStreams, StreamOwner, StreamPlace


class PlacesInMemory:
    """The places of the streams of one process. Thread safe.

    Leases are not looked at: the places end with the process that could forget to leave them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, StreamPlace] = {}

    def take(self, place: StreamPlace, most: MaxStreams) -> StreamOwner | None:
        """As ``StreamCatalog.take_stream_place``."""
        with self._lock:
            beside = [p for p in self._held.values() if p.workspace_id == place.workspace_id]
            of_author = sum(p.author_id == place.author_id for p in beside)
            passed = most.passed_by(place, len(beside), of_author)
            if passed is None:
                self._held[place.place_id] = place
            return passed

    def keep(self, place: StreamPlace) -> None:
        """As ``StreamCatalog.keep_stream_place``."""
        with self._lock:
            self._held[place.place_id] = place

    def leave(self, place: StreamPlace) -> None:
        """As ``StreamCatalog.leave_stream_place``."""
        with self._lock:
            self._held.pop(place.place_id, None)


class SqliteStreams:
    """The part of the catalog for live streams."""

    _streams: PlacesInMemory

    def take_stream_place(
        self, place: StreamPlace, most: MaxStreams, *, lease_s: float
    ) -> StreamOwner | None:
        """As ``StreamCatalog.take_stream_place``."""
        return self._streams.take(place, most)

    def keep_stream_place(self, place: StreamPlace, *, lease_s: float) -> None:
        """As ``StreamCatalog.keep_stream_place``."""
        self._streams.keep(place)

    def leave_stream_place(self, place: StreamPlace) -> None:
        """As ``StreamCatalog.leave_stream_place``."""
        self._streams.leave(place)
