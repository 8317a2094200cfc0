"""The chains of the audit log on every engine."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from service.catalog.audit.audit_copy import copy_chains
from service.catalog.audit.audit_place import store_of
from service.catalog.audit.audit_records import (
    AuditFilter,
    AuditStore,
    ChainedEntry,
    Draft,
    canonical,
    settled,
)
from service.catalog.audit.sqlite_audit import SqliteAudit
from service.catalog.interface import Catalog
from service.errors import AuditDiffers, AuditFailure, AuditFull


@pytest.fixture
def store(catalog: Catalog) -> Iterator[AuditStore]:
    with closing(store_of(catalog)) as store:
        yield store


def draft(chain: str, action: str, **fields: Any) -> Draft:
    return Draft(chain, {"at": "2026-11-29T10:00:00.000000Z", "action": action, **fields})


def actions(entries: tuple[ChainedEntry, ...]) -> list[str]:
    return [entry.fields["action"] for entry in entries]


def whole(store: AuditStore, chain: str) -> tuple[ChainedEntry, ...]:
    return store.read(chain, after=0, limit=10_000)


def test_each_digest_is_of_the_one_before_and_of_the_canonical_entry(store: AuditStore) -> None:
    store.append([draft("ws_1", "a", names={"scan": ["ä", "\\"]}), draft("ws_2", "b")])
    store.append([draft("ws_1", "c", who={"id": "key_1", "kind": "key"})])
    previous = bytes(32)
    for entry in whole(store, "ws_1"):
        text = rfc8785.dumps(entry.fields)
        assert text == entry.text.encode()
        previous = hashlib.sha256(previous + text).digest()
        assert entry.sha256 == previous.hex()
    assert actions(whole(store, "ws_1")) == ["a", "c"]
    assert [(h.chain, h.seq) for h in store.heads()] == [("ws_1", 2), ("ws_2", 1)]
    assert store.heads()[0].sha256 == previous.hex()


def test_the_standard_encoder_writes_the_canonical_form() -> None:
    points = [*range(0x400), *range(0x1FF0, 0x2070), *range(0xD7F0, 0xE010), 0xFFFF, 0x1F600]
    for start in range(0, len(points), 50):
        text = settled("".join(map(chr, points[start : start + 50])))
        fields = {"b": [text, 2**53 - 1], "B": {"": text}, "a_1": 0, "aB": -1, "names": {}}
        assert canonical(fields).encode() == rfc8785.dumps(fields)


def test_several_processes_extend_one_chain(place: Any, catalog: Catalog) -> None:
    with closing(place.open()) as other_catalog:
        stores = [store_of(catalog), store_of(other_catalog)]

        def write(store: AuditStore, name: str) -> None:
            for n in range(20):
                store.append([draft("ws_1", f"{name}{n}"), draft("ws_2", f"{name}{n}")])

        threads = [
            threading.Thread(target=write, args=pair) for pair in zip(stores, "xy", strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for chain in ("ws_1", "ws_2"):
            entries = whole(stores[0], chain)
            assert [entry.seq for entry in entries] == list(range(1, 41))
            previous = bytes(32)
            for entry in entries:
                previous = hashlib.sha256(previous + entry.text.encode()).digest()
                assert entry.sha256 == previous.hex()
            for name in "xy":  # each in its own order
                ours = [action for action in actions(entries) if action[0] == name]
                assert ours == [f"{name}{n}" for n in range(20)]
        for store in stores:
            store.close()


def test_entries_are_found_by_what_they_say_newest_first(store: AuditStore) -> None:
    key = {"id": "key_1", "kind": "key"}
    store.append(
        [
            draft("ws_1", "predict_items", who=key, outcome="ok"),
            draft("ws_1", "search", outcome="refused", at="2026-11-29T11:00:00.000000Z"),
            draft("ws_1", "predict_items", outcome="ok", names={"scan": ['d_"1']}),
            draft("ws_2", "predict_items", outcome="ok"),
        ]
    )

    def seqs(limit: int = 10, before: int | None = None, **wanted: Any) -> list[int]:
        found = store.find("ws_1", AuditFilter(**wanted), limit=limit, before=before)
        return [entry.seq for entry in found]

    assert seqs() == [3, 2, 1]
    assert seqs(limit=2) == [3, 2]
    assert seqs(before=3) == [2, 1]
    assert seqs(action="predict_items") == [3, 1]
    assert seqs(author="key_1") == [1]
    assert seqs(outcome="refused") == [2]
    assert seqs(named=('d_"1', "nobody")) == [3]
    assert seqs(named=("d_",)) == []  # a part of a name is none
    assert seqs(since="2026-11-29T10:30") == [2]
    assert seqs(until="2026-11-29T10:30", action="predict_items", before=3) == [1]


def test_a_key_of_digests_is_made_once_and_destroyed_for_ever(
    store: AuditStore, catalog: Catalog, place: Any
) -> None:
    first = store.digest_key("ws_1")
    with closing(store_of(catalog)) as other:
        assert other.digest_key("ws_1") == first != other.digest_key("ws_2")
        other.destroy_digest_key("ws_1")
    assert "ws_1" not in store.digest_keys()
    assert store.digest_key("ws_1") != first
    assert not place.holds(first)


def test_a_copy_takes_what_it_lacks_and_refuses_another_chain(
    store: AuditStore, tmp_path: Path
) -> None:
    store.append([draft("ws_1", "a"), draft("ws_2", "b")])
    keys = {chain: store.digest_key(chain) for chain in ("ws_1", "ws_2")}
    with closing(SqliteAudit(tmp_path / "copy.sqlite", is_archive=True)) as copy:
        assert copy_chains(store, copy) == 2
        store.append([draft("ws_1", "c")])
        store.destroy_digest_key("ws_2")
        assert (copy_chains(store, copy), copy_chains(store, copy)) == (1, 0)
        assert copy.digest_keys() == {"ws_1": keys["ws_1"]}
        assert [whole(copy, c) for c in ("ws_1", "ws_2")] == [
            whole(store, c) for c in ("ws_1", "ws_2")
        ]
        copy.append([draft("ws_1", "elsewhere")])
        store.append([draft("ws_1", "here")])
        with pytest.raises(AuditDiffers, match="entry 3"):
            copy_chains(store, copy)
        with pytest.raises(AuditDiffers):
            copy.copy_in(whole(store, "ws_1")[2:], {})


@pytest.mark.sqlite
def test_a_full_disk_is_named_and_what_was_stored_stays(store: SqliteAudit) -> None:
    store.append([draft("ws_1", "a")])
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AuditFull, match="SQLITE_FULL"):
        store.append([draft("ws_1", "b" * 100) for _ in range(100)])
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store.append([draft("ws_1", "c")])
    assert actions(whole(store, "ws_1")) == ["a", "c"]


@pytest.mark.sqlite
def test_the_file_refuses_changes_and_foreign_files(
    store: AuditStore, folder: Path, edit_audit: Callable[..., None], catalog: Catalog
) -> None:
    store.append([draft("ws_1", "a")])
    for statement in ("DELETE FROM entries", "UPDATE entries SET text = '{}'"):
        with pytest.raises(Exception, match="append-only"):
            edit_audit(statement)
    edit_audit("PRAGMA user_version = 99")
    with pytest.raises(AuditFailure, match="version 1, got 99"):
        store_of(catalog)


@pytest.fixture
def edit_audit(folder: Path) -> Callable[..., None]:
    import sqlite3

    def run(statement: str) -> None:
        with closing(sqlite3.connect(folder / "audit.sqlite")) as connection:
            connection.execute(statement)
            connection.commit()

    return run


@pytest.mark.postgres
def test_the_role_of_the_service_cannot_change_an_entry(postgres_url: str) -> None:
    import psycopg

    from service.catalog.postgres.postgres_catalog import open_postgres

    with closing(open_postgres(postgres_url)) as catalog:
        store_of(catalog).append([draft("ws_1", "a")])
    for statement in ("DELETE FROM audit_entries", "UPDATE audit_entries SET text = '{}'"):
        with psycopg.connect(postgres_url) as connection:
            connection.execute("SELECT set_config('app.workspace', '*', true)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
