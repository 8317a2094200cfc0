"""Sizes at which a reader still keeps the whole in mind."""

import ast
from collections import Counter
from pathlib import Path
from typing import Any

from tests.house.source_tree import FILES, ROOT, functions_of, module_of

MAX_ROOT_FILES = 8
MAX_ROOM_FILES = 20
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8
MAX_P90_LINES = 35
# A route's parameters are the query of the request, a command's the options of the shell.
OPEN_SIGNATURES = ("service/api/routes/", "service/cli/", "training/commands/")


def files_of_room(room: Path) -> list[Path]:
    return [file for file in room.glob("*.py") if file.name != "__init__.py"]


def test_the_root_of_the_service_holds_at_most_eight_files() -> None:
    assert len(list((ROOT / "service").glob("*.py"))) <= MAX_ROOT_FILES


def test_a_room_holds_at_most_twenty_files() -> None:
    counts = {module_of(room): len(files_of_room(room)) for room in {f.parent for f in FILES}}
    assert not above(MAX_ROOM_FILES, counts)


def test_a_file_holds_at_most_four_hundred_lines() -> None:
    counts = {module_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert not above(MAX_FILE_LINES, counts)


def test_a_function_holds_at_most_sixty_lines() -> None:
    counts = {
        (module_of(file), function.name): lines_of(function, file)
        for file in FILES
        for function in functions_of(file)
    }
    assert not above(MAX_FUNCTION_LINES, counts)


def above(most: int, counts: dict[Any, int]) -> dict[Any, int]:
    return {name: count for name, count in counts.items() if count > most}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef, file: Path) -> int:
    first = function.body[0] if is_open(file) else function
    return (function.end_lineno or 0) - first.lineno + 1


def is_open(file: Path) -> bool:
    return str(file.relative_to(ROOT)).startswith(OPEN_SIGNATURES)


def test_a_signature_holds_at_most_eight_parameters() -> None:
    # Parameters of a route or a command are what the user may say.
    counts = {
        (module_of(file), function.name): parameters_of(function)
        for file in FILES
        if not is_open(file)
        for function in functions_of(file)
    }
    assert not above(MAX_PARAMETERS, counts)


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([a for a in named if a.arg not in ("self", "cls")])


def test_nine_functions_of_ten_fit_on_half_a_screen() -> None:
    lines = sorted((f.end_lineno or 0) - f.lineno + 1 for file in FILES for f in functions_of(file))
    assert lines[int(0.9 * len(lines))] <= MAX_P90_LINES


def test_no_room_consists_of_a_single_module() -> None:
    counts = Counter(file.parent for file in FILES if file.name != "__init__.py")
    packages = {ROOT / "service", ROOT / "training"}
    assert not [room for room, count in counts.items() if count < 2 and room not in packages]
