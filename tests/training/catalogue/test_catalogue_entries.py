"""The catalogue is sound, and a mistake in it is named; the commands tell it all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from speckle_frames import png
from typer.testing import CliRunner

from service.errors import InputError, UnknownItem
from training.catalogue.entries import find, packaged_catalogue, read_catalogue, steps_by_hand
from training.catalogue.manifest import read_manifest
from training.commands.datasets import app

ENTRY = """
[{name}]
title = "One"
organs = ["liver"]
images = 1
count = "1"
task = "cls"
licence = "MIT"
tier = "A"
url = ""
"""
Tree = Callable[[dict[str, bytes | int | str]], Path]


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_packaged_catalogue_is_large_and_sound() -> None:
    catalogue = packaged_catalogue()
    assert len(catalogue) >= 60
    assert sum(dataset.tier == "A" for dataset in catalogue.values()) >= 29
    assert catalogue["bus-bra"].open_direct
    assert not catalogue["bus-bra"].needs_acceptance
    assert catalogue["busi"].needs_acceptance


def test_every_set_without_a_link_has_steps_for_a_person() -> None:
    for dataset in packaged_catalogue().values():
        steps = steps_by_hand(dataset)
        assert len(steps) == 4
        assert dataset.name in steps[3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('tier = "E"', "expected a tier of A, B, C, D"),
        ("organs = []", "at least one organ"),
        ('licence = ""', "a licence is needed"),
        ('geometry = "round"', "expected a geometry"),
        ('record = "dryad:1"', "expected a record of zenodo or figshare"),
        ('overlaps = ["nobody"]', "overlaps must name other sets"),
        ('layout = { adapter = "guess" }', "expected an adapter of"),
        ('layout = { adapter = "image_folder", depth = 1 }', "expected parameters"),
        ('downloads = [{ url = "ftp://x" }]', "http links"),
        ('downloads = [{ link = "http://x" }]', "link"),
        ('colour = "grey"', "colour"),
    ],
)
def test_a_mistake_in_the_catalogue_names_entry_and_rule(
    tmp_path: Path, line: str, message: str
) -> None:
    key = line.split(" = ")[0]
    kept = [old for old in ENTRY.format(name="one").splitlines() if not old.startswith(key)]
    (tmp_path / "sets.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(InputError, match=message) as caught:
        read_catalogue(tmp_path / "sets.toml")
    assert "one" in str(caught.value)


def test_names_are_unique(tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text(ENTRY.format(name="one") * 2)
    with pytest.raises(InputError, match="not TOML"):
        read_catalogue(tmp_path / "sets.toml")


def test_an_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownItem, match=r"did you mean.*bus-bra"):
        find("busbra", packaged_catalogue())


def test_list_filters_and_speaks_json() -> None:
    code, output = run("list", "--organ", "liver", "--tier", "A", "--fetchable", "--json")
    names = [entry["name"] for entry in json.loads(output)]
    assert code == 0
    assert "aul" in names
    assert "saudi-nafld" not in names


def test_show_prints_patterns_as_they_are() -> None:
    code, output = run("show", "pocus")
    assert code == 0
    assert "(cov|pneu|reg|vir)[a-z]*" in output


def test_fetch_explains_what_a_person_must_do(tmp_path: Path) -> None:
    code, output = run("fetch", "saudi-nafld", "--to", tmp_path)
    assert code == 1
    assert "https://osf.io/c2yg8" in output


def test_fetch_refuses_unclear_terms_in_one_line(tmp_path: Path) -> None:
    code, output = run("fetch", "busi", "--to", tmp_path)
    assert code == 1
    assert "error: busi has no clear licence" in output
    assert not list(tmp_path.iterdir())


def test_a_private_folder_goes_through_manifest_merge_split_and_check(
    tree: Tree, tmp_path: Path
) -> None:
    root = tree({f"{'cyst' if n % 2 else 'stone'}/p{n}_0.png": n for n in range(8)})
    made, merged, parted = (tmp_path / f"{name}.csv" for name in ("made", "merged", "parted"))
    option = ("--adapter", "class_folders", "--option", r"group=(p\d+)_")
    code, output = run("manifest", root, "--set", "own", "--licence", "own", "--out", made, *option)
    assert code == 0, output
    assert "8 frames in 8 groups" in output
    assert run("merge", made, "--out", merged)[0] == 0
    code, output = run("split", merged, "--out", parted, "--val", "0", "--test", "0.3")
    assert code == 0, output
    assert {row.split for row in read_manifest(parted)} == {"train", "test"}
    code, output = run("check", parted)
    assert code == 0, output
    assert "8 frames checked; 0 rules broken" in output


def test_check_ends_with_status_1_and_a_table_on_a_leak(tree: Tree, tmp_path: Path) -> None:
    root = tree({"a.png": 1})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.png").write_bytes(png(1))
    for folder, use in ((root, "corpus"), (tmp_path / "other", "bench")):
        out = tmp_path / f"{use}.csv"
        words = ("--set", use, "--licence", "own", "--use", use, "--adapter", "image_folder")
        assert run("manifest", folder, "--out", out, *words)[0] == 0
    both = tmp_path / "both.csv"
    assert run("merge", tmp_path / "corpus.csv", tmp_path / "bench.csv", "--out", both)[0] == 0
    groups = {row.group for row in read_manifest(both)}
    assert groups == {"corpus/a.png"}, "the group is shared across sets"
    code, output = run("check", both)
    assert code == 1
    assert "no bench frame is in the corpus: same file" in output


def test_a_set_without_a_layout_asks_for_an_adapter(tree: Tree, tmp_path: Path) -> None:
    code, output = run("manifest", tree({"a.png": 1}), "--set", "tn3k", "--out", tmp_path / "m.csv")
    assert code == 1
    assert "pass --adapter" in output
