"""The plan of the house, kept true by reading every import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
E, CATALOG = "service.errors", "service.catalog"
ROOMS = {  # room -> the rooms of ours it may import; the first matching row counts
    "service.errors": set(),
    "service.settings": {E},
    "service.observability": set(),
    "service.background": set(),
    "service.inference": {E},
    "service.imaging": {E, "service.inference"},
    "service.encoding": {E, "service.imaging.preprocess", "service.inference"},
    "service.catalog": {E},
    "service.retrieval": {E},
    "service.fewshot": {E},
    "service.pooling": set(),
    "service.clips": {E, "service.imaging", "service.pooling"},
    "service.pipeline": {
        E,
        "service.imaging",
        "service.encoding",
        "service.clips",
        "service.pooling",
    },
    "service.galleries": {
        E,
        "service.catalog",
        "service.retrieval",
        "service.gallery_indexes",
        "service.ranking",
    },
    "service.ranking": {"service.catalog.records"},
    "service.gallery_indexes": {E, "service.catalog", "service.retrieval"},
    "service.cines": {E, "service.catalog", "service.galleries", "service.ranking"},
    "service.heads": {E, "service.background", "service.catalog", "service.fewshot"},
    "service.operations": {E, "service.background", "service.catalog"},
    "service.exchange": {E, "service.catalog"},
    "service.long_work": {
        E,
        "service.catalog",
        "service.exchange",
        "service.galleries",
        "service.heads",
        "service.operations",
        "service.pipeline",
    },
    "service.client_life": set(),
    "service.client_search": set(),
    "service.request_parts": set(),
    "service.client_predicting": {"service.request_parts"},
    "service.client": {
        "service.client_life",
        "service.client_predicting",
        "service.client_search",
        "service.request_parts",
    },
    "service.ingest_report": {E},
    "service.ingest": {E, "service.client", "service.ingest_report"},
    "service.labelled_files": {E, "service.ingest"},
    "service.terminal": {E, "service.client"},
    "service.classifier_commands": {
        E,
        "service.client",
        "service.ingest",
        "service.labelled_files",
        "service.terminal",
    },
    "service.demo": {E, "service.client", "service.ingest"},
    "service.api": {
        E,
        "service.settings",
        "service.background",
        "service.observability",
        "service.pipeline",
        "service.galleries",
        "service.cines",
        "service.pooling",
        "service.imaging.look",
        "service.imaging.quality",
        "service.imaging.sampling",
        "service.heads",
        "service.catalog.interface",
        "service.catalog.records",
        "service.catalog.life_records",
        "service.operations",
        "service.fewshot.trust",
        "service.fewshot.multilabel_answers",
    },
    "service.app": {"service"},
    "service.upkeep": {"service"},
    "service.server": {"service"},
    "service.cli_data": {"service"},
    "service.cli": {"service"},
    "service.__main__": {"service.cli"},
    "training": {E, "service.imaging", "service.encoding.manifest", "service.fewshot"},
}
OWNERS = {  # library -> the only rooms that may import it
    "fastapi": ("service.api", "service.app", "service.server"),
    "starlette": ("service.api", "service.app"),
    "uvicorn": ("service.server",),
    "faiss": ("service.retrieval",),
    "onnxruntime": ("service.inference", "training.bundle.onnx_files"),
    "pydicom": ("service.imaging", "training.catalogue"),
    "imagecodecs": ("service.imaging",),
    "PIL": ("service.imaging", "training"),
    "cv2": ("service.imaging", "training"),
    "sklearn": ("training.evaluation.clusters",),
    "sqlite3": ("service.catalog",),
    "pyarrow": ("service.exchange",),
    "httpx": ("service.client", "service.terminal", "service.ingest", "training.catalogue.fetch"),
    "imagehash": ("training.catalogue.near_duplicates",),
    "typer": (
        "service.cli",
        "service.cli_data",
        "service.classifier_commands",
        "service.terminal",
        "training.__main__",
        "training.commands",
    ),
    "rich": ("service.cli", "service.terminal", "training"),
    "prometheus_client": ("service.observability",),
    "pydantic_settings": ("service.settings",),
    "pydantic": ("service.api", "service.settings"),
    "torch": ("training",),
    "timm": ("training",),
    "onnx": ("training", "service.fewshot.onnx_export"),
}
FILES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write absolute imports"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_rooms_import_only_what_the_plan_allows(file: Path) -> None:
    module = module_of(file)
    ours = {name for name in imports_of(file) if name.split(".")[0] in {"service", "training"}}
    if module == "service":
        assert not ours, "service/__init__.py stays empty"
        return
    room = next((room for room in ROOMS if inside(module, room)), None)
    assert room, f"{module} is in no room; add it to the plan"
    allowed = ROOMS[room] | {room}
    assert not {name for name in ours if not any(inside(name, a) for a in allowed)}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_libraries_stay_with_their_owner(file: Path) -> None:
    module = module_of(file)
    for name in imports_of(file):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or any(inside(module, owner) for owner in owners), name
