"""Operations: run, followed, cancelled, left at a stop and taken up by the next start."""

import threading
import time

import pytest

from service.catalog.operation_records import ENDED
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.errors import Conflict, InputError, Overloaded
from service.fairness.workspace_turn import SERVICE, current_workspace
from service.jobs.operation_workers import JobKind
from service.jobs.operations import Operations
from tests.service.still_clock import StillClock

PATIENCE_S = 30.0


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
def running(catalog):
    """Start workers for some kinds, as one process; all are closed at the end."""
    made = []

    def start(threads=1, max_waiting=10, lease_s=60.0, **kinds):
        operations = Operations(
            catalog, kinds, threads=threads, max_waiting=max_waiting, lease_s=lease_s
        )
        operations.open()
        made.append(operations)
        return operations

    yield start
    for operations in made:
        operations.close(timeout_s=PATIENCE_S)


def ended(catalog, operation):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = catalog.get_operation(operation.workspace_id, operation.operation_id)
        if found.state in ENDED:
            return found
        time.sleep(0.01)
    raise AssertionError("the operation did not end")


class Gate:
    """Work that waits to be let on, and reports every step."""

    def __init__(self):
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, operation, progress):
        self.begun.set()
        for done in range(1000):
            progress.report(done, 1000)
            if self.go_on.wait(0.02):
                return {"steps": done}
        raise AssertionError("never let on")


def test_work_gets_its_request_and_its_answer_is_the_result(catalog, owner, running):
    def double(operation, progress):
        progress.report(1, 1)
        return {"twice": 2 * operation.request["n"]}

    made = running(double=JobKind(double)).start(owner, "double", {"n": 21})
    found = ended(catalog, made)
    assert (found.state, found.result, found.done) == ("done", {"twice": 42}, 1)


def test_an_error_of_the_work_is_the_problem_and_the_next_one_runs(catalog, owner, running):
    def refuse(operation, progress):
        raise InputError("expected better")

    def break_down(operation, progress):
        raise ZeroDivisionError("SECRET")

    operations = running(
        refuse=JobKind(refuse), bug=JobKind(break_down), ok=JobKind(lambda o, p: {})
    )
    made = [operations.start(owner, kind, {}) for kind in ("refuse", "bug", "ok")]
    refused, bug, done = (ended(catalog, each) for each in made)
    assert refused.problem == {"code": "invalid_input", "detail": "expected better"}
    assert bug.problem is not None
    assert bug.problem["code"] == "internal_error"
    assert "SECRET" not in str(bug.problem)
    assert done.state == "done"


def test_a_running_one_stops_at_its_next_report_when_cancelled(catalog, owner, running):
    gate = Gate()
    operations = running(gate=JobKind(gate))
    made = operations.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    assert operations.cancel(owner, made.operation_id).cancel_asked
    assert ended(catalog, made).state == "cancelled"


def test_a_waiting_one_never_begins_when_cancelled(catalog, owner, running):
    gate, begun = Gate(), threading.Event()
    operations = running(gate=JobKind(gate), mark=JobKind(lambda o, p: begun.set() or {}))
    first = operations.start(owner, "gate", {})
    second = operations.start(owner, "mark", {})
    assert operations.cancel(owner, second.operation_id).state == "cancelled"
    gate.go_on.set()
    assert ended(catalog, first).state == "done"
    operations.close(timeout_s=PATIENCE_S)
    assert not begun.is_set()


def test_too_many_that_wait_are_refused_and_not_remembered(catalog, owner, running):
    gate = Gate()
    operations = running(max_waiting=2, gate=JobKind(gate))
    operations.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    for _ in range(2):
        operations.start(owner, "gate", {})
    with pytest.raises(Overloaded, match="2 operations wait"):
        operations.start(owner, "gate", {})
    assert len(catalog.list_operations(owner, limit=10).items) == 3
    gate.go_on.set()


def test_work_that_cannot_stop_halfway_is_cancelled_only_while_it_waits(catalog, owner, running):
    gate = Gate()
    operations = running(gate=JobKind(gate, is_cancellable=False))
    begun, waiting = (operations.start(owner, "gate", {}) for _ in range(2))
    assert gate.begun.wait(PATIENCE_S)
    with pytest.raises(Conflict, match="begun"):
        operations.cancel(owner, begun.operation_id)
    assert operations.cancel(owner, waiting.operation_id).state == "cancelled"
    # As from another process, which saw it wait a moment before.
    assert catalog.cancel_operation(owner, begun.operation_id).cancel_asked
    gate.go_on.set()
    assert ended(catalog, begun).state == "done"


def test_work_that_cannot_stop_halfway_goes_on_after_a_stop_although_it_was_cancelled(
    catalog, owner, running
):
    gate = Gate()
    first = running(gate=JobKind(gate, is_cancellable=False))
    made = first.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    catalog.cancel_operation(owner, made.operation_id)
    assert first.close(timeout_s=PATIENCE_S)
    running(gate=JobKind(lambda o, p: {"attempt": o.attempts}, is_cancellable=False))
    assert ended(catalog, made).result == {"attempt": 2}


def test_workspaces_take_turns_and_none_takes_the_places_of_another(catalog, owner, running):
    other = catalog.ensure_workspace("theirs").workspace_id
    gate, began = Gate(), []
    mark = JobKind(lambda o, p: began.append(o.workspace_id) or {})
    operations = running(max_waiting=4, gate=JobKind(gate), mark=mark)
    operations.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    waiting = [operations.start(owner, "mark", {}) for _ in range(4)]
    with pytest.raises(Overloaded, match="4 operations wait"):
        operations.start(owner, "mark", {})
    quick = operations.start(other, "mark", {})
    assert ended(catalog, quick).state == "done"  # beside the one that holds the only thread
    assert began == [other]
    assert operations.state().waiting == 4
    assert operations.state().oldest_s > 0
    gate.go_on.set()
    assert [ended(catalog, operation).state for operation in waiting] == ["done"] * 4


