"""A real service with the small encoder for the tests of the client."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client
from tests.client.command_line import Run, invoke
from tests.client.pictures import frame
from tests.service.expected import BUNDLE


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """It accepts 5 images of 200 kB in a request, so that batches of the client are too large."""
    folder = tmp_path_factory.mktemp("tiny")
    limits = {"max_items": 5, "max_image_bytes": 200_000}
    settings = Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0, audit=False, **limits)
    with local_service(settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as found:
        yield found


@pytest.fixture(scope="session")
def run(tiny: LocalService) -> Run:
    """Run a command; its standard output, as JSON if it was asked for."""
    address = {"SONOPROBE_URL": tiny.url, "SONOPROBE_KEY": tiny.key}

    def run(*words: object, code: int = 0) -> Any:
        done = invoke([str(word) for word in words], env=address)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


@pytest.fixture(scope="session")
def ward(client: Client) -> str:
    """A collection of 12 scans of two classes and a classifier of the same name."""
    client.create_collection("ward")
    metadata: list[Any] = [
        {"scan_id": f"s{n}", "subject_id": f"p{n}", "labels": {"t": "ab"[n % 2]}} for n in range(12)
    ]
    client.add_scans("ward", [frame(n) for n in range(12)], metadata).raise_for_items()
    client.fit({"name": "ward", "collection": "ward", "task": "t"})
    return "ward"
