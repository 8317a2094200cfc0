"""One name for one thing, and none for two."""

import ast
import json
from collections import defaultdict
from pathlib import Path

import pytest

from tests.house.source_tree import FILES, ROOT, module_of, tree_of

SAYS_NOTHING = {"utils", "util", "helpers", "common", "core", "misc"}
KINDS = {"single_label", "multi_label"}


def test_class_names_are_unique_over_service_and_training() -> None:
    places = defaultdict(list)
    for file in FILES:
        for node in tree_of(file).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module_of(file))
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


def test_module_names_are_unique_within_the_service() -> None:
    places = defaultdict(list)
    for file in FILES:
        if file.is_relative_to(ROOT / "service") and not file.stem.startswith("__"):
            places[file.stem].append(module_of(file))
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


def test_components_of_the_api_are_named_once_and_plainly() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert not [name for name in document["components"]["schemas"] if "__" in name]


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_module_is_named_for_what_it_holds(file: Path) -> None:
    assert file.stem not in SAYS_NOTHING
    assert file.parent.name not in SAYS_NOTHING


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_nobody_asks_for_the_kind_of_a_classifier_outside_its_room(file: Path) -> None:
    if file.is_relative_to(ROOT / "service" / "classifiers"):
        return
    compared = [
        constant.value
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Compare)
        for constant in (node.left, *node.comparators)
        if isinstance(constant, ast.Constant) and constant.value in KINDS
    ]
    assert not compared


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_the_environment_is_read_in_the_settings_alone(file: Path) -> None:
    if not file.is_relative_to(ROOT / "service") or file.stem == "settings":
        return
    reads = [
        ast.unparse(node)
        for node in ast.walk(tree_of(file))
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in READERS)
        or (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "os.environ"
            and isinstance(node.ctx, ast.Load)
        )
    ]
    assert not reads


READERS = {"os.getenv", "os.environ.get", "os.environ.items", "os.environ.copy", "dict(os.environ)"}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_importing_a_module_does_no_work(file: Path) -> None:
    """A bare call at the top of a module is work; a guard of ``__main__`` is none."""
    if file.name == "__main__.py":
        return
    calls = [
        ast.unparse(node)
        for node in tree_of(file).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert not [call for call in calls if not call.startswith(REGISTRATIONS)]


# Commands are hung into the command line where they are defined.
REGISTRATIONS = ("app.command", "app.add_typer", "app.callback", "_app.")
