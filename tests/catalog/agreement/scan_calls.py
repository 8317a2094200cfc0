"""Random calls about workspaces, collections and scans."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from service.catalog.filter_records import ScanFilter
from service.catalog.records import NewScan, PolicyPatch, ScanPatch
from tests.catalog.agreement.both_engines import BothEngines, Refusal, Row
from tests.catalog.agreement.odd_values import (
    DIM,
    any_json,
    any_scalars,
    digests,
    few_classes,
    filters,
    good_scans,
    mostly,
    names,
    owners,
    scans,
    spellings,
)

ENCODER = "enc_1"
owner_numbers = st.sampled_from([0] * 10 + [1, 1, 2])  # 2 = no workspace
collections = st.sampled_from(["lungs"] * 7 + ["é", "a%", "none"])
pages = st.sampled_from([1, 2, 5, 100])
versions = st.sampled_from([None] * 5 + [1, 2, 3])
days = mostly(
    st.sampled_from([None, 1, 7.5, 30]), st.sampled_from([0.001, 0, -1, 100_001, float("nan")])
)
numbers = st.integers(0, 20)
policy_fields = mostly(
    st.sets(st.sampled_from(["retention_days", "keep_images", "description"])), st.just({"name"})
)
owner_fields = mostly(st.sets(st.sampled_from(["subject_id", "study_id"])), st.just({"sha256"}))


def as_it_is(scan: NewScan) -> NewScan:
    """What a collection that accepts everything stores."""
    return scan


class ScanCalls(RuleBasedStateMachine):
    """Two workspaces with the collection ``lungs``, which both engines must keep alike."""

    both: BothEngines

    def start(self) -> BothEngines:
        """Two empty catalogs."""
        raise NotImplementedError

    @initialize(new=st.lists(good_scans, min_size=4, max_size=9))
    def prepare(self, new: Any) -> None:
        self.both = self.start()
        self.owners = [self.both.call("ensure_workspace", name) for name in ("ours", "théirs")]
        self.owners = [workspace.workspace_id for workspace in self.owners] + ["ws_none"]
        for owner in self.owners[:2]:
            options = {"encoder_id": ENCODER, "dim": DIM, "keep_images": True}
            self.both.call("create_collection", owner, "lungs", **options)
        self.scan_ids: list[str] = ["none"]
        self.row_ids: list[Row | int] = [10**9]
        self._store(0, "lungs", new, ENCODER)

    def ask(self, method: str, number: int, /, *args: Any, **options: Any) -> Any:
        """A call about one workspace."""
        return self.both.call(method, self.owners[number], *args, **options)

    def scan_id(self, number: int) -> str:
        return self.scan_ids[-1 - number % len(self.scan_ids)]

    def row_id(self, number: int) -> Row | int:
        return self.row_ids[-1 - number % len(self.row_ids)]

    # workspaces and collections --------------------------------------------------------------

    @rule(name=names)
    def ensure_workspace(self, name: str) -> None:
        self.both.call("ensure_workspace", name)
        self.both.call("list_workspaces")

    @rule(
        owner=owner_numbers,
        name=mostly(collections, names, of=3),
        description=names,
        dim=mostly(st.just(DIM), st.sampled_from([2, 0, -1])),
        keep=st.booleans(),
        age=days,
        intake=any_json,
    )
    def create_collection(
        self, owner: int, name: str, description: str, dim: int, keep: bool, age: Any, intake: Any
    ) -> None:
        options = {"keep_images": keep, "retention_days": age, "intake": intake}
        self.ask(
            "create_collection", owner, name, description, encoder_id=ENCODER, dim=dim, **options
        )
        self.ask("get_collection", owner, name)

    @rule(owner=owner_numbers, limit=pages, after=mostly(st.none(), names, of=2))
    def list_collections(self, owner: int, limit: int, after: str | None) -> None:
        self.ask("list_collections", owner, limit=limit, after=after)
        self.both.call("all_collections")

    @rule(
        owner=owner_numbers,
        name=collections,
        description=names,
        keep=st.booleans(),
        age=days,
        fields=policy_fields,
        version=versions,
    )
    def patch_collection(
        self,
        owner: int,
        name: str,
        description: str,
        keep: bool,
        age: Any,
        fields: Any,
        version: Any,
    ) -> None:
        patch = PolicyPatch(description, keep, age, frozenset(fields))
        self.ask("patch_collection", owner, name, patch, if_version=version)

    @rule(
        owner=owner_numbers, name=mostly(collections, names, of=3), version=versions, word=numbers
    )
    def delete_collection(self, owner: int, name: str, version: Any, word: int) -> None:
        if name != "lungs" or word % 4 == 0:  # most scans should stay
            self.ask("delete_collection", owner, name, if_version=version)

    # writing scans ---------------------------------------------------------------------------

    @rule(
        owner=owner_numbers,
        collection=collections,
        new=st.lists(scans, min_size=1, max_size=4),
        encoder=st.sampled_from([ENCODER] * 9 + ["enc_2"]),
    )
    def add_scans(self, owner: int, collection: str, new: Any, encoder: str) -> None:
        self._store(owner, collection, new, encoder)
        self.ask("get_collection", owner, collection)
        self._store(owner, collection, new, encoder, unless_erased=True)

    @rule(new=st.lists(scans, min_size=2, max_size=6))
    def add_more_scans(self, new: Any) -> None:
        self._store(0, "lungs", new, ENCODER)

    def _store(self, owner: int, collection: str, new: Any, encoder: str, **options: Any) -> None:
        """Add scans, and remember their ids."""
        answers = self.ask("add_scans", owner, collection, new, encoder_id=encoder, **options)
        if not isinstance(answers, Refusal):
            stored = [answer.scan for answer in answers if hasattr(answer, "scan")]
            self.scan_ids += [scan.scan_id for scan in stored]
            self.row_ids += [scan.row_id for scan in stored]

    @rule(
        owner=owner_numbers,
        source=collections,
        other=collections,
        chosen=st.lists(numbers, max_size=4),
        encoder=st.sampled_from([ENCODER] * 9 + ["enc_2"]),
    )
    def copy_scans(self, owner: int, source: str, other: str, chosen: Any, encoder: str) -> None:
        scan_ids = [self.scan_id(number) for number in chosen]
        options = {"encoder_id": encoder, "accept": as_it_is}
        self.ask("copy_scans", owner, source, other, scan_ids, **options)
        self.ask("get_collection", owner, other)

    @rule(
        owner=owner_numbers,
        collection=collections,
        number=numbers,
        labels=st.dictionaries(spellings, st.one_of(st.none(), names), max_size=2),
        attributes=st.dictionaries(spellings, any_scalars, max_size=2),
        subject=owners,
        study=owners,
        fields=owner_fields,
        version=versions,
    )
    def patch_scan(
        self,
        owner: int,
        collection: str,
        number: int,
        labels: Any,
        attributes: Any,
        subject: Any,
        study: Any,
        fields: Any,
        version: Any,
    ) -> None:
        patch = ScanPatch(labels, attributes, subject, study, frozenset(fields))
        scan_id = self.scan_id(number)
        self.ask("patch_scan", owner, collection, scan_id, patch, if_version=version)
        self.ask("forgettings", owner)

    @rule(
        owner=owner_numbers,
        task=spellings,
        old=mostly(few_classes, spellings),
        new=names,
        merge=st.booleans(),
        dry=st.booleans(),
    )
    def rename_label(
        self, owner: int, task: str, old: str, new: str, merge: bool, dry: bool
    ) -> None:
        self.ask("rename_label", owner, "lungs", task, old, new, merge=merge, dry_run=dry)

    # reading scans ---------------------------------------------------------------------------

    @rule(owner=owner_numbers, collection=collections, number=numbers, sha256=digests)
    def read_scan(self, owner: int, collection: str, number: int, sha256: str) -> None:
        scan_id = self.scan_id(number)
        for method in ("get_scan", "thumbnail", "kept_image"):
            self.ask(method, owner, collection, scan_id)
        self.ask("find_known", owner, collection, [sha256, f"{number % 6:x}" * 64, "\ud800"])
        rows = [self.row_id(number), self.row_id(number + 1), self.row_id(0)]
        self.ask("get_scans_by_row", owner, collection, rows)
        self.ask("row_vectors", owner, collection, rows)
        self.ask("kept_frames", owner, collection, rows)
        ids = [scan_id, self.scan_id(number + 1), scan_id]
        self.ask("embeddings", owner, collection, ids)

    @rule(owner=owner_numbers, collection=collections, scan_id=names)
    def read_odd_scan(self, owner: int, collection: str, scan_id: str) -> None:
        for method in ("get_scan", "thumbnail", "kept_image"):
            self.ask(method, owner, collection, scan_id)

    @rule(owner=owner_numbers, collection=collections)
    def read_everything(self, owner: int, collection: str) -> None:
        self.ask("content_hashes", owner, collection)
        self.ask("export_rows", owner, collection, limit=100)
        self.ask("kept_frames", owner, collection)
        self.ask("frames_stamp", owner, collection)
        self.ask("facets", owner, collection, where=ScanFilter(), attributes=["a", "é", "$.a"])
        self.ask("list_scans", owner, collection, where=ScanFilter(), limit=1000)

    @rule(owner=owner_numbers, collection=collections, where=filters, limit=pages, number=numbers)
    def filter_any_scans(
        self, owner: int, collection: str, where: ScanFilter, limit: int, number: int
    ) -> None:
        self._filter(owner, collection, where, limit, number)

    @rule(where=filters, limit=pages, number=numbers)
    def filter_scans(self, where: ScanFilter, limit: int, number: int) -> None:
        self._filter(0, "lungs", where, limit, number)

    def _filter(
        self, owner: int, collection: str, where: ScanFilter, limit: int, number: int
    ) -> None:
        self.ask("row_ids_where", owner, collection, where)
        self.ask("list_scans", owner, collection, where=where, limit=limit)
        self.ask("labelled", owner, collection, where=where, most=limit, vectors=number % 2 == 0)
        chosen = ["a", "é", "😀", "$.a", "%"][: number % 6]
        options = {"labels": None if number % 3 else chosen, "attributes": chosen, "limit": limit}
        self.ask("facets", owner, collection, where=where, **options)

    @rule(
        owner=owner_numbers,
        collection=collections,
        limit=pages,
        after=st.sampled_from(["", "x", "-1", "1.0", " 1", "²", "٣", "9" * 19, "9" * 30, "0"]),
    )
    def page_from_odd_cursor(self, owner: int, collection: str, limit: int, after: str) -> None:
        where = ScanFilter()
        self.ask("list_scans", owner, collection, where=where, limit=limit, after=after)
        self.ask("subject", owner, "a", limit=limit, after=after)

    @rule(owner=owner_numbers, where=filters, limit=st.sampled_from([0, 1, 2]))
    def walk_pages(self, owner: int, where: ScanFilter, limit: int) -> None:
        after = None
        for _ in range(30):
            answer = self.ask("list_scans", owner, "lungs", where=where, limit=limit, after=after)
            after = None if isinstance(answer, Refusal) else answer[1].next_after
            if after is None:
                break

    @rule(owner=owner_numbers, subject_id=owners.filter(bool), limit=pages)
    def read_subject(self, owner: int, subject_id: str, limit: int) -> None:
        answer = self.ask("subject", owner, subject_id, limit=limit)
        after = None if isinstance(answer, Refusal) else answer[1].next_after
        if after is not None:
            self.ask("subject", owner, subject_id, limit=limit, after=after)

    @rule(owner=owner_numbers, limit=st.sampled_from([1, 2]))
    def export_page_by_page(self, owner: int, limit: int) -> None:
        after: Row | int = 0
        for _ in range(30):
            rows = self.ask("export_rows", owner, "lungs", after=after, limit=limit)
            if isinstance(rows, Refusal) or not rows:
                break
            after = rows[-1].scan.row_id

    @rule(owner=owner_numbers, collection=collections)
    def read_no_rows(self, owner: int, collection: str) -> None:
        self.ask("get_scans_by_row", owner, collection, np.array([], np.int64))
        self.ask("row_vectors", owner, collection, [])
        self.ask("embeddings", owner, collection, [])
        self.ask("kept_frames", owner, collection, [])
