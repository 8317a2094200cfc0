"""SIGKILL during concurrent uploads: what was acknowledged is there, and nothing half-written."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from service_process import wait_until_ready

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data_dir: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    settings = {"DATA_DIR": str(data_dir), "PORT": str(port), "DRAIN_S": "0.5"}
    environment = os.environ | {f"SONOPROBE_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"],
        env=environment,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, url)
    except RuntimeError:
        process.kill()
        raise
    return process, url


def new_key(data_dir: Path) -> str:
    catalog = open_catalog(data_dir)
    try:
        return create_key(catalog, "test", "default")[1]
    finally:
        catalog.close()


def test_every_acknowledged_scan_survives_a_kill_and_is_searchable(tmp_path: Path, frames) -> None:
    key = new_key(tmp_path)
    process, url = start(tmp_path)
    images = [image for files in frames.values() for image in files]
    acknowledged: set[str] = set()
    lock, enough = threading.Lock(), threading.Event()

    def send(worker: int) -> None:
        with Client(url, key=key) as client:
            for number in range(worker, len(images), 4):
                try:
                    items = client.add_scans(
                        "c", [images[number]], [{"scan_id": f"scan-{number}"}]
                    )["items"]
                except (httpx.HTTPError, ApiError):
                    return
                with lock:
                    acknowledged.add(items[0]["scan"]["scan_id"])
                    if len(acknowledged) >= 20:
                        enough.set()

    with Client(url, key=key) as client:
        client.create_collection("c", intake={"high_risk_thumbnails": True})
    with ThreadPoolExecutor(4) as pool:
        for worker in range(4):
            pool.submit(send, worker)
        assert enough.wait(60)
        process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert 20 <= len(acknowledged) < len(images)

    process, url = start(tmp_path)
    try:
        with Client(url, key=key) as client:
            stored = {scan["scan_id"] for scan in client.scans("c")}
            assert acknowledged <= stored
            assert client.collection("c")["scans"] == len(stored)
            for scan_id in sorted(stored):
                number = int(scan_id.split("-")[1])
                assert client.thumbnail("c", scan_id)
                best = client.search_image("c", images[number], {"k": 1})["items"][0]
                np.testing.assert_allclose(best["score"], 1, atol=1e-4)
            hits = client.search("c", {"scan_id": min(stored), "k": 1000})["items"]
            assert {hit["scan"]["scan_id"] for hit in hits} == stored - {min(stored)}
    finally:
        process.kill()
        process.wait(10)


def test_a_stop_turns_readiness_off_first_and_closes_the_catalog(tmp_path: Path) -> None:
    process, url = start(tmp_path)
    process.send_signal(signal.SIGTERM)
    seen = set()
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            seen.add(httpx.get(f"{url}/health/ready", trust_env=False).status_code)
        except httpx.HTTPError:
            break
        time.sleep(0.05)
    process.wait(20)
    assert 503 in seen
    assert process.returncode == 0
    left = {file.name for file in tmp_path.iterdir()}  # without the logs, which are folded in
    assert left == {"catalog.sqlite", "audit.sqlite"}
