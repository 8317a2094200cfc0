"""What the client's generator writes is current, covers the service, and needs nothing of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source_tree import CLIENT, CLIENT_FILES, functions_of, imports_of

ROOT = Path(__file__).parents[2]
PACKAGE = CLIENT / "sonoprobe_client"
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
# The client sends the ids of these in the query, or in the path where they fit into it.
SAID_ONCE = {"GET /v1/subjects/{}", "DELETE /v1/subjects", "DELETE /v1/studies"}


def test_generated_files_are_current() -> None:
    script = ROOT / "clients" / "python" / "scripts" / "generate.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_has_a_call_for_every_route() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    routes = {
        f"{method.upper()} {re.sub(r'{[^}]+}', '{}', path)}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    text = "".join(f.read_text() for f in (PACKAGE / "synchronous").glob("*.py"))
    spoken = set(re.findall(r'"""((?:GET|POST|PUT|PATCH|DELETE) [^\s:;,]+)', text))
    said = {re.sub(r"{[^}]+}", "{}", route).split("?")[0].rstrip('."') for route in spoken}
    endings = {tuple(route.split(" ", 1)) for route in said}
    missing = {
        route
        for route in routes - SAID_ONCE
        if not any(is_said(route, method, path) for method, path in endings)
    }
    assert not missing


def is_said(route: str, method: str, path: str) -> bool:
    """Docstrings leave out the beginning of long paths: ``.../scans/{scan_id}``."""
    asked, _, full = route.partition(" ")
    return asked == method and (full == path or full.endswith(path.removeprefix("...")))


@pytest.mark.parametrize("optional", ["joserfc", "numpy", "PIL", "typer", "fastapi"])
def test_the_client_loads_no_optional_library(optional: str) -> None:
    at_import = [
        (file.name, name)
        for file in CLIENT_FILES
        for name in imports_of(file)
        if name.split(".")[0] == optional and file.name != "machine_login.py"
    ]
    assert not at_import


def test_files_and_functions_of_the_client_stay_small() -> None:
    generated = {"models.py", "bodies.py"}
    files = {f.name: len(f.read_text().splitlines()) for f in CLIENT_FILES}
    assert not {n for n, c in files.items() if c > MAX_FILE_LINES and n not in generated}
    functions = {
        function.name: (function.end_lineno or 0) - function.lineno + 1
        for file in CLIENT_FILES
        for function in functions_of(file)
    }
    assert not {name for name, count in functions.items() if count > MAX_FUNCTION_LINES}
