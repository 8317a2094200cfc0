"""The command line over a running service, and its page in the documentation."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from sonoprobe_client import Client
from tests.client.command_line import Run
from tests.client.command_table import PAGE, commands, options_of, page_with, table
from tests.client.pictures import png
from tests.client.test_generated import ROOT, SAID_ONCE, is_said
from tests.house.source_tree import CLIENT, functions_of

WITHOUT_JSON = {"serve", "demo", "openapi"}  # it logs, it is for people, it prints JSON anyway


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


def test_a_classifier_is_shown_with_its_versions_and_deleted(
    run: Run, ward: str, client: Client
) -> None:
    client.fit({"name": "short-lived", "collection": ward, "task": "t"})
    assert "12 of 12 groups" in run("classifiers", "show", "short-lived")
    assert "version 1\tpublished" in run("classifiers", "versions", "short-lived")
    assert len(run("classifiers", "versions", "short-lived", "--json")) == 1
    run("classifiers", "delete", "short-lived", code=1)  # nobody answers the question
    assert run("classifiers", "delete", "short-lived", "--yes") == "deleted short-lived\n"
    run("classifiers", "show", "short-lived", code=1)


def test_a_collection_is_changed_and_loses_images_only_after_a_question(
    run: Run, client: Client
) -> None:
    client.create_collection("changed", keep_images=True)
    words = ("collections", "change", "changed")
    assert run(*words, "--retention-days", 9, "--json")["retention_days"] == 9
    assert run(*words, "--retention-days", 0, "--json")["retention_days"] is None
    run(*words, "--drop-images", code=1)
    assert client.collection("changed").keep_images
    assert not run(*words, "--drop-images", "--yes", "--json")["keep_images"]
    run(*words, code=1)


def test_a_key_says_who_it_is(run: Run) -> None:
    assert run("whoami", "--json")["kind"] == "key"
    assert "workspace\tdefault" in run("whoami")


def test_every_operation_has_a_command_or_is_named_as_one_without() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    routes = {
        operation["operationId"]: f"{method.upper()} {re.sub(r'{[^}]+}', '{}', path)}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    commands = "".join(file.read_text() for file in (ROOT / "service" / "cli").rglob("*.py"))
    used = [route for call, route in calls().items() if f"client.{call}(" in commands]
    has_command = {name for name, route in routes.items() if route in SAID_ONCE}
    for said in used:
        meant = [name for name, route in routes.items() if is_said(route, *said.split(" ", 1))]
        # ``.../search`` is that of a collection, and not that of all.
        has_command |= set(sorted(meant, key=lambda name: len(routes[name]))[-1:])
    page = PAGE.read_text().partition("<!-- commands:begin -->")[0]
    named = set(re.findall(r"`(\w+)`", page)) & set(routes)
    assert named == set(routes) - has_command


def calls() -> dict[str, str]:
    """Method of the client -> the route that its docstring names."""
    found = {}
    for file in (CLIENT / "sonoprobe_client" / "synchronous").glob("*.py"):
        for function in functions_of(file):
            said = re.match(
                r"((?:GET|POST|PUT|PATCH|DELETE) [^\s:;,?]+)", ast.get_docstring(function) or ""
            )
            if said is not None:
                found[function.name] = re.sub(r"{[^}]+}", "{}", said[1]).rstrip(".")
    return found


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