def test_work_for_the_service_waits_in_a_queue_of_its_own(catalog, owner, running):
    gate, began = Gate(), []
    mark = JobKind(lambda o, p: began.append(current_workspace()) or {})
    operations = running(max_waiting=1, gate=JobKind(gate), mark=mark)
    operations.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    later = operations.start(owner, "mark", {})
    backup = operations.start(owner, "mark", {}, for_service=True)
    assert ended(catalog, backup).state == "done"
    gate.go_on.set()
    assert ended(catalog, later).state == "done"
    assert began == [SERVICE, owner]


def test_what_a_stop_leaves_the_next_start_takes_up(catalog, owner, running):
    gate, steps = Gate(), []
    first = running(gate=JobKind(gate), later=JobKind(lambda o, p: steps.append("later") or {}))
    made = first.start(owner, "gate", {"n": 1})
    waiting = first.start(owner, "later", {})
    assert gate.begun.wait(PATIENCE_S)
    assert first.close(timeout_s=PATIENCE_S)
    assert catalog.get_operation(owner, made.operation_id).state == "running"
    assert steps == []

    def again(operation, progress):
        steps.append("again")
        return {"attempt": operation.attempts, "n": operation.request["n"]}

    running(gate=JobKind(again), later=JobKind(lambda o, p: steps.append("later") or {}))
    assert ended(catalog, made).result == {"attempt": 2, "n": 1}
    assert ended(catalog, waiting).state == "done"
    assert steps == ["again", "later"]


def test_what_cannot_go_on_says_that_it_was_interrupted(catalog, owner, running):
    gate = Gate()
    first = running(gate=JobKind(gate))
    made = first.start(owner, "gate", {})
    assert gate.begun.wait(PATIENCE_S)
    first.close(timeout_s=PATIENCE_S)
    running(gate=JobKind(gate, is_resumable=False))
    found = ended(catalog, made)
    assert (found.state, found.problem["code"]) == ("failed", "interrupted")


def test_work_that_brings_the_process_down_is_begun_three_times_and_no_more(
    catalog, owner, running
):
    made = catalog.create_operation(owner, "gate", {})
    for n in range(3):  # as three processes that died in the middle of it
        catalog.claim_operation(f"dead {n}", lease_s=0, kinds={"gate"})
    begun = threading.Event()
    running(gate=JobKind(lambda o, p: begun.set() or {}))
    found = ended(catalog, made)
    assert (found.state, found.problem["code"]) == ("failed", "interrupted")
    assert not begun.is_set()


def test_one_that_was_asked_to_stop_before_a_restart_is_not_begun_again(catalog, owner, running):
    made = catalog.create_operation(owner, "mark", {})
    catalog.claim_operation("dead", lease_s=0, kinds={"mark"})
    catalog.cancel_operation(owner, made.operation_id)
    begun = threading.Event()
    running(mark=JobKind(lambda o, p: begun.set() or {}))
    assert ended(catalog, made).state == "cancelled"
    assert not begun.is_set()


def test_what_one_process_stores_another_may_run(catalog, owner, running):
    first = running(threads=1, gate=JobKind(gate := Gate()))
    made = [first.start(owner, "gate", {}) for _ in range(2)]
    assert gate.begun.wait(PATIENCE_S)
    other = Gate()
    running(gate=JobKind(other))
    assert other.begun.wait(PATIENCE_S)  # while the first process is still busy with the first
    other.go_on.set()
    gate.go_on.set()
    assert [ended(catalog, operation).attempts for operation in made] == [1, 1]


def test_long_work_keeps_its_lease_and_nobody_else_runs_it(catalog, clock, owner, running):
    calls, begun, go_on = [], threading.Event(), threading.Event()

    def silent(operation, progress):
        calls.append(operation.attempts)
        begun.set()
        go_on.wait(PATIENCE_S)
        return {}

    made = running(lease_s=0.5, mark=JobKind(silent)).start(owner, "mark", {})
    assert begun.wait(PATIENCE_S)
    for _ in range(3):
        clock.wait_for_a_read()  # the lease is renewed now
        clock.present_s += 0.4
        assert catalog.claim_operation("other", lease_s=60, kinds={"mark"}) is None
    go_on.set()
    assert ended(catalog, made).state == "done"
    assert calls == [1]


def test_work_that_another_has_taken_over_stops_and_stores_nothing(catalog, owner, running):
    stopped = threading.Event()

    def work(operation, progress):
        taken = catalog.claim_operation("other", lease_s=60, kinds={"mark"})
        assert taken.operation_id == operation.operation_id
        try:
            progress.report(1, 1)
        finally:
            stopped.set()
        return {"by": "the first"}

    made = running(lease_s=0, mark=JobKind(work)).start(owner, "mark", {})
    assert stopped.wait(PATIENCE_S)
    held = (owner, made.operation_id, "other")
    assert catalog.end_operation(*held, "done", result={"by": "other"}).result == {"by": "other"}


def test_a_cancellation_by_another_process_reaches_work_that_reports_nothing(
    catalog, owner, running
):
    begun = threading.Event()

    def silent(operation, progress):
        begun.set()
        while True:
            progress.wait(0.02)

    made = running(lease_s=0.5, mark=JobKind(silent)).start(owner, "mark", {})
    assert begun.wait(PATIENCE_S)
    catalog.cancel_operation(owner, made.operation_id)  # as the other process does
    assert ended(catalog, made).state == "cancelled"
