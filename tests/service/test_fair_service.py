"""Over HTTP, the key decides whose turn it is."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging.screens import speckle
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
