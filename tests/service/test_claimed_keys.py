"""Requests under one Idempotency-Key in two processes: one works, the other gets its answer."""

import asyncio

import pytest

from service.access.saved_answers import AnswerStore, SavedAnswer
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import Overloaded
from tests.service.still_clock import StillClock

ANSWER = SavedAnswer("digest", 201, b"{}")


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def catalog(tmp_path, clock):
    catalog = open_catalog(tmp_path, clock=clock)
    yield catalog
    catalog.close()


@pytest.fixture
def owner(catalog):
    return catalog.ensure_workspace("ours").workspace_id


@pytest.fixture
def stores(catalog):
    """As of two processes, which share nothing but the catalog."""
    return [AnswerStore(catalog, keep_s=60) for _ in range(2)]


async def repeat_until_it_ends(store, owner, begun):
    async with store.hold(owner, "key", "digest") as held:
        if held.saved is None:
            begun.set()
            await asyncio.sleep(0.1)  # long enough for the others to find the key claimed
            await held.save(ANSWER)
        return held.saved


def test_of_equal_requests_in_two_processes_one_works(owner, stores):
    async def run():
        begun = asyncio.Event()
        work = [repeat_until_it_ends(stores[n % 2], owner, begun) for n in range(6)]
        return await asyncio.gather(*work)

    answers = asyncio.run(run())
    assert sorted(answer is None for answer in answers) == [False] * 5 + [True]
    assert [answer for answer in answers if answer] == [ANSWER] * 5
    assert [store.locks for store in stores] == [{}, {}]


def test_a_request_that_fails_leaves_its_key_to_the_other_process(owner, stores):
    async def run():
        with pytest.raises(ZeroDivisionError):
            async with stores[0].hold(owner, "key", "digest"):
                raise ZeroDivisionError
        async with stores[1].hold(owner, "key", "digest") as held:
            return held.saved

    assert asyncio.run(run()) is None


def test_a_request_that_waits_too_long_is_told_to_repeat(catalog, owner, stores):
    hurried = AnswerStore(catalog, keep_s=60, max_wait_s=0.1)

    async def run():
        async with stores[0].hold(owner, "key", "digest"):
            with pytest.raises(Overloaded, match="repeat it"):
                async with hurried.hold(owner, "key", "digest"):
                    pass

    asyncio.run(run())


def test_a_process_that_died_blocks_its_key_only_until_its_lease_runs_out(
    catalog, clock, owner, stores
):
    catalog.claim_answer(owner, "key", "digest", owner="dead", lease_s=0.2)

    assert not catalog.claim_answer(owner, "key", "digest", owner="other", lease_s=9).is_mine

    async def run():
        clock.present_s += 0.3
        async with stores[0].hold(owner, "key", "digest") as held:
            return held.saved

    assert asyncio.run(run()) is None


def test_a_long_request_renews_its_claim(catalog, clock, owner):
    store = AnswerStore(catalog, keep_s=60, lease_s=0.4)

    async def run():
        async with store.hold(owner, "key", "digest"):
            claims = []
            for _ in range(3):
                await asyncio.to_thread(clock.wait_for_a_read)  # the claim is renewed now
                clock.present_s += 0.3
                other = {"owner": "other", "lease_s": 60.0}
                claims.append(catalog.claim_answer(owner, "key", "digest", **other).is_mine)
            return claims

    assert asyncio.run(run()) == [False] * 3
