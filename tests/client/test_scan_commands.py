"""Commands for scans and for outcomes of predictions, over a running service."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.server import LocalService
from sonoprobe_client import Client
from tests.client.command_line import Run, invoke
from tests.client.pictures import frame, png


@pytest.fixture(scope="module")
def clinic(client: Client) -> str:
    """A collection of 8 scans of four patients and two classes."""
    client.create_collection("clinic")
    metadata: list[Any] = [
        {"scan_id": f"c{n}", "subject_id": f"r{n // 2}", "labels": {"t": "ab"[n // 2 % 2]}}
        for n in range(8)
    ]
    client.add_scans("clinic", [frame(60 + n) for n in range(8)], metadata).raise_for_items()
    return "clinic"


def test_scans_are_listed_by_what_is_known_of_them(run: Run, clinic: str) -> None:
    everything = run("scans", "list", clinic, "--json")
    assert {scan["scan_id"] for scan in everything} == {f"c{n}" for n in range(8)}
    of_class = run("scans", "list", clinic, "--label", "t:a").splitlines()
    assert {line.split("\t")[0] for line in of_class} == {"c0", "c1", "c4", "c5"}
    assert len(run("scans", "list", clinic, "--subject-id", "r1", "--json")) == 2
    where = json.dumps({"subject_id": ["r0", "r3"]})
    assert len(run("scans", "list", clinic, "--filter", where, "--limit", 3, "--json")) == 3


def test_scans_are_copied_to_another_collection_once(run: Run, clinic: str, client: Client) -> None:
    client.create_collection("second")
    assert run("scans", "copy", clinic, "c0", "c1", "--to", "second").startswith("2 scans copied")
    where = json.dumps({"subject_id": ["r0", "r3"]})
    copied = run("scans", "copy", clinic, "--to", "second", "--filter", where, "--json")
    assert [item["created"] for item in copied] == [False, False, True, True]
    run("scans", "copy", clinic, "c2", "none", "--to", "second", code=1)  # and what is there goes
    assert client.collection("second").scans == 5
    for wrong in ((), ("c0", "--filter", "{}")):
        run("scans", "copy", clinic, *wrong, "--to", "second", code=1)
    client.delete_collection("second")


def test_pairs_that_nearly_repeat_each_other_are_listed(run: Run, client: Client) -> None:
    client.create_collection("pairs")
    metadata: list[Any] = [{"scan_id": f"q{n}", "subject_id": f"p{n}"} for n in range(2)]
    client.add_scans("pairs", [frame(90), frame(90)], metadata).raise_for_items()
    (line,) = run("scans", "duplicates", "pairs").splitlines()
    assert line.split("\t")[:4] == ["q0", "q1", "same image", "patients different"]
    assert run("scans", "duplicates", "pairs", "--patients", "same", "--json")["items"] == []
    client.delete_collection("pairs")


def test_a_scan_is_shown_with_its_picture(run: Run, clinic: str, tmp_path: Path) -> None:
    assert run("scans", "show", clinic, "c2", "--json")["subject_id"] == "r1"
    assert "label\tt\tb" in run("scans", "show", clinic, "c2")
    picture = tmp_path / "c2.jpg"
    run("scans", "thumbnail", clinic, "c2", "--out", picture)
    assert picture.read_bytes()[:2] == b"\xff\xd8"
    run("scans", "show", clinic, "none", code=1)


def test_a_table_changes_scans_once_and_its_empty_cells_nothing(
    run: Run, clinic: str, tmp_path: Path
) -> None:
    table = tmp_path / "changes.csv"
    table.write_text("scan_id,label:mood,attribute:depth,study_id\nc0,calm,4.5,\nc1,,,v1\n")
    assert run("scans", "relabel", clinic, table, "--json")["changed"] == 2
    first, second = (run("scans", "show", clinic, name, "--json") for name in ("c0", "c1"))
    assert (first["labels"], first["attributes"]) == ({"t": "a", "mood": "calm"}, {"depth": 4.5})
    assert (second["labels"], second["study_id"]) == ({"t": "a"}, "v1")
    again = run("scans", "relabel", clinic, table, "--json")
    assert again == {"changed": 0, "unchanged": 2, "failed": 0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scan_id,label:mood\nc0,x\nc0,y\n", "line 3"),
        ("scan_id,label:mood\nc0,\n", "line 2"),
        ("scan_id,mood\nc0,x\n", "expected columns"),
        ("scan_id,label:mood\n", "at least one row"),
    ],
)
def test_a_table_that_is_wrong_changes_nothing(
    tiny: LocalService, clinic: str, tmp_path: Path, text: str, says: str
) -> None:
    table = tmp_path / "changes.csv"
    table.write_text(text)
    words = ["scans", "relabel", clinic, str(table), "--url", tiny.url, "--key", tiny.key]
    done = invoke(words)
    assert (done.exit_code, says in done.stderr) == (1, True), done.stderr


def test_a_scan_that_is_not_there_is_named_and_the_others_are_changed(
    run: Run, clinic: str, tmp_path: Path
) -> None:
    table = tmp_path / "changes.csv"
    table.write_text("scan_id,label:side\nnone,left\nc6,left\n")
    done = run("scans", "relabel", clinic, table, "--json", code=1)
    assert (done["changed"], done["failed"]) == (1, 1)


def test_scans_are_deleted_with_a_receipt_for_each(run: Run, client: Client) -> None:
    client.create_collection("short")
    metadata: list[Any] = [{"scan_id": f"d{n}"} for n in range(3)]
    client.add_scans("short", [png(80 + n) for n in range(3)], metadata).raise_for_items()
    run("scans", "delete", "short", "d0", code=1)  # nobody answers the question
    assert len(run("scans", "delete", "short", "d0", "d1", "--yes", "--json")) == 2
    assert "erased\td2" in run("scans", "delete", "short", "d2", "none", "--yes", code=1)
    assert client.collection("short").scans == 0


@pytest.fixture(scope="module")
def predicted(run: Run, client: Client, clinic: str, tmp_path_factory: pytest.TempPathFactory):
    """(name of a classifier, folder, its printed predictions for 3 files there)."""
    client.fit({"name": "clinic", "collection": clinic, "task": "t"})
    folder = tmp_path_factory.mktemp("new")
    files = [folder / f"{n}.png" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(png(90 + n))
    printed = folder / "predictions.jsonl"
    printed.write_text(run("classifiers", "predict", "clinic", *files, "--cine"))
    return "clinic", folder, printed


def test_an_outcome_is_told_by_the_id_of_its_prediction(run: Run, client: Client, predicted):
    name, _, printed = predicted
    items = [json.loads(line) for line in printed.read_text().splitlines()]
    number = items[0]["prediction_id"]
    told = run("outcomes", "add", name, printed, number, "a", "--patient", "r9", "--json")
    assert told == {"recorded": 1, "replaced": 0}
    assert run("outcomes", "add", name, printed, number, "b") == "0 outcomes recorded, 1 replaced\n"
    cine = items[-1]["cine"]["prediction_id"]
    assert run("outcomes", "add", name, printed, cine, "a", "--json")["recorded"] == 1
    run("outcomes", "add", name, printed, "unheard-of", "a", code=1)
    assert client.monitor(name).outcomes.outcomes == 2


def test_a_table_tells_outcomes_by_file_or_by_id(run: Run, predicted, tmp_path: Path) -> None:
    name, folder, _ = predicted
    whole = tmp_path / "predictions.json"
    files = [folder / f"{n}.png" for n in range(3)]
    whole.write_text(json.dumps(run("classifiers", "predict", name, *files, "--json")))
    table = tmp_path / "truth.csv"
    table.write_text(f"file,actual,patient\n{files[0]},a,r1\n{files[1]},b,r2\n{files[2]},a,\n")
    told = run("outcomes", "add-table", name, whole, table, "--json")
    assert told == {"recorded": 3, "replaced": 0}
    number = json.loads(whole.read_text())[0]["prediction_id"]
    table.write_text(f"prediction_id,actual\n{number},b\n")
    assert run("outcomes", "add-table", name, whole, table, "--json")["replaced"] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,actual\n/other.png,a\n", "line 2: file: none of the predictions has it"),
        ("file,prediction_id,actual\nx,y,a\n", "line 2: expected either"),
        ("file,actual\n{0},a\n{0},a\n", "line 3: expected each label"),
        ("file,actual,patient\n{0},a,r1\n{0},b,r2\n", "line 3: expected one patient"),
        ("file,actual\n", "at least one row"),
        ("file,patient\n{0},r1\n", "expected columns prediction_id or file, actual"),
        ("file,actual\n{0},NA\n", "line 2, column actual: expected a value or an empty cell"),
    ],
)
def test_a_table_of_outcomes_that_is_wrong_says_where(
    tiny: LocalService, predicted, tmp_path: Path, text: str, says: str
) -> None:
    name, folder, printed = predicted
    table = tmp_path / "truth.csv"
    table.write_text(text.format(folder / "0.png"))
    words = ["outcomes", "add-table", name, str(printed), str(table)]
    done = invoke([*words, "--url", tiny.url, "--key", tiny.key])
    assert (done.exit_code, says in done.stderr) == (1, True), done.stderr
