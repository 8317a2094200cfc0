"""What the verification of an audit log finds, and what it cannot."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from service.access.audit.audit_archive import archive, bring_back
from service.access.audit.audit_entries import AuditEvent, Who
from service.access.audit.audit_heads import HeadsFile, read_heads
from service.access.audit.audit_log import AuditLog
from service.access.audit.audit_moving import archived_in, move_out
from service.access.audit.audit_verification import (
    Verification,
    differing,
    verify,
    verify_chain,
)
from service.catalog.audit.audit_records import GENESIS, AuditHead, Draft, link
from service.catalog.audit.sqlite_audit import AUDIT_FILE, SqliteAudit
from service.errors import AuditDiffers, AuditFailure

CHAIN = "ws_1"
SOMEBODY = Who("command", "uid:1")
Edit = Callable[..., list[tuple]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / AUDIT_FILE


@pytest.fixture
def edit(file: Path) -> Edit:
    """Change the file as somebody does who has the rights and drops the triggers."""

    def run(statement: str, *values: object) -> list[tuple]:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("DROP TRIGGER IF EXISTS entries_stay")
            connection.execute("DROP TRIGGER IF EXISTS entries_are_final")
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows

    return run


@pytest.fixture
def store(file: Path) -> Iterator[SqliteAudit]:
    """A chain of ten entries."""
    with closing(SqliteAudit(file)) as store:
        fill(store, 10)
        yield store


def fill(store: SqliteAudit, entries: int) -> None:
    store.append([Draft(CHAIN, {"action": "a", "at": "2026", "n": n}) for n in range(entries)])


def found(store: SqliteAudit, heads: Sequence[AuditHead] = ()) -> list[tuple[str, int]]:
    (result,) = verify(store, heads)
    return [(finding.kind, finding.seq) for finding in result.findings]


def the_chain(store: SqliteAudit, heads: Sequence[AuditHead] = ()) -> Verification:
    (result,) = verify(store, heads)
    return result


def rewrite(edit: Edit, since: int) -> None:
    """Compute all digests anew, as somebody does who knows how they are made."""
    previous = GENESIS
    for seq, text, sha256 in edit("SELECT seq, text, sha256 FROM entries ORDER BY seq"):
        previous = link(previous, text) if seq >= since else bytes.fromhex(sha256)
        edit("UPDATE entries SET sha256 = ? WHERE seq = ?", previous.hex(), seq)
    edit("UPDATE chains SET seq = ?, sha256 = ?", seq, previous.hex())


def test_an_untouched_chain_is_sound(store: SqliteAudit) -> None:
    result = the_chain(store, store.heads())
    assert (result.is_sound, result.entries, result.confirmed) == (True, 10, 10)


@pytest.mark.parametrize("seq", range(1, 11))
def test_a_changed_entry_is_named(store: SqliteAudit, edit: Edit, seq: int) -> None:
    edit("""UPDATE entries SET text = replace(text, '"a"', '"b"') WHERE seq = ?""", seq)
    assert found(store) == [("changed", seq)]


@pytest.mark.parametrize("seq", range(1, 10))
def test_a_removed_entry_is_missed(store: SqliteAudit, edit: Edit, seq: int) -> None:
    edit("DELETE FROM entries WHERE seq = ?", seq)
    assert found(store) == [("missing", seq + 1)]


def test_exchanged_entries_are_named(store: SqliteAudit, edit: Edit) -> None:
    edit("UPDATE entries SET seq = -1 WHERE seq = 4")
    edit("UPDATE entries SET seq = 4 WHERE seq = 5")
    edit("UPDATE entries SET seq = 5 WHERE seq = -1")
    assert ("changed", 4) in found(store)
    assert ("changed", 5) in found(store)


def test_a_closed_gap_is_named(store: SqliteAudit, edit: Edit) -> None:
    edit("DELETE FROM entries WHERE seq = 4")
    for seq in range(5, 11):
        edit("UPDATE entries SET seq = seq - 1 WHERE seq = ?", seq)
    assert found(store)[0] == ("changed", 4)


def test_a_tail_that_was_cut_off_is_missed_by_the_head_that_is_kept(
    store: SqliteAudit, edit: Edit
) -> None:
    edit("DELETE FROM entries WHERE seq > 7")
    assert found(store) == [("cut", 8)]


def test_a_tail_that_was_cut_off_with_the_head_is_missed_by_a_noted_head(
    store: SqliteAudit, edit: Edit
) -> None:
    noted = store.heads()
    edit("DELETE FROM entries WHERE seq > 7")
    rewrite(edit, since=8)
    assert found(store) == []  # the file agrees with itself
    assert found(store, noted) == [("cut", 10)]


def test_a_chain_that_was_computed_anew_differs_from_a_noted_head(
    store: SqliteAudit, edit: Edit
) -> None:
    noted = [*store.heads()]
    fill(store, 5)
    noted += store.heads()
    edit("UPDATE entries SET text = replace(text, '\"a\"', '\"b\"') WHERE seq = 12")
    rewrite(edit, since=12)
    assert found(store) == []
    result = the_chain(store, noted)
    assert [(f.kind, f.seq, f.agrees_until) for f in result.findings] == [("head", 15, 10)]


def test_what_came_after_the_last_noted_head_can_be_cut_off_unnoticed(
    store: SqliteAudit, edit: Edit
) -> None:
    noted = store.heads()
    fill(store, 3)
    edit("DELETE FROM entries WHERE seq > 11")
    rewrite(edit, since=11)
    result = the_chain(store, noted)
    assert (result.is_sound, result.confirmed, result.entries) == (True, 10, 11)


def test_a_chain_that_is_gone_is_missed_by_its_noted_head(store: SqliteAudit, edit: Edit) -> None:
    noted = store.heads()
    edit("DELETE FROM entries")
    edit("DELETE FROM chains")
    assert found(store, noted) == [("cut", 10)]


# heads ----------------------------------------------------------------------------------------


def test_heads_are_read_from_their_file_and_from_log_lines(
    store: SqliteAudit, tmp_path: Path
) -> None:
    heads = HeadsFile(tmp_path / "elsewhere")
    heads.note(store.heads())
    with heads.file.open("a") as stream:
        stream.write('{"chain": "ws_1", "se')  # a kill
    fill(store, 1)
    heads.note(store.heads())
    assert [(head.chain, head.seq) for head in heads.read()] == [(CHAIN, 10), (CHAIN, 11)]
    log = tmp_path / "service.log"
    log.write_text(
        'starting\n{"time": "2026-11-29T10:00:00", "message": "audit head", "chain": "ws_1", '
        f'"seq": 11, "sha256": "{store.heads()[0].sha256}"}}\n[1]\n'
    )
    assert [head.seq for head in read_heads(log)] == [11]
    assert the_chain(store, [*heads.read(), *read_heads(log)]).heads == 3


def test_a_start_over_a_log_that_lost_its_tail_says_so(
    store: SqliteAudit, edit: Edit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heads = HeadsFile(tmp_path)
    heads.note(store.heads())
    assert differing(store, heads.read()) == []
    edit("DELETE FROM entries WHERE seq > 7")
    rewrite(edit, since=8)
    log = AuditLog(store, heads)
    log.open()
    log.close()
    assert [r.__dict__["chain"] for r in caplog.records if "differs" in r.message] == [CHAIN]


def test_heads_are_noted_on_the_full_hour(store: SqliteAudit, tmp_path: Path) -> None:
    times = iter([3599.99, *[7200.0] * 100])
    log = AuditLog(store, HeadsFile(tmp_path), wall_clock=lambda: next(times))
    log.open()
    noted = len(HeadsFile(tmp_path).read())
    for _ in range(200):
        log.write(AuditEvent(CHAIN, "a", SOMEBODY, "ok"))
        if len(HeadsFile(tmp_path).read()) > noted:
            break
    else:
        raise AssertionError("no head was noted")
    assert log.head_age_s < 60
    log.close()


# restores -------------------------------------------------------------------------------------


def test_a_log_that_was_lost_comes_back_and_says_what_it_lacks(
    store: SqliteAudit, tmp_path: Path
) -> None:
    backups, heads = tmp_path / "backups", HeadsFile(tmp_path / "heads")
    backups.mkdir()
    assert archive(store, backups) == 10
    key = store.digest_key(CHAIN)
    assert archive(store, backups) == 0
    fill(store, 4)
    heads.note(store.heads())
    with closing(SqliteAudit(tmp_path / "new" / AUDIT_FILE)) as restored:
        assert bring_back(restored, backups, heads, SOMEBODY) == 4
        assert restored.digest_key(CHAIN) == key
        fill(restored, 9)
        heads.note(restored.heads())
        result = the_chain(restored, heads.read())
        assert (result.is_sound, result.restored) == (True, [(11, 14)])
        # The entry excuses no head that was noted after it.
        later = AuditHead(CHAIN, 12, "00" * 32, "2999")
        assert found(restored, [*heads.read(), later]) == [("head", 12)]
        with closing(SqliteAudit(tmp_path / "data" / AUDIT_FILE)) as lost:
            archive(lost, backups)
        archive(restored, backups)  # another continuation: the earlier copy is put aside
    assert len(list(backups.glob(f"{AUDIT_FILE}.differs-*"))) == 1


def test_a_restore_beside_a_log_that_is_there_loses_nothing(
    store: SqliteAudit, tmp_path: Path
) -> None:
    archive(store, tmp_path)
    fill(store, 4)
    heads = HeadsFile(tmp_path)
    heads.note(store.heads())
    assert bring_back(store, tmp_path, heads, SOMEBODY) == 0
    assert the_chain(store, heads.read()).entries == 14


# writing --------------------------------------------------------------------------------------


def test_entries_that_wait_share_a_commit_and_all_are_on_disk(
    store: SqliteAudit, tmp_path: Path
) -> None:
    log = AuditLog(store, HeadsFile(tmp_path))
    waiting = [log.submit(AuditEvent(CHAIN, f"w{n}", SOMEBODY, "ok")) for n in range(300)]
    log.open()
    for future in waiting:
        future.result(30)
    assert the_chain(store).entries == 310
    log.close()
    with pytest.raises(AuditFailure):
        log.submit(AuditEvent(CHAIN, "late", SOMEBODY, "ok"))


def test_names_that_are_too_many_are_counted(store: SqliteAudit, tmp_path: Path) -> None:
    log = AuditLog(store, HeadsFile(tmp_path))
    log.open()
    log.write(AuditEvent(CHAIN, "a", SOMEBODY, "ok", names={"scan": [str(n) for n in range(130)]}))
    entry = store.read(CHAIN, after=10, limit=1)[0].fields
    assert (len(entry["names"]["scan"]), entry["counts"]) == (100, {"scan": 130})
    log.close()


def test_a_closed_chain_keeps_its_entries_and_loses_the_key(
    store: SqliteAudit, tmp_path: Path
) -> None:
    log = AuditLog(store, HeadsFile(tmp_path))
    log.open()
    before = log.digest(CHAIN, "subject", "p")
    log.close_chain(CHAIN, SOMEBODY)
    assert log.digest(CHAIN, "subject", "p") != before
    assert store.read(CHAIN, after=10, limit=9)[0].fields["action"] == "audit.closed"
    assert the_chain(store).entries == 11
    log.close()


def test_a_chain_whose_beginning_was_moved_out_verifies_with_and_without_it(
    store: SqliteAudit, tmp_path: Path
) -> None:
    store.append([Draft(CHAIN, {"action": "a", "at": "2027"})])
    early, late = noted_at(store, 4), noted_at(store, 11)
    assert move_out(store, "2027", tmp_path / "old.jsonl", SOMEBODY) == {CHAIN: 10}
    assert [entry.seq for entry in store.read(CHAIN, after=0, limit=50)] == [11, 12]
    assert differing(store, [late]) == []
    (alone,) = verify(store, [early, late])
    assert (alone.findings, alone.moved, alone.entries, alone.confirmed) == ([], 10, 2, 11)
    (whole,) = verify(store, [early, late], archived_in([tmp_path / "old.jsonl"]))
    assert (whole.findings, whole.moved, whole.entries, whole.heads) == ([], 0, 12, 2)
    store.append([Draft(CHAIN, {"action": "a", "at": "2028"})])
    assert move_out(store, "2028", tmp_path / "next.jsonl", SOMEBODY) == {CHAIN: 2}
    assert found(store) == []
    both = archived_in([tmp_path / "old.jsonl", tmp_path / "next.jsonl"])
    assert verify(store, [], both)[0].is_sound


def noted_at(store: SqliteAudit, seq: int) -> AuditHead:
    (entry,) = store.read(CHAIN, after=seq - 1, limit=1)
    return AuditHead(CHAIN, seq, entry.sha256, "2027")


def test_a_beginning_that_no_entry_tells_of_is_found(store: SqliteAudit, edit: Edit) -> None:
    (third,) = store.read(CHAIN, after=2, limit=1)
    edit("INSERT INTO beginnings VALUES (?, 3, ?, '2027')", CHAIN, third.sha256)
    edit("DELETE FROM entries WHERE seq <= 3")
    assert found(store) == [("missing", 4)]


def test_a_changed_file_of_moved_entries_is_found(store: SqliteAudit, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    move_out(store, "2027", file, SOMEBODY)
    text = file.read_text()
    file.write_text(text.replace('"n":5', '"n":6'))
    findings = verify(store, [], archived_in([file]))[0].findings
    assert [(finding.kind, finding.seq) for finding in findings] == [("changed", 6)]
    file.write_text(text.replace('{"entry":', "{", 1))
    with pytest.raises(AuditFailure):
        verify(store, [], archived_in([file]))


def test_a_chain_that_does_not_verify_is_not_moved_out(
    store: SqliteAudit, edit: Edit, tmp_path: Path
) -> None:
    edit("UPDATE entries SET text = replace(text, '\"n\":5', '\"n\":6')")
    with pytest.raises(AuditDiffers):
        move_out(store, "2027", tmp_path / "old.jsonl", SOMEBODY)
    assert len(store.read(CHAIN, after=0, limit=50)) == 10
    with pytest.raises(AuditFailure):  # the file is there, and is not written over
        move_out(store, "2027", tmp_path / "old.jsonl", SOMEBODY)


def test_entries_that_stay_are_not_deleted_by_mistake(store: SqliteAudit, file: Path) -> None:
    move_out(store, "2026", file.parent / "none.jsonl", SOMEBODY)
    append_only = pytest.raises(sqlite3.IntegrityError, match="append-only")
    with closing(sqlite3.connect(file)) as connection, append_only:
        connection.execute("DELETE FROM entries WHERE seq = 1")


def test_a_copy_after_moving_begins_where_the_log_does(store: SqliteAudit, tmp_path: Path) -> None:
    archive(store, tmp_path / "early")
    store.append([Draft(CHAIN, {"action": "a", "at": "2027"})])
    archive(store, tmp_path / "early")
    move_out(store, "2027", tmp_path / "old.jsonl", SOMEBODY)
    for name, first in (("early", 1), ("late", 11)):
        archive(store, tmp_path / name)
        with closing(SqliteAudit(tmp_path / name / AUDIT_FILE)) as copy:
            assert [e.seq for e in copy.read(CHAIN, after=0, limit=50)] == list(range(first, 13))
            assert verify(copy, [])[0].entries == 13 - first
            assert copy.heads()[0].sha256 == store.heads()[0].sha256


def test_parts_of_a_chain_verify_one_after_the_other(store: SqliteAudit, edit: Edit) -> None:
    heads = [noted_at(store, 4), noted_at(store, 10)]
    ends = []
    after = 0
    for _ in range(3):
        part = verify_chain(store, CHAIN, heads, after=after, limit=4)
        assert part.is_sound
        after = part.last
        ends.append((part.last, part.confirmed, part.is_whole))
    assert ends == [(4, 4, False), (8, 0, False), (10, 10, True)]
    edit("DELETE FROM entries WHERE seq > 6")
    findings = verify_chain(store, CHAIN, heads, after=4, limit=4).findings
    assert [(finding.kind, finding.seq) for finding in findings] == [("cut", 7), ("cut", 10)]
    assert verify_chain(store, CHAIN, [], after=8, limit=4).findings[0].kind == "cut"


class CountingAudit(SqliteAudit):
    """A log that counts how often all its heads are read."""

    all_heads = 0

    def heads(self) -> tuple[AuditHead, ...]:
        self.all_heads += 1
        return super().heads()


def test_all_heads_are_read_once_however_many_chains_are_verified(tmp_path: Path) -> None:
    with closing(CountingAudit(tmp_path / "many.sqlite")) as store:
        store.append([Draft(f"ws_{n}", {"action": "a", "at": "2026"}) for n in range(20)])
        assert all(result.is_sound for result in verify(store, []))
        assert store.all_heads == 1


def test_chains_that_take_turns_in_a_file_are_read_apart(tmp_path: Path) -> None:
    with closing(SqliteAudit(tmp_path / "two.sqlite")) as store:
        store.append([Draft(f"ws_{n}", {"action": "a", "at": "2026"}) for n in (1, 2, 1, 2, 1)])
        move_out(store, "2027", tmp_path / "old.jsonl", SOMEBODY)
        lines = (tmp_path / "old.jsonl").read_text().splitlines(keepends=True)
        turns = tmp_path / "turns.jsonl"
        turns.write_text("".join(lines[n] for n in (0, 3, 1, 4, 2)))
        results = verify(store, [], archived_in([turns]))
        assert [(r.chain, r.entries, r.is_sound) for r in results] == [
            ("ws_1", 4, True),
            ("ws_2", 3, True),
        ]
