"""The audit log from the command line: verify, export, forget, and what other commands leave."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from typer.testing import CliRunner

from service.access.audit.audit_archive import write_now
from service.access.audit.audit_entries import AuditEvent, Who
from service.access.audit.audit_heads import HEADS_FILE, HeadsFile
from service.catalog.audit.sqlite_audit import AUDIT_FILE, open_to_read
from service.cli.main import app


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SONOPROBE_AUDIT_HEADS_DIR", str(tmp_path / "heads"))
    return tmp_path / "data"


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result.stdout


def exported(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("audit", "export", *arguments).splitlines()]


def noted(data_dir: Path, tmp_path: Path) -> None:
    with closing(open_to_read(data_dir / AUDIT_FILE)) as store:
        HeadsFile(tmp_path / "heads").note(store.heads())


def test_keys_made_on_the_command_line_are_recorded(data_dir: Path) -> None:
    run("keys", "create", "--name", "first")
    run("keys", "create", "--name", "second", "--role", "reader")
    first, second = (line.split("\t")[0] for line in run("keys", "list").splitlines())
    run("keys", "rotate", second)
    run("keys", "revoke", first)
    run("keys", "revoke", "key_00000000000000000000", exit_code=1)
    entries = [line["entry"] for line in exported("--workspace", "default")]
    assert [(e["action"], e["outcome"]) for e in entries] == [
        ("keys.create", "begun"),
        ("keys.create", "ok"),
        ("keys.rotate", "begun"),
        ("keys.rotate", "ok"),
        ("keys.revoke", "begun"),
        ("keys.revoke", "ok"),
        ("keys.revoke", "begun"),
        ("keys.revoke", "failed"),
    ]
    assert entries[1]["names"]["key"] == [second]
    assert entries[5]["names"] == {"key": [first]}
    assert entries[7]["code"] == "unknown_item"
    assert {entry["who"]["kind"] for entry in entries} == {"command"}
    of_service = [line["entry"] for line in exported() if line["entry"]["chain"] == "service"]
    assert next(e["names"] for e in of_service if "names" in e)["key"] == [first]
    assert exported("--workspace", "default", "--after", "6")[0]["entry"]["seq"] == 7


def test_policies_and_lives_of_workspaces_are_recorded(tmp_path: Path) -> None:
    run("workspace", "create", "ward")
    policy = tmp_path / "policy.json"
    policy.write_text('{"intake": {"refuse_burned_in": "high"}}')
    run("policy", "set", str(policy), "--workspace", "ward")
    policy.write_text('{"intake": {"pseudonyms": true}}')
    run("policy", "set", str(policy), "--workspace", "ward", exit_code=1)
    run("policy", "grant", "scans=1000", "--workspace", "ward")
    run("workspace", "suspend", "ward")
    run("workspace", "resume", "ward")
    run("workspace", "suspend", "default", exit_code=1)
    of_ward = [line["entry"] for line in exported("--workspace", "ward")]
    assert [(e["action"], e["outcome"]) for e in of_ward] == [
        ("policy.set", "begun"),
        ("policy.set", "ok"),
        ("policy.set", "begun"),
        ("policy.set", "failed"),
        ("policy.grant", "begun"),
        ("policy.grant", "ok"),
    ]
    deleted = run("workspace", "delete", "ward", "--yes").split("\t")[0]
    entries = [line["entry"] for line in exported() if line["entry"]["chain"] == "service"]
    ended = [(e["action"], e["outcome"]) for e in entries if e["outcome"] != "begun"]
    assert ended == [
        ("workspace.create", "ok"),
        ("workspace.suspend", "ok"),
        ("workspace.resume", "ok"),
        ("workspace.suspend", "failed"),
        ("workspace.delete", "ok"),
    ]
    assert [e["outcome"] for e in entries].count("begun") == len(ended)
    assert entries[-1]["names"] == {"workspace": ["ward"], "operation": [deleted]}


def test_verify_says_what_is_confirmed_and_names_what_was_changed(
    data_dir: Path, tmp_path: Path
) -> None:
    run("keys", "create", "--name", "first")
    assert "service: 2 entries" in run("audit", "verify")
    noted(data_dir, tmp_path)
    assert "all confirmed" in run("audit", "verify")
    with closing(sqlite3.connect(data_dir / AUDIT_FILE)) as file:
        file.execute("DROP TRIGGER entries_stay")
        file.execute("DELETE FROM entries WHERE seq = 2")
        file.execute("UPDATE chains SET seq = 1, sha256 = (SELECT sha256 FROM entries)")
        file.commit()
    assert "entry 2 and what followed it are gone" in run("audit", "verify", exit_code=1)
    report = json.loads(run("audit", "verify", "--json", exit_code=1))
    assert report["sound"] is False
    assert report["chains"][0]["findings"] == [{"kind": "cut", "seq": 2, "agrees_until": 0}]
    nothing = tmp_path / "nothing"
    nothing.write_text("")
    run("audit", "verify", "--heads", str(nothing))  # without heads it cannot be seen


def test_an_export_can_be_verified_by_anybody() -> None:
    import hashlib

    run("keys", "create", "--name", "first")
    previous = bytes(32)
    for line in exported():
        previous = hashlib.sha256(previous + rfc8785.dumps(line["entry"])).digest()
        assert previous.hex() == line["sha256"]


def test_forgotten_digests_are_never_found_again(data_dir: Path) -> None:
    run("keys", "create", "--name", "first")
    event = AuditEvent("ws", "a", Who("service"), "ok", names={"subject": ["p"]})

    def digest() -> str:
        with closing(open_to_read(data_dir / AUDIT_FILE)) as store:
            chain = next(c["entry"]["chain"] for c in exported("--workspace", "default"))
            event.chain = chain
            write_now(store, event)
        return str(exported("--workspace", "default")[-1]["entry"]["names"]["subject"][0])

    run("keys", "create", "--name", "second")
    before = digest()
    assert digest() == before
    run("audit", "forget-digests", "--workspace", "default")
    assert digest() != before
    run("audit", "verify")


def test_a_restore_on_an_empty_machine_brings_the_log_back_and_says_what_is_lost(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups = tmp_path / "backups"
    run("keys", "create", "--name", "first")
    run("backup", "--folder", str(backups))
    run("keys", "create", "--name", "second")
    noted(data_dir, tmp_path)
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "new"))
    run("restore", str(backups))
    report = run("audit", "verify")
    assert "a restore lost entries 1 to 2" in report  # of the workspace, after the backup
    actions = [line["entry"]["action"] for line in exported()]
    assert sorted(actions) == ["audit.restored", "keys.create", "keys.create", "restore"]
    assert (tmp_path / "heads" / HEADS_FILE).is_file()
    run("audit", "verify", "--file", str(backups / AUDIT_FILE), exit_code=1)  # it is older


def test_commands_leave_no_log_where_it_is_off(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPROBE_AUDIT", "false")
    run("keys", "create", "--name", "first")
    assert not (data_dir / AUDIT_FILE).exists()
    assert "no audit.sqlite" in CliRunner().invoke(app, ["audit", "verify"]).output


def test_old_entries_move_into_a_file_and_the_log_still_verifies(tmp_path: Path) -> None:
    run("keys", "create", "--name", "first")
    file = tmp_path / "old.jsonl"
    assert "no entry is older" in run("audit", "move-out", str(file), "--before", "2026-01-01")
    assert file.read_text() == ""
    run("audit", "move-out", str(file), "--before", "2099-01-01", exit_code=1)  # it exists
    file.unlink()
    before = exported()
    moved = run("audit", "move-out", str(file), "--before", "2099-01-01", "--json")
    assert sum(json.loads(moved)["moved"].values()) == len(before)
    assert [json.loads(line) for line in file.read_text().splitlines()] == before
    assert {line["entry"]["action"] for line in exported()} == {"audit.moved"}
    assert "are in files" in run("audit", "verify")
    whole = json.loads(run("audit", "verify", "--moved", str(file), "--json"))
    assert whole["sound"] is True
    counts = sum(chain["entries"] for chain in whole["chains"])
    assert counts == len(before) + len(exported())
    file.write_text(file.read_text().replace("keys.create", "keys.revoke"))
    run("audit", "verify", "--moved", str(file), exit_code=1)
