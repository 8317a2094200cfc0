"""A real catalog on every engine, two workspaces with one collection each, and scans to add.

A test that uses ``catalog``, ``opened`` or ``place`` runs on SQLite in the default run, and on
PostgreSQL with the marker ``postgres``. What is about the file of SQLite has the marker ``sqlite``.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.catalog.interface import Catalog
from service.catalog.records import NewScan, ScanImage, StoredScan
from service.catalog.sqlite.sqlite_catalog import open_catalog
from tests.catalog.places import ENGINES, Place, PostgresPlace, SqlitePlace

if TYPE_CHECKING:  # psycopg is an extra
    from postgres_process import PostgresProcess

DIM = 8
ENCODER = "enc_1"
# The lowest and highest versions are tested without the extra.
_OF_POSTGRES = [
    "test_postgres_*",
    "test_engines_*",
    "test_catalog_copy*",
    "test_workspace_moves*",
    "test_workspace_life_in*",
]
collect_ignore_glob = [] if find_spec("psycopg") else _OF_POSTGRES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of the catalog on every engine, or on SQLite alone."""
    if "place" in metafunc.fixturenames:
        is_of_sqlite = metafunc.definition.get_closest_marker("sqlite") is not None
        metafunc.parametrize("place", ["sqlite"] if is_of_sqlite else ENGINES, indirect=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def place(request: pytest.FixtureRequest, folder: Path) -> Iterator[Place]:
    """An empty place for a catalog."""
    if request.param == "sqlite":
        yield SqlitePlace(folder)
    else:
        database: PostgresPlace = request.getfixturevalue("postgres_database")
        yield database
        database.empty()


@pytest.fixture
def catalog(place: Place) -> Iterator[Catalog]:
    catalog = place.open()
    yield catalog
    catalog.close()


@pytest.fixture
def ours(catalog: Catalog) -> str:
    return _workspace(catalog, "ours")


@pytest.fixture
def theirs(catalog: Catalog) -> str:
    return _workspace(catalog, "theirs")


@pytest.fixture
def new_scan() -> Callable[..., NewScan]:
    """A scan whose bytes, vector and thumbnail follow from ``n``; fields can be replaced."""

    def build(n: int, **fields: Any) -> NewScan:
        values: dict[str, Any] = {
            "scan_id": None,
            "image": _image(n),
            "embedding_D": np.random.default_rng(n).standard_normal(DIM).astype(np.float32),
            "thumbnail_jpeg": b"\xff\xd8 thumbnail %d" % n,
        }
        return NewScan(**(values | fields))

    return build


@pytest.fixture
def add(catalog: Catalog, ours: str, new_scan: Callable[..., NewScan]) -> Callable[..., str]:
    """Store scan ``n`` in our collection ``lungs`` and return its scan id."""

    def store(n: int, workspace_id: str = ours, collection: str = "lungs", **fields: Any) -> str:
        scans = [new_scan(n, **fields)]
        (answer,) = catalog.add_scans(workspace_id, collection, scans, encoder_id=ENCODER)
        assert isinstance(answer, StoredScan)
        return answer.scan.scan_id

    return store


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[..., Catalog]]:
    """Open further catalogs over the same place or a folder, closed at the end in any case."""
    with ExitStack() as stack:

        def run(folder: Path | None = None, **options: Any) -> Catalog:
            catalog = place.open(**options) if folder is None else open_catalog(folder, **options)
            stack.callback(catalog.close)
            return catalog

        yield run


@pytest.fixture
def edit(place: Place) -> Callable[..., list[tuple[Any, ...]]]:
    """Change what is stored behind the catalog's back."""
    return place.sql


def _workspace(catalog: Catalog, name: str) -> str:
    workspace_id = catalog.ensure_workspace(name).workspace_id
    catalog.create_collection(workspace_id, "lungs", encoder_id=ENCODER, dim=DIM)
    return workspace_id


def _image(n: int) -> ScanImage:
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    return ScanImage(digest, "image", "png", 640, 480, digest[::-1])


@pytest.fixture(scope="session")
def postgres_database(postgres_server: "PostgresProcess") -> PostgresPlace:
    """One database for many tests, each of which leaves it empty."""
    return PostgresPlace(postgres_server, postgres_server.create_database())


@pytest.fixture
def postgres_url(postgres_server: "PostgresProcess") -> Iterator[str]:
    """An empty catalog in a database of its own, as the role of the service."""
    from postgres_process import SERVICE_ROLE

    name = postgres_server.create_database()
    yield postgres_server.url(name, role=SERVICE_ROLE)
    postgres_server.drop_database(name)
