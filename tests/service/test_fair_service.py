"""Over HTTP, the key decides whose turn it is."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.access.keys import create_key
from service.app import MAX_HELD_READS, create_app
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.fairness.workspace_turn import working_for
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging.screens import speckle
from tests.service.expected import BUNDLE
from tests.service.test_errors import held_encoder
from tests.service.test_frame_search import png

FILES = [png(speckle(96, 96, seed)) for seed in range(12)]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[LocalService, Client, Client, threading.Event]]:
    """A service whose encoder waits, with clients of two workspaces."""
    catalog = open_catalog(tmp_path)
    _, strange_key = create_key(catalog, "stranger", "other")
    release, _, encoder = held_encoder()
    settings = Settings(data_dir=tmp_path, drain_s=0, max_queue=8)
    with (
        local_service(settings, encoder=encoder, catalog=catalog) as local,
        Client(local.url, key=local.key) as owner,
        Client(local.url, key=strange_key) as stranger,
    ):
        yield local, owner, stranger, release
        release.set()
    catalog.close()


def test_a_workspace_that_fills_the_queue_is_refused_and_another_is_not(held) -> None:
    local, owner, stranger, release = held
    pipeline = local.running().pipeline
    with ThreadPoolExecutor(2) as pool:
        flood = pool.submit(owner.embed, FILES[:8])
        while pipeline.in_flight < 8:
            threading.Event().wait(0.01)
        with pytest.raises(ApiError) as caught:
            owner.embed(FILES[8:9])
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
        other = pool.submit(stranger.embed, FILES[9:11])
        while pipeline.in_flight < 10:
            threading.Event().wait(0.01)
        release.set()
        for answer, count in ((flood, 8), (other, 2)):
            items = answer.result(60)["items"]
            assert [len(np.ravel(item["embedding"])) > 0 for item in items] == [True] * count


def test_metrics_and_readiness_tell_what_waits(held) -> None:
    local, owner, _, release = held
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(owner.embed, FILES[:8])
        while not local.running().queues["encoder"].waiting:
            threading.Event().wait(0.01)
        lines = owner.request("GET", "/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("sonoprobe_queue"))
        assert float(values['sonoprobe_queue_waiting{queue="encoder"}']) > 0
        assert float(values['sonoprobe_queue_running{queue="encoder"}']) > 0
        assert float(values['sonoprobe_queue_oldest_seconds{queue="encoder"}']) > 0
        release.set()
        work.result(60)
    queues = owner.ready()["queues"]
    assert set(queues) == {"stills", "clips", "encoder", "fits", "operations"}
    assert queues["encoder"] == {"waiting": 0, "running": 0, "oldest_s": 0.0}


def test_keys_and_readiness_do_not_wait_for_the_calls_of_workspaces(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    _, key = create_key(catalog, "owner", "default")
    _, strange_key = create_key(catalog, "stranger", "other")
    app = create_app(Settings(data_dir=tmp_path, bundle_dir=BUNDLE), catalog=catalog)
    release = threading.Event()

    async def statuses() -> tuple[list[int], list[bool]]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            slow = []
            for number in range(64):  # of many workspaces, so that they hold the kept place as well
                with working_for(f"workspace {number}"):
                    slow.append(asyncio.create_task(asyncio.to_thread(release.wait, 30)))
            await asyncio.sleep(0)
            answers = [await client.get("/health/ready")]
            for secret in (key, strange_key):
                headers = {"Authorization": f"Bearer {secret}"}
                answers.append(await client.get("/v1/encoder", headers=headers))
            release.set()
            return [answer.status_code for answer in answers], await asyncio.gather(*slow)

    assert asyncio.run(statuses()) == ([200] * 3, [True] * 64)
    catalog.close()


def test_a_workspace_whose_counts_wait_gets_503_and_another_counts(held) -> None:
    local, owner, stranger, release = held
    for client in (owner, stranger):
        client.request("POST", "/v1/collections", json={"name": "c"})
    running = local.running()
    with working_for(running.default_workspace_id):
        for _ in range(MAX_HELD_READS):
            running.searchers.submit(release.wait, 30)
    for method, path in (("POST", "facets"), ("GET", "scans")):
        options = {"json": {}} if method == "POST" else {}
        with pytest.raises(ApiError) as caught:
            owner.request(method, f"/v1/collections/c/{path}", **options)
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
    assert owner.request("GET", "/v1/collections/c").json()["name"] == "c"
    assert stranger.request("POST", "/v1/collections/c/facets", json={}).json()["scans"] == 0
    assert not release.is_set()
