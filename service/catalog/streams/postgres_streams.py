"""Live streams in PostgreSQL, where all replicas count them: in the database of the directory.

There a move of the workspace to another shard closes nothing. Leases count by the clock of the
database, and a stream that ran out is removed by whoever opens the next one.
"""

from service.catalog.postgres.postgres_rows import PostgresTable, require_row
from service.catalog.streams.stream_place_records import MaxStreams, StreamOwner, StreamPlace

_NOW_S = "extract(epoch FROM clock_timestamp())::double precision"
# Nothing is lost with a place, so no one waits for the disk.
_LOOSE = "SET LOCAL synchronous_commit = off"
# Held until the transaction ends: replicas take turns to count the streams of a workspace.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('live_streams ' || %s, 0))"
# Of other workspaces too, so that those of a deleted one go. Whoever opens a stream at the same
# time removes the others, so neither waits.
_REMOVE_ENDED = f"""
    DELETE FROM live_streams WHERE place_id IN (
        SELECT place_id FROM live_streams WHERE lease_until <= {_NOW_S} FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608 - the clock is ours
_COUNT = f"""
    SELECT count(*) AS of_workspace,
        count(*) FILTER (WHERE author_id IS NOT DISTINCT FROM %s) AS of_author
    FROM live_streams WHERE workspace_id = %s AND lease_until > {_NOW_S}
"""  # noqa: S608
_STORE = f"""
    INSERT INTO live_streams (place_id, workspace_id, author_id, lease_until)
    VALUES (%s, %s, %s, {_NOW_S} + %s)
    ON CONFLICT (place_id) DO UPDATE SET lease_until = excluded.lease_until
"""  # noqa: S608
_LEAVE = "DELETE FROM live_streams WHERE place_id = %s"


class PostgresStreams(PostgresTable):
    """The part of the catalog for live streams."""

    def take_stream_place(
        self, place: StreamPlace, most: MaxStreams, *, lease_s: float
    ) -> StreamOwner | None:
        """As ``StreamCatalog.take_stream_place``."""
        with self._database.directory("write") as connection:
            connection.execute(_LOOSE)
            connection.execute(_LOCK, (place.workspace_id,))
            connection.execute(_REMOVE_ENDED)
            counted = (place.author_id, place.workspace_id)
            row = require_row(connection, "no count", _COUNT, *counted)
            passed = most.passed_by(place, row["of_workspace"], row["of_author"])
            if passed is None:
                connection.execute(_STORE, _values(place, lease_s))
        return passed

    def keep_stream_place(self, place: StreamPlace, *, lease_s: float) -> None:
        """As ``StreamCatalog.keep_stream_place``."""
        with self._database.directory("write") as connection:
            connection.execute(_LOOSE)
            connection.execute(_STORE, _values(place, lease_s))

    def leave_stream_place(self, place: StreamPlace) -> None:
        """As ``StreamCatalog.leave_stream_place``."""
        with self._database.directory("write") as connection:
            connection.execute(_LOOSE)
            connection.execute(_LEAVE, (place.place_id,))


def _values(place: StreamPlace, lease_s: float) -> tuple[str, str, str | None, float]:
    return place.place_id, place.workspace_id, place.author_id, lease_s
