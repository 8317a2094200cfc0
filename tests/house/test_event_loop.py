"""No coroutine of the API hashes, parses or compresses a body itself: a thread does."""

import ast
from pathlib import Path

API = Path(__file__).parents[2] / "service" / "api"
SLOW = {
    *("sha256", "md5", "file_digest"),
    *("b64decode", "b64encode", "from_base64", "instance_files", "image_files"),
    *("loads", "dumps", "model_dump_json"),
    *("compress", "decompress"),
}


INLINE = {"load_json"}  # decodes what is at most MAX_INLINE_BYTES long
Function = ast.FunctionDef | ast.AsyncFunctionDef


def own_calls(function: Function) -> set[str]:
    """Names that a function calls itself, without functions and lambdas that it defines."""
    names: set[str] = set()
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            called = node.func
            names.add(called.attr if isinstance(called, ast.Attribute) else ast.unparse(called))
        nodes += ast.iter_child_nodes(node)
    return names


def all_calls(function: Function, helpers: dict[str, Function]) -> set[str]:
    """The same, with the calls of the helpers of its module."""
    names, open_names = set(), own_calls(function)
    while open_names:
        name = open_names.pop()
        names.add(name)
        if name in helpers:
            open_names |= own_calls(helpers[name]) - names
    return names


def test_coroutines_leave_slow_work_to_threads() -> None:
    slow: dict[str, set[str]] = {}
    for file in sorted(API.rglob("*.py")):
        module = ast.parse(file.read_text())
        helpers = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(module):
            if isinstance(node, ast.AsyncFunctionDef) and node.name not in INLINE:
                slow[f"{file.name}:{node.lineno}"] = SLOW & all_calls(node, helpers)
    assert slow
    assert not {place: calls for place, calls in slow.items() if calls}
