"""The commands over the data folder, as an operator runs them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.main import app
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

runner = CliRunner()


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SONOPROBE_BUNDLE_DIR", str(BUNDLE))


def run(*words: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_a_backup_made_beside_a_running_service_is_checked_and_restored(
    tmp_path: Path, frames
) -> None:
    shelf = tmp_path / "shelf"
    with (
        local_service(Settings(data_dir=tmp_path / "data", drain_s=0)) as local,
        Client(local.url, key=local.key) as client,
    ):
        key = local.key
        client.create_collection("c")
        said = [{"scan_id": "a", "subject_id": "p1"}, {"scan_id": "b", "subject_id": "p2"}]
        client.add_scans("c", frames["cyst"][:2], said)
        made = run("backup", "--folder", shelf).split()[0]
        client.add_scans("c", frames["cyst"][2:3], [{"scan_id": "late"}])
        client.erase_subject("p1")
        assert "another service uses this data folder" in run("restore", shelf, "--replace", code=1)
    assert "2 scans in 1 collections, 0 classifiers nothing is damaged" in run(
        "check", "--backup", made
    )
    assert "--replace puts it aside" in run("restore", made, code=1)
    said_so = run("restore", shelf, "--replace")
    assert f"restored {Path(made).name}" in said_so
    assert "no erasure reaches it there" in said_so
    with (
        local_service(Settings(data_dir=tmp_path / "data", drain_s=0)) as local,
        Client(local.url, key=key) as client,
    ):
        assert [scan["scan_id"] for scan in client.scans("c")] == ["b"]
        assert len(client.search_image("c", frames["cyst"][1])["items"]) == 1


def test_check_names_what_is_damaged_by_row_and_fails(tmp_path: Path, frames) -> None:
    with (
        local_service(Settings(data_dir=tmp_path / "data", drain_s=0)) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("c")
        client.add_scans("c", frames["cyst"][:2], [{"subject_id": "SECRET"}, {}])
    assert json.loads(run("check", "--json"))["sound"] is True
    catalog = open_catalog(tmp_path / "data")
    with catalog._database.write() as connection:
        connection.execute("UPDATE scan_thumbnails SET jpeg = x'00' WHERE row_id = 1")
    catalog.close()
    assert "damaged_thumbnail: row 1" in run("check", code=1)
    found = json.loads(run("check", "--json", code=1))
    assert found["findings"] == {"damaged_thumbnail": ["row 1"]}
    assert "SECRET" not in str(found)


def test_expire_deletes_what_is_past_its_retention(tmp_path: Path, frames) -> None:
    settings = Settings(data_dir=tmp_path / "data", drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c", retention_days=1e-5)
        client.add_scans("c", frames["cyst"][:3])
    catalog = open_catalog(tmp_path / "data")
    with catalog._database.write() as connection:
        connection.execute("UPDATE scans SET created_at = '2020-01-01T00:00:00.000000Z'")
    catalog.close()
    assert run("expire") == "3 scans deleted"
    assert run("expire") == "0 scans deleted"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backup",), "expected --folder or SONOPROBE_BACKUP_DIR"),
        (("backup", "--folder", "{empty}"), "SQLITE_CANTOPEN"),
        (("restore", "{empty}"), "expected a folder with backup.json"),
        (("check",), "SQLITE_CANTOPEN"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_1(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    output = run(*(word.format(empty=tmp_path / "empty") for word in words), code=1)
    assert said in output
    assert "Traceback" not in output


def test_a_restore_to_an_empty_machine_applies_the_erasures_beside_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames
) -> None:
    shelf = tmp_path / "shelf"
    settings = Settings(data_dir=tmp_path / "data", backup_dir=shelf, bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        client.create_collection("c")
        said = [{"scan_id": "a", "subject_id": "p1"}, {"scan_id": "b", "subject_id": "p2"}]
        client.add_scans("c", frames["cyst"][:2], said)
        run("backup", "--folder", shelf)
        receipt = client.erase_subject("p1")
        assert receipt["backups_know"] is True
        assert "erasures_owed 0.0" in client.metrics()
    monkeypatch.chdir(tmp_path)
    for folder, options, expected in (
        (tmp_path / "one", (), 1),
        (Path("two"), ("--without-erasures",), 2),  # a relative folder, as by default
    ):
        monkeypatch.setenv("SONOPROBE_DATA_DIR", str(folder))
        said_so = run("restore", shelf, *options)
        assert ("erase it again" in said_so) is bool(options)
        assert f"{expected} scans in 1 collections" in run("check")
    (shelf / "erasures.jsonl").unlink()
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "three"))
    assert "--without-erasures" in run("restore", shelf, code=1)
    assert not (tmp_path / "three" / "catalog.sqlite").exists()


def test_a_backup_says_where_erasures_of_a_running_service_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_catalog(tmp_path / "data").close()
    shelf = tmp_path / "shelf"
    for known, is_told in (("", True), (tmp_path / "other", True), (shelf, False)):
        monkeypatch.setenv("SONOPROBE_BACKUP_DIR", str(known))
        assert ("missing until the next backup" in run("backup", "--folder", shelf)) is is_told


def test_a_scratch_service_leaves_the_backups_of_the_operator_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames
) -> None:
    monkeypatch.setenv("SONOPROBE_BACKUP_DIR", str(tmp_path / "shelf"))
    (tmp_path / "a.png").write_bytes(frames["cyst"][0])
    run("embed", tmp_path / "a.png")
    assert not (tmp_path / "shelf").exists()


def test_expire_keeps_many_scans_at_once_until_it_is_confirmed(tmp_path: Path, frames) -> None:
    settings = Settings(data_dir=tmp_path / "data", bundle_dir=BUNDLE, drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        key = local.key
        for name in ("c", "d"):
            client.create_collection(name, retention_days=30)
            client.add_scans(name, frames["cyst"][:8])
    catalog = open_catalog(tmp_path / "data")
    with catalog._database.write() as connection:  # as a clock that jumped sees them
        connection.execute("UPDATE scans SET created_at = '2020-01-01T00:00:00.000000Z'")
    catalog.close()
    said = run("expire", code=1)
    assert "0 scans deleted" in said
    assert "16 scans of 2 collections are kept" in said
    assert "--confirm" in said
    with local_service(settings) as local, Client(local.url, key=key) as client:
        assert client.collection("c")["retention_held"] == 8
        assert "retention_held_scans 16.0" in client.metrics()
        changed = client.patch_collection("c", {"confirm_retention": True})
        assert (changed["scans"], changed["retention_held"]) == (0, 0)
        assert client.search_image("c", frames["cyst"][0])["items"] == []
        assert client.collection("d")["scans"] == 8
    assert run("expire", "--confirm") == "8 scans deleted"
