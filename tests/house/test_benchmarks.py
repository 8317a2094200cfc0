"""A benchmark or report can be read by a person and by a program."""

import ast
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT, nodes_of

# Shows replicas to a person; it measures nothing.
DEMOS = {"demo_replicas"}
SCRIPTS = [
    file
    for file in sorted(ROOT.glob("benchmarks/*.py"))
    if file.stem not in DEMOS and "__main__" in file.read_text()
]


def calls_of(file: Path) -> set[str]:
    return {ast.unparse(node.func) for node in nodes_of(file) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.stem)
def test_a_benchmark_prints_one_json_object_as_its_last_line_where_it_is_asked_to(
    file: Path,
) -> None:
    """The parser of the harness adds ``--json``, and its reports print the object."""
    calls = calls_of(file)
    assert "argument_parser" in calls
    assert calls & {"print_report", "write_report"}


def test_two_modules_start_the_services_of_all_benchmarks() -> None:
    """They wait as long as a busy machine needs, and end what does not end by itself."""
    starters = {
        file.stem
        for file in ROOT.glob("benchmarks/*.py")
        if any(isinstance(node, ast.Constant) and node.value == "serve" for node in nodes_of(file))
    }
    assert starters == {"service_process", "replica_processes"}
