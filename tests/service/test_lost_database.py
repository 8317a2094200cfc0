"""A service over a real PostgreSQL that goes away and comes back, over real HTTP."""

import logging
import time

import httpx
import pytest
from postgres_process import SERVICE_ROLE, postgres_process

from service.catalog.postgres.postgres_schema import migrate
from service.server import local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

pytestmark = pytest.mark.postgres
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server():
    with postgres_process() as server:
        yield server


@pytest.fixture
def local(server, tmp_path):
    name = server.create_database()
    migrate(server.url(name), service_role=SERVICE_ROLE)
    settings = Settings(
        catalog=server.url(name, role=SERVICE_ROLE),
        data_dir=tmp_path / "none",
        bundle_dir=BUNDLE,
        drain_s=0,
    )
    with local_service(settings) as local:
        yield local
    server.drop_database(name)
    assert not (tmp_path / "none").exists(), "a replica keeps nothing in a folder"


def ready(local):
    return httpx.get(f"{local.url}/health/ready", timeout=10)


def until_ready(local):
    deadline = time.monotonic() + PATIENCE_S
    while ready(local).status_code != 200:
        assert time.monotonic() < deadline, "it never came back"
        time.sleep(0.05)


def test_readiness_and_requests_say_so_and_both_come_back(server, local, frames, caplog):
    frame = next(iter(frames.values()))[0]
    with Client(local.url, key=local.key) as client:
        client.create_collection("c")
        first = client.add_scans("c", [frame])["items"][0]["scan"]["scan_id"]
        for mode in ("fast", "immediate"):
            assert ready(local).status_code == 200
            server.stop(mode)
            with caplog.at_level(logging.WARNING):
                for _ in range(5):
                    answer = ready(local)
                    assert answer.status_code == 503
                    assert answer.json()["code"] == "catalog_failure"
                for method, path in (("GET", "/v1/collections"), ("POST", "/v1/collections")):
                    answer = httpx.request(
                        method,
                        f"{local.url}{path}",
                        headers={"Authorization": f"Bearer {local.key}"},
                        json={"name": "d"} if method == "POST" else None,
                        timeout=20,
                    )
                    assert answer.status_code == 503
                    assert int(answer.headers["Retry-After"]) > 0
            server.start()
            until_ready(local)
            assert client.scan("c", first)["scan_id"] == first
    background = [record.msg for record in caplog.records if record.name != "service.api.problems"]
    for line in set(background):
        assert background.count(line) <= 4, f"the log is flooded with: {line}"
