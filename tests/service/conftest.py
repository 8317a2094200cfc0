"""A real service over TCP with the shipped encoder, and frames to send."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.catalog.places import ENGINES
from tests.service.expected import BUNDLE

# Upload, search, erasure, classifiers, operations and idempotency, from one end to the other;
# and who may do what.
OVER_EVERY_ENGINE = {
    "test_api.py",
    "test_erasure_and_retention.py",
    "test_key_limits.py",
    "test_roles.py",
    "test_stream_ends.py",
    "test_workspaces.py",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of some modules over every engine of the catalog, the others over SQLite."""
    if "new_catalog" in metafunc.fixturenames:
        is_over_every = metafunc.definition.path.name in OVER_EVERY_ENGINE
        engines = ENGINES if is_over_every else ["sqlite"]
        metafunc.parametrize("new_catalog", engines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def new_catalog(request: pytest.FixtureRequest) -> Callable[[], dict[str, Any]]:
    """The settings that give a service an empty catalog of its own."""
    if request.param == "sqlite":
        return dict  # in its data folder
    from postgres_process import SERVICE_ROLE

    server = request.getfixturevalue("postgres_server")
    return lambda: {"catalog": server.url(server.create_database(), role=SERVICE_ROLE)}


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """A command configures logging for its process; the next test starts without that."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def frames() -> dict[str, list[bytes]]:
    """Sample files by scene."""
    return {
        folder.name: [file.read_bytes() for file in sorted(folder.glob("*.png"))]
        for folder in sorted(SAMPLES.iterdir())
        if folder.is_dir()
    }


@pytest.fixture(scope="session")
def local(
    tmp_path_factory: pytest.TempPathFactory, new_catalog: Callable[[], dict[str, Any]]
) -> Iterator[LocalService]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    limits: dict[str, Any] = {"max_upload_bytes": 2_000_000, "max_image_bytes": 500_000}
    settings = Settings(data_dir=data_dir, drain_s=0, **limits, **new_catalog())
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service with the small encoder; its vectors are real, its accuracy is no matter here.

    It keeps no audit log; that of ``local`` does.
    """
    folder = tmp_path_factory.mktemp("tiny")
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0, audit=False)
    with local_service(settings) as running:
        yield running


@pytest.fixture
def name(ward: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A classifier of the module's whole ``ward``, deleted afterwards."""
    found = f"k{abs(hash(request.node.nodeid))}"
    ward.fit({"name": found, "collection": "ward", "task": "t"})
    yield found
    ward.delete_classifier(found)


@pytest.fixture
def client(local: LocalService) -> Iterator[Client]:
    with Client(local.url, key=local.key) as found:
        yield found


@pytest.fixture
def collection(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"c{abs(hash(request.node.nodeid))}"
    client.create_collection(name)
    yield name
    try:
        client.delete_collection(name)
    except ApiError as error:
        assert error.code == "unknown_item"  # noqa: PT017 - the test deleted it
