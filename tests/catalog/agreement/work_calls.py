"""Random calls about erasure and age, keys, saved answers and operations."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from service.catalog.access_records import SavedAnswer
from service.catalog.erasure_records import SweepLimits
from tests.catalog.agreement.both_engines import Refusal
from tests.catalog.agreement.classifier_calls import ClassifierCalls
from tests.catalog.agreement.odd_values import any_json, few_names, mostly, names, owners
from tests.catalog.agreement.scan_calls import (
    collections,
    numbers,
    owner_numbers,
    pages,
    versions,
)
from tests.catalog.set_clock import SetClock

keys = mostly(st.sampled_from(["key", "key", "é"]), names, of=8)
workers = st.sampled_from(["first", "first", "second"])
moments = st.sampled_from(["2001-01-01T00:00:00.000000Z", "2998-01-01T00:00:00.000000Z"])
leases = st.sampled_from([1000.0, 1000.0, 0.0])
answers = st.builds(
    SavedAnswer,
    st.sampled_from(["d1", "d2"]),
    st.sampled_from([200, 201, 2**31 - 1]),
    st.sampled_from([b"", b"{}", b"\0\xff"]),
    st.dictionaries(few_names, names, max_size=2),
)


class WorkCalls(ClassifierCalls):
    """What goes for good, and what several processes share."""

    @initialize()
    def set_clock(self) -> None:
        self.clock = SetClock()
        self.operations: list[str] = ["op_none"]
        self.keys: list[str] = ["key_none"]

    # erasure ----------------------------------------------------------------------------------

    @rule(owner=owner_numbers, collection=collections, number=numbers, version=versions)
    def erase_scan(self, owner: int, collection: str, number: int, version: Any) -> None:
        scan_id = self.scan_id(number)
        self.ask("erase_scan", owner, collection, scan_id, if_version=version)
        self.ask("forgettings", owner)

    @rule(owner=owner_numbers, subject_id=owners.filter(bool), study=st.booleans())
    def erase_patient(self, owner: int, subject_id: str, study: bool) -> None:
        self.ask("erase_study" if study else "erase_subject", owner, subject_id)
        self.ask("forgettings", owner)
        self.ask("list_classifiers", owner, limit=9)
        self.both.call("settle_erasures")

    @rule(days=st.sampled_from([0.5, 2, 40]), jumps=st.booleans())
    def pass_time(self, days: float, jumps: bool) -> None:
        (self.clock.jump if jumps else self.clock.run)(days=days)

    @rule(
        limits=st.builds(
            SweepLimits,
            max_share=st.sampled_from([0.2, 0.2, 1.0]),
            min_scans=st.sampled_from([5, 5, 0]),
            is_confirmed=st.booleans(),
        )
    )
    def expire(self, limits: SweepLimits) -> None:
        while self.both.call("expire", limits=limits, clock=self.clock):
            pass
        self.both.call("all_collections")

    @rule(owner=owner_numbers, collection=collections)
    def expire_collection(self, owner: int, collection: str) -> None:
        self.ask("expire_collection", owner, collection, clock=self.clock)

    # keys and saved answers -------------------------------------------------------------------

    @rule(owner=owner_numbers, name=names, secret=names)
    def create_key(self, owner: int, name: str, secret: str) -> None:
        key = self.ask("create_key", owner, name, secret)
        if not isinstance(key, Refusal):
            self.keys.append(key.key_id)
        self.both.call("find_key", secret)

    @rule(owner=owner_numbers, number=numbers, secret=names)
    def revoke_key(self, owner: int, number: int, secret: str) -> None:
        self.ask("revoke_key", owner, self.keys[-1 - number % len(self.keys)])
        self.ask("list_keys", owner)
        self.both.call("find_key", secret)

    @rule(
        owner=owner_numbers,
        number=numbers,
        secret=names,
        old_until=moments,
        expires_at=mostly(st.none(), moments, of=3),
    )
    def rotate_key(
        self, owner: int, number: int, secret: str, old_until: str, expires_at: Any
    ) -> None:
        key_id = self.keys[-1 - number % len(self.keys)]
        times = {"old_until": old_until, "expires_at": expires_at}
        key = self.ask("rotate_key", owner, key_id, secret, **times)
        if not isinstance(key, Refusal):
            self.keys.append(key.key_id)
        self.ask("list_keys", owner)
        self.both.call("find_key", secret)

    @rule(number=numbers, used_at=moments)
    def note_key_uses(self, number: int, used_at: str) -> None:
        uses = dict.fromkeys(self.keys[: 1 + number % len(self.keys)], used_at)
        self.both.call("note_key_uses", uses)

    @rule(owner=owner_numbers, status=st.sampled_from(["active", "active", "suspended"]))
    def suspend(self, owner: int, status: Any) -> None:
        self.ask("set_workspace_status", owner, status)
        self.ask("workspace_contents", owner)

    @rule(owner=owner_numbers, key=keys, worker=workers, lease_s=leases)
    def claim_answer(self, owner: int, key: str, worker: str, lease_s: float) -> None:
        self.ask("claim_answer", owner, key, "d1", owner=worker, lease_s=lease_s)

    @rule(
        owner=owner_numbers,
        key=keys,
        answer=answers,
        keep_s=st.sampled_from([1000, 1000, 0]),
        worker=mostly(workers, st.none(), of=3),
        old=st.booleans(),
    )
    def save_answer(
        self, owner: int, key: str, answer: SavedAnswer, keep_s: float, worker: Any, old: bool
    ) -> None:
        known = self.ask("forgettings", owner)
        options = {"forgettings": known - old} if isinstance(known, int) else {}
        self.ask("save_answer", owner, key, answer, keep_s=keep_s, owner=worker, **options)
        self.ask("find_answer", owner, key)

    @rule(owner=owner_numbers, key=keys, worker=workers)
    def release_answer(self, owner: int, key: str, worker: str) -> None:
        self.ask("release_answer", owner, key, worker)
        self.ask("find_answer", owner, key)

    # operations -------------------------------------------------------------------------------

    @rule(
        owner=owner_numbers,
        kind=st.sampled_from(["fit", "fit", "é"]),
        request=any_json,
        for_service=st.booleans(),
    )
    def create_operation(self, owner: int, kind: str, request: Any, for_service: bool) -> None:
        made = self.ask("create_operation", owner, kind, request, for_service=for_service)
        if not isinstance(made, Refusal):
            self.operations.append(made.operation_id)

    @rule(worker=workers, lease_s=leases, kinds=st.sampled_from([["fit"], ["fit", "é"], []]))
    def claim_operation(self, worker: str, lease_s: float, kinds: list[str]) -> None:
        self.both.call("claim_operation", worker, lease_s=lease_s, kinds=kinds)
        self.both.call("waiting_operations")

    @rule(
        owner=owner_numbers,
        number=numbers,
        worker=workers,
        what=st.sampled_from(["renew", "report", "end", "release", "cancel"]),
        outcome=any_json,
        state=st.sampled_from(["done", "failed", "cancelled"]),
    )
    def work(
        self, owner: int, number: int, worker: str, what: str, outcome: Any, state: str
    ) -> None:
        operation_id = self.operations[-1 - number % len(self.operations)]
        method, args, options = f"{what}_operation", [operation_id], {}
        if what != "cancel":
            args.append(worker)
        if what == "renew":
            options = {"lease_s": 1000.0}
        elif what == "report":
            options = {"done": number, "total": 2**40}
        elif what == "end":
            args.append(state)
            options = {"result" if state == "done" else "problem": outcome}
        self.ask(method, owner, *args, **options)
        self.ask("get_operation", owner, operation_id)

    @rule(owner=owner_numbers, limit=pages)
    def list_operations(self, owner: int, limit: int) -> None:
        before = None
        for _ in range(30):
            answer = self.ask("list_operations", owner, limit=limit, before=before)
            before = None if isinstance(answer, Refusal) else answer[-1].next_after
            if before is None:
                break
