"""The rooms of training, kept true by reading every import: what a room needs stands above it."""

import ast
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"
ROOMS: dict[str, set[str]] = {  # room -> the rooms of training that it may import
    "catalogue": set(),
    "augmentation": {"catalogue"},
    "networks": set(),
    "text_detector": {"networks"},
    "distil": {"catalogue", "augmentation", "networks"},
    "configs": {"distil", "networks"},
    "bundle": {"distil", "networks"},
    "evaluation": {"catalogue", "distil", "networks", "bundle"},
    "refit": {"catalogue", "distil", "networks", "bundle", "evaluation"},
    "studies": {"catalogue", "augmentation", "distil", "networks", "bundle", "evaluation", "refit"},
    "commands": {"*"},
    "__main__": {"commands"},
}
FILES = sorted(file for file in TRAINING.rglob("*.py") if file != TRAINING / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TRAINING)))
def test_a_room_imports_only_rooms_above_it_and_nothing_but_commands_imports_studies(
    file: Path,
) -> None:
    room = file.relative_to(TRAINING).parts[0].removesuffix(".py")
    modules = [
        name
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]
    imported = {name.split(".")[1] for name in modules if name.startswith("training.")}
    assert "*" in ROOMS[room] or imported <= ROOMS[room] | {room}


def test_studies_are_fenced() -> None:
    assert [room for room, allowed in ROOMS.items() if "studies" in allowed] == []
