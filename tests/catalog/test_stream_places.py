"""Places of live streams: so many of a workspace and of a key, on every engine."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from service.access.keys import Caller
from service.access.stream_places import KEEP_S, LIMIT, StreamPlaces
from service.catalog.interface import Catalog
from service.catalog.records import Author
from service.catalog.streams.stream_place_records import MaxStreams, StreamPlace
from service.errors import RateLimited

LEASE_S = 60.0
MOST = MaxStreams(of_workspace=3, of_author=2)


def take(
    catalog: Catalog, workspace_id: str, name: str, author: str | None = "key_a"
) -> str | None:
    place = StreamPlace(name, workspace_id, author)
    return catalog.take_stream_place(place, MOST, lease_s=LEASE_S)


def test_a_key_and_a_workspace_have_so_many_streams(catalog: Catalog, ours, theirs) -> None:
    assert [take(catalog, ours, name) for name in ("s1", "s2", "s3")] == [None, None, "key"]
    assert take(catalog, ours, "s4", "key_b") is None
    assert take(catalog, ours, "s5", "key_c") == "workspace"
    assert take(catalog, theirs, "s6") is None
    catalog.leave_stream_place(StreamPlace("s1", ours, "key_a"))
    catalog.leave_stream_place(StreamPlace("s1", ours, "key_a"))
    assert take(catalog, ours, "s7") is None


def test_where_no_key_is_asked_for_the_workspace_alone_is_limited(catalog: Catalog, ours) -> None:
    taken = [take(catalog, ours, f"s{n}", None) for n in range(4)]
    assert taken == [None, None, None, "workspace"]


def test_of_many_who_ask_at_once_as_many_as_may_get_a_place(catalog: Catalog, ours) -> None:
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda n: take(catalog, ours, f"s{n}", f"key_{n}"), range(8)))
    assert sorted(map(str, taken)) == ["None"] * 3 + ["workspace"] * 5


def test_a_caller_keeps_and_leaves_a_place_and_a_refusal_says_whose_limit_it_is(
    catalog: Catalog, ours
) -> None:
    now_s, limited = [0.0], []
    places = StreamPlaces(catalog, MOST, on_limited=limited.append, clock=lambda: now_s[0])
    caller = Caller(ours, Author("key_a", "a"), frozenset())
    held = [places.take(caller) for _ in range(2)]
    with pytest.raises(RateLimited, match="the key has 2 live streams"):
        places.take(caller)
    assert limited == [LIMIT]
    assert not places.is_due(held[0])
    now_s[0] = KEEP_S
    assert places.is_due(held[0])
    places.keep(held[0])
    assert not places.is_due(held[0])
    for one in held:
        places.leave(one)
    places.take(caller)
