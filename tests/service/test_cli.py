"""The command line, as an operator runs it: real processes' worth of work through typer."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.demo import SAMPLES
from service.cli.main import app
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

runner = CliRunner()


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOPROBE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SONOPROBE_BUNDLE_DIR", str(BUNDLE))


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[LocalService]:
    with local_service(Settings(data_dir=tmp_path / "data", drain_s=0)) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for scene in ("cyst", "mass"):
        shutil.copytree(SAMPLES / scene, tmp_path / "images" / scene)
    return tmp_path / "images"


def run(*words: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_a_key_is_made_listed_and_revoked() -> None:
    token = run("keys", "create", "--name", "ward").splitlines()[-1]
    assert token.startswith("sp_")
    listed = run("keys", "list")
    assert "ward" in listed
    assert "active" in listed
    assert token not in listed
    key_id = listed.split("\t")[0]
    run("keys", "revoke", key_id)
    assert "revoked" in run("keys", "list")
    assert "error" in run("keys", "revoke", "key_none", code=1)


def test_embed_prints_one_object_per_file_and_fails_for_a_bad_one(tmp_path: Path) -> None:
    good = next((SAMPLES / "cyst").glob("*.png"))
    line = json.loads(run("embed", good))
    assert line["file"] == str(good)
    assert len(line["embedding"]) == 16
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    lines = run("embed", good, bad, code=1).splitlines()
    assert json.loads(lines[1])["problem"]["code"] == "unsupported_format"


def test_ingest_goes_on_where_it_was_and_names_what_was_refused(
    quick: LocalService, folder: Path
) -> None:
    words = ["ingest", folder, "--collection", "g", "--url", quick.url, "--key", quick.key]
    good = next((folder / "mass").glob("*.png")).read_bytes()
    (folder / "mass" / "broken.png").write_bytes(good[:700])
    late = folder / "mass" / "late.png"
    shutil.move(next((folder / "cyst").glob("*.png")), folder.parent / "late.png")
    first = run(*words, "--label-task", "scene", code=1)
    assert "19 stored, 0 known already, 1 refused" in first
    assert "broken.png: corrupt_image" in first
    (folder / "mass" / "broken.png").unlink()
    shutil.move(folder.parent / "late.png", late)
    assert "1 stored, 19 known already, 0 refused" in run(*words, "--label-task", "scene")


def test_a_wrong_key_or_no_service_is_one_line_and_no_traceback(
    quick: LocalService, folder: Path
) -> None:
    words = ["ingest", folder, "--collection", "g", "--url"]
    assert "unauthenticated" in run(*words, quick.url, "--key", "sp_wrong", code=1)
    output = run(*words, "http://127.0.0.1:9", "--key", "x", code=1)
    assert "error" in output
    assert "Traceback" not in output


def test_serve_explains_a_missing_bundle_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOPROBE_BUNDLE_DIR", str(tmp_path / "none"))
    output = run("serve", code=1)
    assert "error the bundle has no readable manifest.json" in output
    assert "Traceback" not in output


def test_the_demo_says_what_it_did_on_given_frames(folder: Path) -> None:
    said = run("demo", "--images", folder, "--labelled", 4, "--repeats", 2)
    said = " ".join(said.split())
    assert "Embedded and stored 20 given frames of 2 classes" in said
    assert "Taught 2 classes from 4 labelled frames each" in said
    assert "on the 12 frames of other groups" in said
    assert "/console/ and /docs" in said


def test_the_demo_keeps_its_data_on_request_and_never_over_others(
    folder: Path, tmp_path: Path
) -> None:
    words = ("demo", "--images", folder, "--labelled", 4, "--repeats", 1)
    said = " ".join(run(*words, "--keep", tmp_path / "kept").split())
    assert f"SONOPROBE_DATA_DIR={tmp_path / 'kept'} SONOPROBE_REQUIRE_KEY=false" in said
    settings = Settings(data_dir=tmp_path / "kept", drain_s=0)
    with local_service(settings) as local, Client(local.url, key=local.key) as client:
        assert client.collection("demo")["scans"] == 20
    said = run(*words, "--keep", tmp_path / "kept", code=1)
    assert "expected an empty or a new folder" in said


def test_the_demo_refuses_more_labels_than_there_are_frames(folder: Path) -> None:
    said = run("demo", "--images", folder, code=1)
    assert "expected more than 10 groups" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "list", "--workspace", "typo"), "no workspace of this name"),
        (("keys", "revoke", "key_none", "--workspace", "typo"), "no workspace of this name"),
        (("keys", "create", "--name", " "), "expected a key name"),
        (("keys", "create", "--name", "me", "--workspace", "a b"), "expected a workspace of"),
        (("ingest", "{images}", "--collection", "c", "--url", "http://[::"), "no answer"),
        (("ingest", "{images}", "--collection", "c", "--url", "elsewhere"), "no answer"),
        (("ingest", "{empty}", "--collection", "c"), "expected a folder that holds images"),
        (("demo", "--images", "{empty}"), "at least 2 sub-folders"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_1(
    folder: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"images": str(folder), "empty": str(tmp_path / "empty")}
    output = run(*(word.format(**places) for word in words), code=1)
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", __file__, "--collection", "c"),
        ("demo", "--images", __file__),
        ("embed", "no-such-file.png"),
        ("keys", "create"),
        ("serve", "--port", "1"),
        ("fly",),
    ],
)
def test_a_word_that_the_command_does_not_know_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert "Usage" in run(*words, code=2)


@pytest.mark.parametrize("words", [("serve",), ("keys", "list"), ("embed", __file__), ("demo",)])
def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SONOPROBE_PORT", "hunter2")
    output = run(*words, code=1)
    assert "SONOPROBE_PORT" in output
    assert "hunter2" not in output


def test_looking_for_keys_makes_no_workspace(tmp_path: Path) -> None:
    run("keys", "list", "--workspace", "typo", code=1)
    catalog = open_catalog(tmp_path / "data")
    assert "typo" not in {workspace.name for workspace in catalog.list_workspaces()}
    catalog.close()


def test_a_damaged_catalog_keeps_the_service_from_starting_with_one_line(tmp_path: Path) -> None:
    run("keys", "list")
    file = tmp_path / "data" / "catalog.sqlite"
    file.write_bytes(b"\x5a" * 4096)
    assert "error the catalog failed with SQLITE_NOTADB" in run("serve", code=1)


def test_the_openapi_document_is_printed() -> None:
    assert "/v1/embeddings" in json.loads(run("openapi"))["paths"]
