"""Places of live streams in PostgreSQL: two replicas count together, and forget who was killed."""

from service.catalog.streams.stream_place_records import MaxStreams, StreamPlace

MOST = MaxStreams(of_workspace=2, of_author=2)


def test_replicas_count_together_and_a_place_ends_with_its_lease(postgres_database) -> None:
    one, other = (postgres_database.open() for _ in range(2))
    try:
        ours = one.ensure_workspace("ours").workspace_id
        lasting, killed, late = (StreamPlace(f"s{n}", ours, "key_a") for n in range(3))
        assert one.take_stream_place(lasting, MOST, lease_s=600) is None
        assert one.take_stream_place(killed, MOST, lease_s=600) is None
        assert other.take_stream_place(late, MOST, lease_s=600) == "workspace"
        one.keep_stream_place(killed, lease_s=-1.0)  # as when its replica was killed long ago
        assert other.take_stream_place(late, MOST, lease_s=600) is None
        rows = postgres_database.sql("SELECT place_id FROM live_streams ORDER BY place_id")
        assert rows == [("s0",), ("s2",)]
        one.keep_stream_place(killed, lease_s=600)  # it was only slow: it counts again
        other.leave_stream_place(late)
        assert other.take_stream_place(late, MOST, lease_s=600) == "workspace"
    finally:
        one.close()
        other.close()
