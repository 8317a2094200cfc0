"""The plan of the house, kept true by reading every import."""

from pathlib import Path

import pytest

from tests.house.source_tree import FILES, imports_of, imports_of_ours, inside, module_of

E, A = "service.errors", "service.arrays"
USE_CASES = {"service.embedding", "service.classifiers", "service.gallery"}
ROOMS = {  # room -> what of ours it may import; the first matching row counts
    "service.errors": set(),
    "service.arrays": {E},
    "service.settings": {E},
    "service.observability": set(),
    "service.fairness": {E},
    "service.telemetry": {E},
    "service.imaging": {E, A},
    "service.fewshot": {E, A},
    "service.catalog": {E, A},
    "service.index": {E, A},
    "service.connections": {E},
    "service.embedding": {E, A, "service.imaging", "service.fairness"},
    "service.classifiers": {E, A, "service.catalog", "service.fewshot"},
    # A gallery stores what the pipeline embedded: it takes its results, and no pixels.
    "service.gallery": {E, A, "service.catalog", "service.index", "service.embedding"},
    "service.access": {E, A, "service.catalog"},
    "service.jobs": {E, A, *USE_CASES, "service.catalog", "service.fairness", "service.settings"},
    "service.api": {
        E,
        A,
        *USE_CASES,
        "service.access",
        "service.jobs",
        "service.fairness",
        "service.settings",
        "service.observability",
        "service.telemetry",
    },
    "service.client": set(),
    "service.console": set(),  # files of the web page, no Python
    "service.app": {"service"},
    "service.server": {"service"},
    "service.cli": {"service"},
    "service.__main__": {"service.cli"},
    "training": {E, A, "service.imaging", "service.embedding.bundle", "service.fewshot"},
}
OWNERS = {  # library -> the only rooms that may import it
    "fastapi": ("service.api", "service.app", "service.server"),
    "starlette": ("service.api", "service.app"),
    "uvicorn": ("service.server", "service.connections"),
    "httptools": ("service.connections",),
    "faiss": ("service.index",),
    "onnxruntime": ("service.embedding", "training.bundle.onnx_files"),
    "pydicom": ("service.imaging", "training.catalogue"),
    "imagecodecs": ("service.imaging",),
    "tifffile": ("service.imaging",),
    "pi_heif": ("service.imaging",),
    "PIL": ("service.imaging", "training"),
    "cv2": ("service.imaging", "training"),
    "sklearn": ("training.evaluation.clusters",),
    "sqlite3": ("service.catalog.sqlite",),
    "psycopg": ("service.catalog.postgres",),
    "psycopg_pool": ("service.catalog.postgres",),
    "pgvector": ("service.catalog.postgres",),
    "pyarrow": ("service.gallery",),
    "httpx": ("service.client", "service.cli", "training.catalogue.fetch"),
    "imagehash": ("training.catalogue.near_duplicates",),
    "typer": ("service.cli", "training.__main__", "training.commands"),
    "rich": ("service.cli", "training"),
    "opentelemetry": ("service.telemetry",),
    "prometheus_client": ("service.observability",),
    "pythonjsonlogger": ("service.observability", "training.__main__"),
    "pydantic_settings": ("service.settings",),
    "pydantic": ("service.api", "service.settings"),
    "torch": ("training",),
    "timm": ("training",),
    "onnx": ("training", "service.fewshot.onnx_export"),
}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_rooms_import_only_what_the_plan_allows(file: Path) -> None:
    module = module_of(file)
    ours = imports_of_ours(file)
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
