"""The command line over a running service, and its page in the documentation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.server import LocalService
from sonoprobe_client import Client
from tests.client.command_table import PAGE, commands, options_of, page_with, table
from tests.client.pictures import png

WITHOUT_JSON = {"serve", "demo", "openapi"}  # it logs, it is for people, it prints JSON anyway
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tiny: LocalService) -> Run:
    """Run a command; its standard output, as JSON if it was asked for."""
    address = {"SONOPROBE_URL": tiny.url, "SONOPROBE_KEY": tiny.key}

    def run(*words: object, code: int = 0) -> Any:
        done = CliRunner().invoke(app, [str(word) for word in words], env=address)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


def test_the_page_of_the_command_line_lists_every_command() -> None:
    assert page_with(table()) == PAGE.read_text(), "run python -m tests.client.command_table"


def test_every_command_can_answer_with_json() -> None:
    without = {path for path, command in commands() if "--json" not in options_of(command)}
    assert without == WITHOUT_JSON


def test_collections_are_made_shown_and_deleted(run: Run) -> None:
    assert run("collections", "create", "made", "--keep-images", "--json")["keep_images"]
    assert "made\t0 scans\timages kept" in run("collections", "list")
    assert "made" in {found["name"] for found in run("collections", "list", "--json")}
    assert run("collections", "delete", "made", "--yes", "--json") == {
        "deleted": "made",
        "scans": 0,
    }
    run("collections", "show", "made", code=1)


def test_a_file_or_a_scan_is_searched(run: Run, ward: str, tmp_path: Path) -> None:
    file = tmp_path / "new.png"
    file.write_bytes(png(3))
    found = run("search", ward, file, "--k", 2, "--json")["items"]
    assert found[0]["scan"]["scan_id"] == "s3"
    assert len(found) == 2
    lines = run("search", ward, "--scan-id", "s3", "--filter", '{"labels": {"t": ["b"]}}')
    assert all("t:b" in line for line in lines.splitlines())
    run("search", ward, code=1)


def test_labels_are_asked_for_given_and_doubted(run: Run, ward: str) -> None:
    assert run("next", ward, "--task", "other", "--limit", 2, "--json")["unlabelled"] == 12
    assert len(run("next", ward, "--task", "t", "--classifier", ward).splitlines()) == 0
    assert run("label", ward, "s1", "mood", "calm") == "s1\tmood:calm t:b\n"
    assert run("label", ward, "s1", "mood", "--remove", "--json")["labels"] == {"t": "b"}
    assert run("doubtful", ward, "--json")["kind"] == "suspect"
    assert run("doubtful", ward, "--conflicts", "--json")["kind"] == "conflict"
    assert run("collections", "show", ward, "--json")["facets"]["labels"]["t"]["values"]
    assert "kappa 1.000" in run("collections", "agreement", ward, "t", "t")
    renamed = run("collections", "rename-label", ward, "t", "a", "c", "--dry-run", "--json")
    assert renamed["renamed"] == 6


def test_versions_are_compared(run: Run, ward: str, client: Client) -> None:
    client.set_thresholds(ward, {"thresholds": [{"label": "a", "threshold": 0.4}]})
    assert run("compare", ward, 1, "latest", "--json")["second"]["version"] == 2
    assert "shared examples" in run("compare", ward, 1, 2)


def test_a_map_is_a_table(run: Run, ward: str, tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    assert run("map", ward, "--task", "t", "--out", file) == "wrote 12 of 12 scans\n"
    head, *rows = file.read_text().splitlines()
    assert head == "scan_id,x,y,label"
    assert {row.rsplit(",", 1)[1] for row in rows} == {"a", "b"}
    assert run("map", ward, "--json")["total"] == 12


def test_a_patient_is_erased_with_a_receipt(run: Run, client: Client) -> None:
    client.create_collection("gone")
    metadata: list[Any] = [{"scan_id": f"g{n}", "subject_id": f"q{n // 2}"} for n in range(4)]
    client.add_scans("gone", [png(40 + n) for n in range(4)], metadata).raise_for_items()
    assert run("subject", "q0", "--json")["scans"] == 2
    run("erase", "--subject-id", "q0", code=1)  # nobody answers the question
    assert len(run("erase", "--subject-id", "q0", "--yes", "--json")["scans"]) == 2
    assert "erased\tg2" in run("erase", "--scan", "gone", "g2", "--yes")
    assert client.collection("gone").scans == 1


def test_operations_are_listed_and_waited_for(run: Run, ward: str, client: Client) -> None:
    operation = client.refit(ward, {}, respond_async=True)
    run("operations", "wait", operation.operation_id, code=1)  # no label has changed
    assert run("operations", "show", operation.operation_id, "--json")["state"] == "failed"
    assert operation.operation_id in run("operations", "list")
    assert run("usage", "--json")["key"]


def test_a_prediction_of_many_files_is_one_array(run: Run, ward: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.png" for n in range(2)]
    for n, file in enumerate(files):
        file.write_bytes(png(n))
    found = run("classifiers", "predict", ward, *files, "--json")
    assert [item["file"] for item in found] == [str(file) for file in files]
    assert len(run("classifiers", "predict", ward, *files).splitlines()) == 2
    assert ward in {c["name"] for c in run("classifiers", "list", "--json")}
