"""A signal ends the service in time, whatever a client has made it do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from service_process import END_TIMEOUT_S, START_TIMEOUT_S

from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging import costly_files as costly
from tests.service.expected import BUNDLE
from tests.service.test_durability import free_port, new_key

ROOT = Path(__file__).parents[2]
MINUTES_OF_WORK = costly.png_of_profiles(14_000)
HANGING = """
import sys, threading
from service.server import _server
from service.settings import Settings
from tests.service.test_errors import Watched

settings = Settings()
encoder = Watched(lambda frames: threading.Event().wait())
_server(settings, encoder).run()
"""


@contextmanager
def running(data_dir: Path, command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """A service in a process of its own, once it responds."""
    key, port = new_key(data_dir), free_port()
    settings = {
        "DATA_DIR": str(data_dir),
        "BUNDLE_DIR": str(BUNDLE),
        "PORT": str(port),
        "DRAIN_S": "0",
        "GRACEFUL_TIMEOUT_S": "1",
    }
    environment = os.environ | {f"SONOPROBE_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        with Client(f"http://127.0.0.1:{port}", key=key, timeout_s=120) as client:
            wait_until(process, lambda: client.live()["status"] == "live")
            yield process, client
    finally:
        process.kill()
        process.wait()


def wait_until(process: subprocess.Popen[bytes], holds) -> None:
    """As long as the service runs and a busy machine may need."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if holds():
                return
        except (httpx.HTTPError, ApiError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_sigterm_ends_the_service_while_files_are_decoded_that_take_minutes(tmp_path) -> None:
    with (
        running(tmp_path, ["-m", "service", "serve"]) as (process, client),
        ThreadPoolExecutor(2) as pool,
    ):
        for _ in range(2):
            pool.submit(client.request, "POST", "/v1/embeddings", content=MINUTES_OF_WORK)
        wait_until(process, lambda: client.ready()["queues"]["clips"]["running"] == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_sigterm_ends_the_service_although_its_encoder_hangs(tmp_path, frames) -> None:
    with (
        running(tmp_path, ["-c", HANGING]) as (process, client),
        ThreadPoolExecutor(1) as pool,
    ):
        pool.submit(client.embed, frames["cyst"][:1])
        wait_until(
            process, lambda: "sonoprobe_queue_running" in client.request("GET", "/metrics").text
        )
        process.send_signal(signal.SIGTERM)
        process.wait(END_TIMEOUT_S)  # the encoder would hang for ever
