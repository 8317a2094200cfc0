"""The threat model names walls and the tests that hold them; those exist and run."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
MAX_WORDS = 1100  # one printed page and a half: what is longer is not read


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_wall_names_tests_that_exist() -> None:
    defined = {
        node.name
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    for _, threat, wall, tests in rows():
        assert wall
        names = re.findall(r"`(\w+)`", tests)
        assert names, threat
        assert not set(names) - defined, threat


def test_it_stays_readable() -> None:
    prose = re.sub(r"`\w+`", "", PAGE.read_text())
    assert len(prose.split()) < MAX_WORDS


def test_the_security_file_names_the_version_that_gets_fixes() -> None:
    version = re.search(r'^version = "(\d+\.\d+)', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert f"latest minor version, {version[1]} |" in (ROOT / "SECURITY.md").read_text()
