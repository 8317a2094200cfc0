"""Workspaces take turns, and none can hold what another needs."""

import pytest

from service.errors import Overloaded
from service.fairness.fair_queue import FairQueue, Quota, reserve_of


def drained(queue: FairQueue[str]) -> list[str]:
    return [turn[1] for turn in iter(queue.get, None)]


def test_one_item_of_each_workspace_in_turn_and_in_order_within_a_workspace() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for item in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        queue.put(item[0], item)
    assert drained(queue) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_who_comes_later_waits_for_one_item_of_each_and_not_for_all() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for number in range(24):
        queue.put("a", f"a{number}")
    assert queue.get() == ("a", "a0")
    queue.put("b", "b0")
    assert [queue.get(), queue.get()] == [("a", "a1"), ("b", "b0")]


def test_a_workspace_that_may_not_be_served_keeps_its_turn() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for item in ("a1", "b1", "a2"):
        queue.put(item[0], item)
    assert queue.get(lambda workspace: workspace != "a") == ("b", "b1")
    assert queue.get(lambda workspace: workspace != "a") is None
    assert drained(queue) == ["a1", "a2"]


def test_the_age_is_that_of_the_item_that_waits_longest() -> None:
    now = 10.0
    queue: FairQueue[str] = FairQueue(100, clock=lambda: now)
    assert queue.oldest_s == 0
    queue.put("a", "a1")
    now = 12.0
    queue.put("b", "b1")
    now = 15.0
    assert queue.oldest_s == 5
    queue.get()
    assert queue.oldest_s == 3


def test_a_full_queue_refuses_and_what_is_removed_leaves_room() -> None:
    queue: FairQueue[str] = FairQueue(2)
    queue.put("a", "a1")
    queue.put("b", "b1")
    with pytest.raises(Overloaded):
        queue.put("c", "c1")
    assert queue.remove("a", "a1")
    assert not queue.remove("a", "a1")
    queue.put("c", "c1")
    assert sorted(queue.drain()) == ["b1", "c1"]
    assert len(queue) == 0


def test_a_workspace_alone_holds_all_and_cannot_take_the_reserve_of_others() -> None:
    quota = Quota(8, of="images")
    quota.take("a", 8)
    for count in (1, 2):
        with pytest.raises(Overloaded, match="at most 8 images"):
            quota.take("a", count)
    quota.take("b", reserve_of(8))
    for workspace in ("b", "c"):
        with pytest.raises(Overloaded):
            quota.take(workspace)
    quota.give_back("a", 8)
    quota.take("c", 6)
    assert quota.total == 8


def test_small_limits_have_a_reserve_as_well() -> None:
    quota = Quota(1, of="fits")
    quota.take("a")
    quota.take("b")
    with pytest.raises(Overloaded):
        quota.take("c")
