"""One name for one thing, and none for two."""

import ast
import json
from collections import defaultdict

from tests.house.source_tree import FILES, ROOT, module_of, nodes_of, tree_of

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


def test_a_module_is_named_for_what_it_holds() -> None:
    assert not [module_of(f) for f in FILES if {f.stem, f.parent.name} & SAYS_NOTHING]


def test_nobody_asks_for_the_kind_of_a_classifier_outside_its_room() -> None:
    compared = [
        (module_of(file), constant.value)
        for file in FILES
        if not file.is_relative_to(ROOT / "service" / "classifiers")
        for node in nodes_of(file)
        if isinstance(node, ast.Compare)
        for constant in (node.left, *node.comparators)
        if isinstance(constant, ast.Constant) and constant.value in KINDS
    ]
    assert not compared


def test_the_environment_is_read_in_the_settings_alone() -> None:
    reads = [
        (module_of(file), ast.unparse(node))
        for file in FILES
        if file.is_relative_to(ROOT / "service") and file.stem != "settings"
        for node in nodes_of(file)
        if reads_environment(node)
    ]
    assert not reads


def reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in READERS
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node.value) == "os.environ"
    )


READERS = {"os.getenv", "os.environ.get", "os.environ.items", "os.environ.copy", "dict(os.environ)"}


def test_importing_a_module_does_no_work() -> None:
    """A bare call at the top of a module is work; a guard of ``__main__`` is none."""
    calls = [
        (module_of(file), ast.unparse(node))
        for file in FILES
        if file.name != "__main__.py"
        for node in tree_of(file).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert not [call for call in calls if not call[1].startswith(REGISTRATIONS)]


# Commands are hung into the command line where they are defined.
REGISTRATIONS = ("app.command", "app.add_typer", "app.callback", "_app.")
