"""Long work as the catalog remembers it."""

import pytest

from service.errors import InputError, UnknownItem


@pytest.fixture
def claim(catalog):
    return lambda: catalog.claim_operation("a", lease_s=60, kinds={"fit"})


def test_an_operation_is_followed_from_its_request_to_its_result(catalog, opened, ours, claim):
    made = catalog.create_operation(ours, "fit", {"name": "k"})
    assert (made.state, made.request, made.attempts) == ("waiting", {"name": "k"}, 0)
    begun = claim()
    assert (begun.state, begun.attempts) == ("running", 1)
    half = catalog.report_operation(ours, made.operation_id, "a", done=5, total=10)
    assert (half.done, half.total, half.cancel_asked) == (5, 10, False)
    released = catalog.release_operation(ours, made.operation_id, "a")
    catalog.close()
    again = opened()
    assert again.get_operation(ours, made.operation_id) == released
    taken = again.claim_operation("b", lease_s=60, kinds={"fit"})
    assert (taken.attempts, taken.request, taken.done) == (2, {"name": "k"}, 5)
    result = {"classifier": "k"}
    ended = again.end_operation(ours, made.operation_id, "b", "done", result=result)
    assert (ended.state, ended.result, ended.problem) == ("done", result, None)
    assert ended.request == {}, "what was asked may name subjects"
    assert again.claim_operation("b", lease_s=60, kinds={"fit"}) is None


@pytest.mark.sqlite  # one process owns the folder, so a lease ends with it
def test_what_an_earlier_process_left_running_is_claimed_at_once(catalog, opened, ours, claim):
    made = catalog.create_operation(ours, "fit", {})
    claim()
    catalog.close()
    taken = opened().claim_operation("b", lease_s=60, kinds={"fit"})
    assert (taken.operation_id, taken.attempts) == (made.operation_id, 2)


def test_a_waiting_one_is_cancelled_at_once_and_a_running_one_is_asked(catalog, ours, claim):
    running = catalog.create_operation(ours, "fit", {})
    claim()
    waiting = catalog.create_operation(ours, "fit", {})
    assert catalog.cancel_operation(ours, waiting.operation_id).state == "cancelled"
    asked = catalog.cancel_operation(ours, running.operation_id)
    assert (asked.state, asked.cancel_asked) == ("running", True)
    assert claim() is None


def test_one_that_has_ended_is_not_cancelled(catalog, ours, claim):
    made = catalog.create_operation(ours, "fit", {})
    claim()
    catalog.end_operation(ours, made.operation_id, "a", "failed", problem={"code": "x"})
    again = catalog.cancel_operation(ours, made.operation_id)
    assert (again.state, again.problem, again.cancel_asked) == ("failed", {"code": "x"}, False)


def test_they_are_listed_newest_first_page_by_page_and_only_ones_own(catalog, ours, theirs):
    ids = [catalog.create_operation(ours, "fit", {}).operation_id for _ in range(5)]
    foreign = catalog.create_operation(theirs, "fit", {}).operation_id
    first = catalog.list_operations(ours, limit=3)
    rest = catalog.list_operations(ours, limit=3, before=int(first.next_after))
    assert [item.operation_id for item in first.items + rest.items] == ids[::-1]
    assert rest.next_after is None
    for call in (catalog.get_operation, catalog.cancel_operation):
        with pytest.raises(UnknownItem):
            call(ours, foreign)


def test_ended_ones_go_after_a_month(catalog, opened, ours, edit, claim):
    old = catalog.create_operation(ours, "fit", {}).operation_id
    waiting = catalog.create_operation(ours, "fit", {}).operation_id
    claim()
    catalog.end_operation(ours, old, "a", "done", result={})
    catalog.close()
    edit("UPDATE operations SET updated_at = '2020-01-01T00:00:00.000000Z'")
    again = opened()
    again.create_operation(ours, "fit", {})
    left = {item.operation_id for item in again.list_operations(ours, limit=9).items}
    assert waiting in left
    assert old not in left


def test_a_request_that_json_cannot_hold_or_no_workspace_is_refused(catalog, ours):
    with pytest.raises(InputError):
        catalog.create_operation(ours, "fit", {"x": float("nan")})
    with pytest.raises(UnknownItem):
        catalog.create_operation("ws_none", "fit", {})
