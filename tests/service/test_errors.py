"""Errors that need a service in a special state: each over TCP, each leaves the service usable."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.embedding.encoder import OnnxEncoder, load_encoder
from service.errors import ArtifactMismatch, Overloaded
from service.server import local_service
from service.settings import Settings, program_version
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE


class Watched:
    """The fixture's encoder, with something to happen before each forward pass."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self._encoder: OnnxEncoder = load_encoder(BUNDLE)
        self._before = before
        self.encoder_id, self.dim = self._encoder.encoder_id, self._encoder.dim
        self.spec, self.manifest = self._encoder.spec, self._encoder.manifest
        self.card, self.ultrasound = self._encoder.card, self._encoder.ultrasound
        self.lanes = ()

    def encode(self, frames_B3SS: np.ndarray) -> np.ndarray:
        self._before(len(frames_B3SS))
        return self._encoder.encode(frames_B3SS)

    def encode_mapped(self, frames_B3SS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._before(len(frames_B3SS))
        return self._encoder.encode_mapped(frames_B3SS)


def failing_encoder(error: Exception) -> tuple[threading.Event, Watched]:
    """An encoder that raises the error while the event is set."""
    failing = threading.Event()

    def fail(_frames: int) -> None:
        if failing.is_set():
            raise error

    return failing, Watched(fail)


def held_encoder() -> tuple[threading.Event, threading.Event, Watched]:
    """An encoder that waits for the first event, and sets the second when it has work."""
    release, busy = threading.Event(), threading.Event()

    def hold(_frames: int) -> None:
        busy.set()
        release.wait(30)

    return release, busy, Watched(hold)


def settings(data_dir: Path, **changed: object) -> Settings:
    return Settings(data_dir=data_dir, drain_s=0, **changed)


def png(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), 90).save(out, "PNG")
    return out.getvalue()


def test_a_full_queue_refuses_at_once_with_retry_after_and_stores_nothing(
    tmp_path: Path, frames
) -> None:
    release, busy, encoder = held_encoder()
    with (
        local_service(settings(tmp_path, max_queue=4), encoder=encoder) as local,
        Client(local.url, key=local.key) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        client.create_collection("c")
        first = pool.submit(client.add_scans, "c", frames["cyst"][:4])
        assert busy.wait(10)
        with pytest.raises(ApiError) as caught:
            client.add_scans("c", frames["mass"][:1])
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
        assert caught.value.retry_after_s == 1
        release.set()
        assert all(item["created"] for item in first.result(30)["items"])
        assert client.collection("c")["scans"] == 4


def test_a_failing_encoder_is_an_internal_error_of_its_request_alone(
    tmp_path: Path, frames
) -> None:
    failing, encoder = failing_encoder(RuntimeError("secret of the encoder"))
    with (
        local_service(settings(tmp_path), encoder=encoder) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("c")
        failing.set()
        with pytest.raises(ApiError) as caught:
            client.add_scans("c", frames["cyst"][:2])
        assert (caught.value.code, caught.value.status) == ("internal_error", 500)
        assert caught.value.request_id.startswith("req_")
        assert "secret" not in str(caught.value)
        failing.clear()
        assert client.collection("c")["scans"] == 0
        assert len(client.add_scans("c", frames["cyst"][:2])["items"]) == 2


def test_a_dead_encoder_is_unready_but_alive_and_ready_again_when_it_recovers(
    tmp_path: Path,
) -> None:
    failing, encoder = failing_encoder(RuntimeError("secret of the encoder"))
    with (
        local_service(settings(tmp_path), encoder=encoder) as local,
        Client(local.url, key=local.key) as client,
    ):
        failing.set()
        with pytest.raises(ApiError) as caught:
            client.ready()
        assert (caught.value.code, caught.value.status) == ("encoder_failure", 503)
        assert caught.value.retry_after_s == 1
        assert "secret" not in str(caught.value)
        assert client.live() == {"status": "live", "version": program_version()}
        failing.clear()
        assert client.ready()["status"] == "ready"


def test_an_upload_in_flight_at_a_stop_is_answered_and_kept(tmp_path: Path, frames) -> None:
    release, busy, encoder = held_encoder()
    with ThreadPoolExecutor(1) as pool:
        with local_service(settings(tmp_path), encoder=encoder) as local:
            client = Client(local.url, key=local.key)
            client.create_collection("c")
            upload = pool.submit(client.add_scans, "c", frames["cyst"][:3])
            assert busy.wait(10)
            threading.Timer(0.3, release.set).start()
        assert [item["created"] for item in upload.result(30)["items"]] == [True] * 3
        client.close()
    with (
        local_service(settings(tmp_path), encoder=Watched(lambda _frames: None)) as local,
        Client(local.url, key=local.key) as client,
    ):
        assert client.collection("c")["scans"] == 3


def test_an_answer_with_a_failure_of_ours_is_not_kept_for_a_repetition(
    tmp_path: Path, frames
) -> None:
    failing, encoder = failing_encoder(Overloaded("the encoder is busy"))
    with (
        local_service(settings(tmp_path), encoder=encoder) as local,
        Client(local.url, key=local.key) as client,
    ):
        client.create_collection("c")
        failing.set()
        files = [frames["cyst"][0], b"no image"]
        first = client.add_scans("c", files, idempotency_key="again")["items"]
        assert [item["problem"]["status"] for item in first] == [503, 415]
        with pytest.raises(ApiError) as caught:
            client.add_scans("c", files[:1], idempotency_key="all of it")
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
        failing.clear()
        second = client.add_scans("c", files, idempotency_key="again")["items"]
        assert second[0]["created"]
        assert client.add_scans("c", files, idempotency_key="again")["items"] == second
        assert client.add_scans("c", files[:1], idempotency_key="all of it")["items"]


def test_a_picture_of_too_many_pixels_fails_alone(tmp_path: Path) -> None:
    with (
        local_service(settings(tmp_path, bundle_dir=BUNDLE, max_pixels=10_000)) as local,
        Client(local.url, key=local.key) as client,
    ):
        items = client.embed([png(100), png(101)])["items"]
        assert "embedding" in items[0]
        assert items[1]["problem"]["code"] == "image_too_large"
        assert items[1]["problem"]["status"] == 413


def test_a_catalog_that_fails_is_503_and_unready(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    chosen = settings(tmp_path, bundle_dir=BUNDLE, require_key=False)
    with local_service(chosen, catalog=catalog) as local, Client(local.url) as client:
        assert client.ready()["status"] == "ready"
        catalog.close()
        for ask in (lambda: list(client.collections()), client.ready):
            with pytest.raises(ApiError) as caught:
                ask()
            assert (caught.value.code, caught.value.status) == ("catalog_failure", 503)
        assert client.live() == {"status": "live", "version": program_version()}


def test_a_service_that_stops_says_so_on_its_readiness(tmp_path: Path) -> None:
    chosen = settings(tmp_path, bundle_dir=BUNDLE)
    with local_service(chosen) as local, Client(local.url) as client:
        local.running().stopping = True
        with pytest.raises(ApiError) as caught:
            client.ready()
        assert (caught.value.code, caught.value.status) == ("stopping", 503)


def test_a_key_is_not_stored_twice(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    key, token = create_key(catalog, "a", "default")
    assert token not in repr(key)
    catalog.close()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or token.encode() not in file.read_bytes()


def test_a_broken_bundle_keeps_the_service_from_starting(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with (
        pytest.raises(ArtifactMismatch, match="no readable manifest"),
        local_service(settings(tmp_path, bundle_dir=tmp_path / "bundle")),
    ):
        pass
