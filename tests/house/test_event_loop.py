"""No coroutine of the API hashes, parses or compresses a body itself: a thread does."""

import ast
from pathlib import Path

import pytest

API = Path(__file__).parents[2] / "service" / "api"
SLOW = {
    *("sha256", "md5", "file_digest"),
    *("b64decode", "b64encode", "from_base64", "instance_files", "image_files"),
    *("loads", "dumps", "model_dump_json"),
    *("compress", "decompress"),
}


def own_calls(function: ast.AsyncFunctionDef) -> list[str]:
    """Names called by the coroutine, without functions that it defines for threads."""
    names: list[str] = []
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            called = node.func
            names.append(
                called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            )
        waiting += ast.iter_child_nodes(node)
    return names


@pytest.mark.parametrize("file", sorted(API.rglob("*.py")), ids=lambda file: file.stem)
def test_coroutines_leave_slow_work_to_threads(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.AsyncFunctionDef):
            assert not SLOW.intersection(own_calls(node)), f"{file.name}:{node.lineno}"
