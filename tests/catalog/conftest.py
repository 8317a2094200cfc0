"""A real catalog in a fresh folder, two workspaces with one collection each, and scans to add."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.catalog.records import NewScan, ScanImage, StoredScan
from service.catalog.sqlite.sqlite_catalog import SqliteCatalog, open_catalog

if TYPE_CHECKING:  # psycopg is an extra
    from postgres_process import PostgresProcess

DIM = 8
ENCODER = "enc_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def catalog(folder: Path) -> Iterator[SqliteCatalog]:
    catalog = open_catalog(folder)
    yield catalog
    catalog.close()


@pytest.fixture
def ours(catalog: SqliteCatalog) -> str:
    return _workspace(catalog, "ours")


@pytest.fixture
def theirs(catalog: SqliteCatalog) -> str:
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
def add(catalog: SqliteCatalog, ours: str, new_scan: Callable[..., NewScan]) -> Callable[..., str]:
    """Store scan ``n`` in our collection ``lungs`` and return its scan id."""

    def store(n: int, workspace_id: str = ours, collection: str = "lungs", **fields: Any) -> str:
        scans = [new_scan(n, **fields)]
        (answer,) = catalog.add_scans(workspace_id, collection, scans, encoder_id=ENCODER)
        assert isinstance(answer, StoredScan)
        return answer.scan.scan_id

    return store


@pytest.fixture
def opened():
    """Open further catalogs, closed at the end whatever happens."""
    with ExitStack() as stack:

        def run(folder):
            catalog = open_catalog(folder)
            stack.callback(catalog.close)
            return catalog

        yield run


@pytest.fixture
def edit(folder):
    """Change the file behind the catalog's back; the catalog must be closed."""

    def run(sql, *variables):
        connection = sqlite3.connect(folder / "catalog.sqlite")
        connection.execute(sql, variables)
        connection.commit()
        connection.close()

    return run


def _workspace(catalog: SqliteCatalog, name: str) -> str:
    workspace_id = catalog.ensure_workspace(name).workspace_id
    catalog.create_collection(workspace_id, "lungs", encoder_id=ENCODER, dim=DIM)
    return workspace_id


def _image(n: int) -> ScanImage:
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    return ScanImage(digest, "image", "png", 640, 480, digest[::-1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator["PostgresProcess"]:
    """A real PostgreSQL; its database ``template`` has the tables of a catalog."""
    from postgres_process import SERVICE_ROLE, postgres_process

    from service.catalog.postgres.postgres_schema import migrate

    with postgres_process() as server:
        server.template = server.create_database()
        migrate(server.url(server.template), service_role=SERVICE_ROLE)
        yield server


@pytest.fixture
def postgres_url(postgres_server: "PostgresProcess") -> Iterator[str]:
    """An empty catalog in a database of its own, as the role of the service."""
    from postgres_process import SERVICE_ROLE

    name = postgres_server.create_database()
    yield postgres_server.url(name, role=SERVICE_ROLE)
    postgres_server.drop_database(name)
