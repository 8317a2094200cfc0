"""Workers of several processes share the operations of one catalog: each is one worker's."""

import threading

import pytest

from service.errors import LeaseLost, Overloaded, UnknownItem

KINDS = frozenset({"fit"})


@pytest.fixture
def make(catalog, ours):
    """Store a waiting operation, ours unless another workspace is named."""

    def run(workspace_id=ours, kind="fit", **fields):
        return catalog.create_operation(workspace_id, kind, {}, **fields).operation_id

    return run


@pytest.fixture
def claim(catalog):
    """Claim an operation and return it; a lease of 0 s has run out already."""

    def run(worker_id, lease_s=60.0, kinds=KINDS, busy=()):
        return catalog.claim_operation(worker_id, lease_s=lease_s, kinds=kinds, busy=busy)

    return run


def claimed_ids(claim, worker_id="worker", **fields):
    ids = []
    while (operation := claim(worker_id, **fields)) is not None:
        ids.append(operation.operation_id)
    return ids


def test_two_workers_never_have_the_same_one(make, claim):
    first, second = make(), make()
    assert claim("a").operation_id == first
    assert claim("b").operation_id == second
    assert claim("a") is None


def test_of_many_workers_at_once_each_gets_its_own(make, claim):
    ids = [make() for _ in range(24)]
    claimed = []
    workers = [
        threading.Thread(target=lambda n=n: claimed.extend(claimed_ids(claim, f"worker {n}")))
        for n in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(ids)


def test_a_claim_starts_the_operation_and_counts_the_attempt(catalog, ours, make, claim):
    made = make()
    operation = claim("a")
    assert (operation.state, operation.attempts) == ("running", 1)
    assert catalog.get_operation(ours, made) == operation


def test_a_lease_that_ran_out_goes_to_the_next_and_the_first_changes_nothing(
    catalog, ours, make, claim
):
    made = make()
    claim("dead", lease_s=0)
    again = claim("b")
    assert (again.operation_id, again.attempts) == (made, 2)
    held = (ours, made, "dead")
    for write in (
        lambda: catalog.renew_operation(*held, lease_s=60),
        lambda: catalog.report_operation(*held, done=1, total=2),
        lambda: catalog.end_operation(*held, "done", result={"by": "dead"}),
        lambda: catalog.release_operation(*held),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert catalog.get_operation(ours, made) == again
    ended = catalog.end_operation(ours, made, "b", "done", result={"by": "b"})
    assert (ended.state, ended.result) == ("done", {"by": "b"})


def test_a_lease_that_ran_out_can_be_renewed_while_nobody_else_has_it(catalog, ours, make, claim):
    made = make()
    claim("slow", lease_s=0)
    catalog.renew_operation(ours, made, "slow", lease_s=60)
    assert claim("b") is None
    assert catalog.report_operation(ours, made, "slow", done=1, total=2).done == 1


def test_one_that_has_ended_belongs_to_nobody(catalog, ours, make, claim):
    made = make()
    claim("a")
    catalog.end_operation(ours, made, "a", "failed", problem={"code": "x"})
    with pytest.raises(LeaseLost):
        catalog.end_operation(ours, made, "a", "done", result={})
    with pytest.raises(LeaseLost):
        catalog.renew_operation(ours, made, "a", lease_s=60)
    assert claim("b") is None
    assert catalog.get_operation(ours, made).problem == {"code": "x"}


def test_one_that_was_never_claimed_is_nobodys_to_end(catalog, ours, make):
    with pytest.raises(LeaseLost) as caught:
        catalog.end_operation(ours, make(), "a", "done", result={})
    assert caught.value.code == "lease_lost"


def test_a_released_one_is_claimed_at_once(catalog, ours, make, claim):
    made = make()
    claim("a")
    assert catalog.release_operation(ours, made, "a").state == "running"
    assert claim("b").operation_id == made


def test_orderly_releases_do_not_use_up_the_attempts(catalog, ours, make, claim):
    made = make()
    attempts = []
    for _ in range(4):
        attempts.append(claim("a").attempts)
        catalog.release_operation(ours, made, "a")
    assert attempts == [1, 2, 2, 2], "work asks whether it was begun before"


def test_workspaces_take_turns_and_within_one_the_oldest_comes_first(theirs, make, claim):
    ours_1, ours_2, ours_3 = make(), make(), make()
    theirs_1, theirs_2 = make(theirs), make(theirs)
    assert claimed_ids(claim) == [ours_1, theirs_1, ours_2, theirs_2, ours_3]


def test_a_newcomer_is_served_before_who_was_served_last(theirs, make, claim):
    ours_1, ours_2 = make(), make()
    assert claim("a").operation_id == ours_1
    newcomer = make(theirs)
    assert claimed_ids(claim) == [newcomer, ours_2]


def test_busy_workspaces_are_passed_over(ours, theirs, make, claim):
    mine, foreign = make(), make(theirs)
    assert claimed_ids(claim, busy=[ours]) == [foreign]
    assert claimed_ids(claim, busy=[theirs]) == [mine]


def test_work_of_the_service_takes_turns_of_its_own(ours, make, claim):
    first, second = make(), make()
    backup = make(for_service=True)
    assert claim("a").operation_id == first
    operation = claim("b", busy=[ours])
    assert (operation.operation_id, operation.turn) == (backup, "")
    assert claimed_ids(claim, busy=[""]) == [second]


def test_kinds_that_a_worker_does_not_know_are_left_to_others(make, claim):
    newer, known = make(kind="newer"), make()
    assert claimed_ids(claim) == [known]
    assert claimed_ids(claim, kinds={"newer"}) == [newer]


def test_who_holds_a_cancelled_one_is_told(catalog, ours, make, claim):
    made = make()
    assert not claim("a").cancel_asked
    catalog.cancel_operation(ours, made)
    assert catalog.renew_operation(ours, made, "a", lease_s=0).cancel_asked
    assert catalog.report_operation(ours, made, "a", done=1, total=2).cancel_asked
    assert claim("b").cancel_asked, "whoever takes it over"


def test_what_waits_is_counted_before_another_may(catalog, ours, theirs, make, claim):
    counts = []
    make(admit=lambda total, own: counts.append((total, own)))
    make(theirs, admit=lambda total, own: counts.append((total, own)))
    make(for_service=True, admit=lambda total, own: counts.append((total, own)))
    make(admit=lambda total, own: counts.append((total, own)))
    assert counts == [(0, 0), (1, 0), (2, 0), (3, 1)]
    claim("a")
    make(for_service=True, admit=lambda total, own: counts.append((total, own)))
    assert counts[-1] == (3, 1), "what runs does not wait"


def test_a_refused_one_is_not_stored(catalog, ours, make):
    def refuse(total, own):
        raise Overloaded("no more")

    with pytest.raises(Overloaded):
        make(admit=refuse)
    assert catalog.list_operations(ours, limit=9).items == ()
    assert catalog.waiting_operations() == (0, 0.0)


def test_the_number_and_the_age_of_what_waits_are_known(catalog, theirs, make, claim):
    make(), make(theirs)
    count, oldest_s = catalog.waiting_operations()
    assert count == 2
    assert oldest_s >= 0
    claimed_ids(claim)
    assert catalog.waiting_operations() == (0, 0.0)


def test_whoever_waits_for_work_hears_of_it(catalog, make):
    heard = threading.Event()

    def wait():
        while not heard.is_set():
            catalog.wait_for_work(600)
            heard.set()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    while not heard.wait(0.02):  # the first may be stored before anybody waits
        make()
    waiter.join(30)
    assert not waiter.is_alive()


def test_operations_of_others_are_unknown_to_a_worker_of_ours(catalog, theirs, make, claim):
    made = make()
    claim("a")
    with pytest.raises(UnknownItem):
        catalog.renew_operation(theirs, made, "a", lease_s=60)
    with pytest.raises(UnknownItem):
        catalog.end_operation(theirs, made, "a", "done", result={})
