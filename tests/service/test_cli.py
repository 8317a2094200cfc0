"""The command line, as an operator runs it: real processes' worth of work through typer."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings

BUNDLE = Path(__file__).parents[1] / "fixtures" / "bundle_v1"
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
    assert "/docs" in said


def test_the_demo_refuses_more_labels_than_there_are_frames(folder: Path) -> None:
    said = run("demo", "--images", folder, code=1)
    assert "expected more than 10 groups" in said
