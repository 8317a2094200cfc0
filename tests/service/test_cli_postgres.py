"""The commands over a catalog in PostgreSQL, as an operator runs them."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from postgres_process import SERVICE_ROLE, postgres_process
from typer.testing import CliRunner

from service.catalog.audit.audit_records import Draft
from service.catalog.audit.sqlite_audit import AUDIT_FILE, SqliteAudit
from service.catalog.data_folder import owned
from service.cli.main import app

pytestmark = pytest.mark.postgres
RELEASED = Path(__file__).parents[1] / "fixtures" / "catalog_v2"
runner = CliRunner()


@pytest.fixture(scope="module")
def server():
    with postgres_process() as server:
        yield server


@pytest.fixture
def as_role(server, monkeypatch, tmp_path):
    """Let the commands connect as a role to a directory and a shard, which are empty at first."""
    names = [server.create_database() for _ in range(2)]
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "none"))

    def run(role, is_sharded=True):
        urls = [server.url(name, role=role) for name in names]
        monkeypatch.setenv("SONOPROBE_CATALOG", urls[0])
        file = tmp_path / "shards.json"
        file.write_text(json.dumps({"north": urls[1]} if is_sharded else {}))
        monkeypatch.setenv("SONOPROBE_SHARDS", str(file))

    yield run
    for name in names:
        server.drop_database(name)


@pytest.fixture
def migrated(as_role):
    as_role("postgres")
    said = run("migrate", "--service-role", SERVICE_ROLE)
    assert said == f"directory: migrated north: migrated {SERVICE_ROLE} may use the tables"
    as_role(SERVICE_ROLE)


def run(*words, code=0):
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_tables_are_made_once_and_services_refuse_to_start_without(as_role):
    as_role(SERVICE_ROLE)
    assert "run sonoprobe migrate" in run("keys", "list", code=1)
    as_role("postgres")
    assert "north: migrated" in run("migrate")
    assert run("migrate") == "directory: up to date north: up to date"


def test_a_catalog_gets_its_first_shard_later(as_role):
    as_role("postgres", is_sharded=False)
    assert run("migrate", "--service-role", SERVICE_ROLE).startswith("directory: migrated")
    as_role(SERVICE_ROLE, is_sharded=False)
    run("workspace", "create", "ward")
    as_role(SERVICE_ROLE)
    assert "run sonoprobe migrate" in run("keys", "list", code=1)
    as_role("postgres")
    assert "north: migrated" in run("migrate", "--service-role", SERVICE_ROLE)
    as_role(SERVICE_ROLE)
    run("workspace", "move", "ward", "--to", "north")
    assert run("workspace", "list").endswith("ward north active")


def test_keys_are_made_listed_and_revoked(migrated):
    assert "shown once: sp_" in run("keys", "create", "--name", "probe", "--workspace", "ward")
    key_id, name, _, state, rights, *used = run("keys", "list", "--workspace", "ward").split()
    assert (name, state, rights, used) == ("probe", "active", "admin", ["never", "used"])
    assert run("keys", "revoke", key_id, "--workspace", "ward") == f"revoked {key_id}"
    assert "revoked" in run("keys", "list", "--workspace", "ward")
    assert run("expire") == "0 scans deleted"


def test_workspaces_are_created_listed_and_moved(migrated):
    run("workspace", "create", "ward", "--shard", "north")
    run("workspace", "create", "clinic")
    assert "there is a workspace of this name" in run("workspace", "create", "clinic", code=1)
    assert "name no such shard" in run("workspace", "create", "x", "--shard", "south", code=1)
    places = run("workspace", "list").split()
    assert places[1::4] == ["ward", "clinic"]
    assert places[2::4] == ["north", "directory"]
    run("workspace", "move", "ward", "--to", "directory")
    assert run("workspace", "list").split()[2::4] == ["directory", "directory"]
    assert run("workspace", "move", "ward", "--to", "directory") == "nothing to move"
    assert "no workspace of this name" in run("workspace", "move", "x", "--to", "north", code=1)


def test_a_data_folder_is_copied_exported_and_imported_again(migrated, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(RELEASED, source)
    with closing(SqliteAudit(source / AUDIT_FILE)) as log:
        log.append([Draft("ws_1", {"action": "before"}), Draft("service", {"action": "there"})])
    with owned(source):
        assert "another service uses this data folder" in run("copy", "--from", source, code=1)
    assert run("copy", "--from", source).endswith("copied and compared")
    assert "the whole catalog already" in run("copy", "--from", source, code=1)
    assert "the folder has no catalog" in run("copy", "--from", tmp_path, code=1)
    name = run("workspace", "list").split()[1]
    scans = run("export", "lungs", tmp_path / "out", "--workspace", name)
    again = run("import", tmp_path / "out", "--collection", "again", "--workspace", name)
    assert scans.split()[0] == again.split()[0] != "0"
    run("workspace", "move", name, "--to", "north")
    assert run("export", "again", tmp_path / "later", "--workspace", name) == scans
    assert not (tmp_path / "none").exists()
    chains = runner.invoke(app, ["audit", "export"]).stdout.splitlines()
    actions = [json.loads(line)["entry"]["action"] for line in chains]
    assert actions[0] == "there"
    assert actions.count("workspace.move") == 2
    assert {"before", "export", "import"} <= set(actions)
    assert "ws_1: 1 entries" in run("audit", "verify")


def test_only_the_owner_of_the_tables_moves_old_audit_entries_out(migrated, as_role, tmp_path):
    run("keys", "create", "--name", "first")
    file = tmp_path / "old.jsonl"
    assert "the owner of the tables" in run(
        "audit", "move-out", file, "--before", "2099-01-01", code=1
    )
    assert not file.exists()
    as_role("postgres")
    run("audit", "move-out", file, "--before", "2099-01-01")
    moved = len(file.read_text().splitlines())
    assert moved > 0
    as_role(SERVICE_ROLE)
    run("keys", "create", "--name", "second")
    assert "are in files" in run("audit", "verify")
    whole = json.loads(run("audit", "verify", "--moved", file, "--json"))
    assert whole["sound"]
    assert sum(chain["entries"] for chain in whole["chains"]) > moved
