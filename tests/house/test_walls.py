"""The plan of the house, kept true by reading every import."""

from tests.house.source_tree import (
    CLIENT_FILES,
    FILES,
    imports_of,
    imports_of_ours,
    inside,
    module_of,
)

E, A = "service.errors", "service.arrays"
USE_CASES = {"service.embedding", "service.classifiers", "service.gallery"}
ROOMS = {  # room -> what of ours it may import; the first matching row counts
    "service.errors": set(),
    "service.arrays": {E},
    "service.settings": {E, "service.setting_groups"},
    "service.setting_groups": set(),
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
    "service.opening": {
        E,
        A,
        "service.settings",
        "service.catalog",
        "service.classifiers",
        "service.embedding",
        "service.imaging",
    },
    "service.client": {"sonoprobe_client"},  # where the client was in 0.1.0
    "sonoprobe_client": set(),  # its own distribution: nothing of the service
    "service.console": set(),  # files of the web page, no Python
    "service.app": {"service"},
    "service.server": {"service"},
    "service.cli": {"service", "sonoprobe_client"},
    "service.__main__": {"service.cli"},
    "training": {E, A, "service.imaging", "service.embedding.bundle", "service.fewshot"},
}
OWNERS = {  # library -> the only rooms that may import it
    "fastapi": ("service.api", "service.app", "service.server"),
    "starlette": ("service.api", "service.app"),
    "uvicorn": ("service.server", "service.connections"),
    "httptools": ("service.connections",),
    "websockets": ("service.connections", "sonoprobe_client.streams"),
    "faiss": ("service.index",),
    "onnxruntime": ("service.embedding", "training.bundle.onnx_files"),
    "pydicom": ("service.imaging", "training.catalogue"),
    "imagecodecs": ("service.imaging",),
    "tifffile": ("service.imaging",),
    "pi_heif": ("service.imaging",),
    "PIL": ("service.imaging", "training"),
    "cv2": ("service.imaging", "training"),
    "sklearn": ("training.evaluation.clusters",),
    "sqlite3": ("service.catalog.sqlite", "service.catalog.audit.sqlite_audit"),
    "psycopg": ("service.catalog.postgres", "service.catalog.audit.postgres_audit"),
    "psycopg_pool": ("service.catalog.postgres",),
    "pgvector": ("service.catalog.postgres",),
    "pyarrow": ("service.gallery",),
    "httpx": (
        "sonoprobe_client",
        "service.cli",
        "service.access.tokens.provider_documents",
        "training.catalogue.fetch",
    ),
    "joserfc": ("service.access", "sonoprobe_client.machine_login"),
    "imagehash": ("training.catalogue.near_duplicates",),
    "typer": ("service.cli", "training.__main__", "training.commands"),
    "rich": ("service.cli", "training"),
    "opentelemetry": ("service.telemetry",),
    "prometheus_client": ("service.observability",),
    "pythonjsonlogger": ("service.observability", "training.__main__"),
    "pydantic_settings": ("service.settings",),
    "pydantic": ("service.api", "service.settings", "service.setting_groups", "sonoprobe_client"),
    "cryptography": ("service.classifiers.signing",),
    "torch": ("training",),
    "timm": ("training",),
    "onnx": ("training", "service.fewshot.onnx_export"),
}


# One test for all files of ours: a test for each costs more time than it reads the file.


def test_rooms_import_only_what_the_plan_allows() -> None:
    found = {module_of(file): imports_of_ours(file) for file in [*FILES, *CLIENT_FILES]}
    assert not found.pop("service"), "service/__init__.py stays empty"
    rooms = {module: room_of(module) for module in found}
    assert not [module for module, room in rooms.items() if room is None], "add it to the plan"
    forbidden = {
        module: names
        for module, ours in found.items()
        if (names := {name for name in ours if not is_allowed(rooms[module], name)})
    }
    assert not forbidden


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if inside(module, room)), None)


def is_allowed(room: str | None, name: str) -> bool:
    return room is not None and any(inside(name, allowed) for allowed in {*ROOMS[room], room})


def test_libraries_stay_with_their_owner() -> None:
    strays = [
        (module_of(file), name)
        for file in [*FILES, *CLIENT_FILES]
        for name in imports_of(file)
        if (owners := OWNERS.get(name.split(".")[0])) is not None
        and not any(inside(module_of(file), owner) for owner in owners)
    ]
    assert not strays
