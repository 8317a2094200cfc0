"""What the tests of the house read: every module of ours, its imports and its definitions."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])
CLIENT = ROOT / "clients" / "python" / "src"
CLIENT_FILES = sorted(CLIENT.glob("**/*.py"))
OURS = {"service", "training", "sonoprobe_client"}


def module_of(file: Path) -> str:
    """Dotted name; a package's is that of its folder."""
    home = CLIENT if file.is_relative_to(CLIENT) else ROOT
    return ".".join(file.relative_to(home).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """Every node of the tree; a walk takes longer than parsing."""
    return tuple(ast.walk(tree_of(file)))


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Every imported name, dotted in full."""
    names: set[str] = set()
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write absolute imports"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def imports_of_ours(file: Path) -> set[str]:
    return {name for name in imports_of(file) if name.split(".")[0] in OURS}


def inside(name: str, room: str) -> bool:
    """Whether a dotted name lies in a room."""
    return name == room or name.startswith(room + ".")


def functions_of(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes_of(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
