"""The balancer of the demo before a real service and a port where nobody listens."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from balancer import Balancer

from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE

# Beside the demo, whose part it is.
pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    folder = tmp_path_factory.mktemp("data")
    with local_service(Settings(data_dir=folder, bundle_dir=BUNDLE, drain_s=0)) as running:
        yield running


@pytest.fixture(scope="module")
def balancer(local: LocalService) -> Iterator[Balancer]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = Balancer([probe.getsockname()[1], httpx.URL(local.url).port or 0])
        with found.running():
            while found.ready < 1:
                time.sleep(0.01)
            yield found


def test_requests_of_many_clients_reach_the_replica_that_is_ready(
    local: LocalService, balancer: Balancer
) -> None:
    images = [file.read_bytes() for file in sorted(SAMPLES.rglob("*.png"))[:8]]
    with Client(balancer.url, key=local.key) as client, ThreadPoolExecutor(4) as pool:
        client.create_collection("balanced")
        added = list(pool.map(lambda image: client.add_scans("balanced", [image]), images))
        assert len({answer["items"][0]["scan"]["scan_id"] for answer in added}) == 8
        assert len(list(client.scans("balanced"))) == 8
        scan_id = added[0]["items"][0]["scan"]["scan_id"]
        assert client.thumbnail("balanced", scan_id)[:2] == b"\xff\xd8"


def test_answers_without_a_body_do_not_hold_up_the_next(
    local: LocalService, balancer: Balancer
) -> None:
    with Client(balancer.url, key=local.key) as client:
        head = client.request("HEAD", "/health/live")
        assert int(head.headers["content-length"]) > 0
        with pytest.raises(ApiError, match="unknown_item"):
            client.collection("nowhere")
        assert client.live()["status"] == "live"


def test_without_a_replica_the_answer_is_503_with_the_time_to_come_back() -> None:
    nobody = Balancer([])
    with nobody.running():
        answer = httpx.get(f"{nobody.url}/health/live", trust_env=False)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
