"""Keys, policies and workspaces of a service far away, by the commands for the catalog here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client, NotSignedIn
from tests.client.command_line import Run, invoke
from tests.service.expected import BUNDLE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("far")


@pytest.fixture(scope="module")
def far(folder: Path) -> Iterator[LocalService]:
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as running:
        yield running


@pytest.fixture
def run(far: LocalService, tmp_path: Path) -> Run:
    """Run a command where there is no catalog; its standard output, as JSON if asked for."""
    here = {"SONOPROBE_DATA_DIR": str(tmp_path / "here"), "SONOPROBE_BUNDLE_DIR": str(BUNDLE)}

    def run(*words: object, code: int = 0, key: str = far.key) -> Any:
        given = [*map(str, words), "--server", far.url]
        done = invoke(given, env=here | {"SONOPROBE_KEY": key})
        assert done.exit_code == code, done.output
        assert not (tmp_path / "here").exists()
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


def test_a_key_is_made_rotated_and_revoked_far_away(run: Run, far: LocalService) -> None:
    words = ("--name", "ward", "--role", "reader", "--collection", "study-*", "--expires-days", 2)
    made = run("keys", "create", *words, "--json")
    assert (made["roles"], made["collections"]) == (["reader"], ["study-*"])
    with Client(far.url, key=made["secret"]) as reader:
        assert reader.me().roles == ["reader"]
    next_secret = run("keys", "rotate", made["key_id"], "--overlap-s", 0).strip()
    (row,) = [line for line in run("keys", "list").splitlines() if made["key_id"] in line]
    assert "reader,collections=study-*" in row
    with Client(far.url, key=next_secret) as reader:
        key_id = reader.me().document()["key_id"]
        assert run("keys", "revoke", key_id) == f"revoked {key_id}\n"
        with pytest.raises(NotSignedIn):
            reader.me()
    run("keys", "list", code=1, key=made["secret"])


def test_a_policy_is_shown_and_set_far_away(run: Run, tmp_path: Path) -> None:
    wanted = tmp_path / "policy.json"
    wanted.write_text('{"limits": {"collections": 7}}')
    assert run("policy", "set", wanted, "--json")["in_force"]["collections"] == 7
    shown = run("policy", "show", "--json")
    assert (shown["limits"], shown["stored"]["scans"]) == ({"collections": 7}, 0)
    wanted.write_text('{"limits": {"collection": 7}}')
    run("policy", "set", wanted, code=1)


def test_workspaces_live_and_end_far_away(run: Run, far: LocalService, folder: Path) -> None:
    scopes = ("--scope", "service.admin", "--scope", "operation.read")
    words = ("keys", "create", "--name", "ops", *scopes)
    run(*words, code=1)  # the administrator of one workspace makes no operator
    there = {"SONOPROBE_DATA_DIR": str(folder), "SONOPROBE_KEY": far.key}
    made = invoke([*words], env=there)  # on the machine of the service
    operator = made.stdout.strip()
    created = run("workspace", "create", "clinic", "--json", key=operator)
    assert "clinic\tactive" in run("workspace", "list", key=operator)
    run("keys", "list", key=created["secret"])
    assert run("workspace", "suspend", "clinic", key=operator) == "suspended clinic\n"
    run("keys", "list", key=created["secret"], code=1)
    run("workspace", "resume", "clinic", key=operator)
    run("keys", "list", key=created["secret"])
    run("workspace", "delete", "clinic", key=operator, code=1)  # nobody answers the question
    begun = run("workspace", "delete", "clinic", "--yes", "--json", key=operator)
    with Client(far.url, key=operator) as client:
        client.wait(begun["operation_id"], timeout_s=60)
    assert "clinic" not in run("workspace", "list", key=operator)
    run("workspace", "create", "other", "--shard", "north", key=operator, code=1)


def test_a_key_far_away_chooses_no_workspace(run: Run) -> None:
    for words in (("keys", "list"), ("policy", "show")):
        run(*words, "--workspace", "default", code=1)
