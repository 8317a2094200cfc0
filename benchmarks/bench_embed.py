"""Embedding through HTTP beside bare ONNX Runtime: same bundle, same cores, same run.

Both sides decode and preprocess the same files; the bare side does so outside its clock, so the
ratio is what the whole corridor, HTTP included, leaves of the network's own speed. The bare side
is one session on every core, as a caller of ONNX Runtime would open it; the service runs two
lanes of half of the cores, so the same two lanes without the service are measured as well.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from service.access.keys import create_key
from service.catalog.sqlite.sqlite_catalog import open_catalog
from service.cli.demo import SAMPLES
from service.cli.ingest import image_files
from service.client.client import Client
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import OnnxEncoder, load_encoder
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.decode import decode

ROUNDS, CLIENTS, SECONDS, SINGLE = 5, 16, 6.0, 60


def start(data_dir: Path, port: int) -> tuple[subprocess.Popen[bytes], str, float]:
    """Start the service; seconds until it says that it is ready."""
    environment = os.environ | {
        "SONOPROBE_DATA_DIR": str(data_dir),
        "SONOPROBE_PORT": str(port),
        "SONOPROBE_LOG_LEVEL": "WARNING",
        "SONOPROBE_DRAIN_S": "0",
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "service", "serve"], env=environment)
    url = f"http://127.0.0.1:{port}"
    while True:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                return process, url, time.perf_counter() - began
        except httpx.HTTPError:
            time.sleep(0.02)


def resident_mb(pid: int) -> float:
    """Peak resident memory of a process, MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def bare_fps(inputs: np.ndarray, batch: int) -> float:
    """Frames per second of the network alone."""
    encoder = load_encoder(SHIPPED_BUNDLE)
    encoder.encode(inputs[:batch])
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        encoder.encode(inputs[:batch])
        done += batch
    return done / (time.perf_counter() - began)


def bare_lanes_fps(inputs: np.ndarray, batch: int) -> float:
    """Frames per second of the network alone in the lanes that the service uses."""
    encoder = load_encoder(SHIPPED_BUNDLE, with_lanes=True)
    began = time.perf_counter()

    def work(lane: OnnxEncoder) -> int:
        done = 0
        while time.perf_counter() - began < SECONDS:
            lane.encode(inputs[:batch])
            done += batch
        return done

    with ThreadPoolExecutor(2) as pool:
        done = sum(pool.map(work, encoder.lanes or (encoder,)))
    return done / (time.perf_counter() - began)


def http_fps(url: str, key: str, images: list[bytes]) -> float:
    """Frames per second of concurrent clients that send one image per request."""
    done, lock, stop = 0, threading.Lock(), time.perf_counter() + SECONDS

    def work(worker: int) -> None:
        nonlocal done
        # The plainest client: it shares the cores, and its cost is not the service's.
        link = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/png"}
        number = worker
        while time.perf_counter() < stop:
            image = images[number % len(images)]
            link.request("POST", "/v1/embeddings?encoding_format=base64", image, headers)
            answer = link.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read())
            answer.read()
            number += CLIENTS
            with lock:
                done += 1

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    return done / (time.perf_counter() - began)


def single_ms(url: str, key: str, images: list[bytes]) -> tuple[float, float]:
    """Median milliseconds of one client, and of decode + bare inference, interleaved."""
    encoder = load_encoder(SHIPPED_BUNDLE)
    through, floor = [], []
    with Client(url, key=key) as client:
        for number in range(SINGLE + 5):
            image = images[number % len(images)]
            began = time.perf_counter()
            client.embed([image], encoding_format="base64")
            middle = time.perf_counter()
            frame = decode(image, max_pixels=10**8).pixels_HW
            encoder.encode(preprocess(frame[None], encoder.spec))
            if number >= 5:
                through.append(middle - began)
                floor.append(time.perf_counter() - middle)
    return 1000 * statistics.median(through), 1000 * statistics.median(floor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--images", type=Path, default=SAMPLES)
    parser.add_argument("--port", type=int, default=18473)
    given = parser.parse_args()
    images = [path.read_bytes() for path in image_files(given.images)[:200]]
    spec = load_encoder(SHIPPED_BUNDLE).spec
    decoded = [decode(image, max_pixels=10**8).pixels_HW for image in images[:8]]
    inputs = np.concatenate([preprocess(frame[None], spec) for frame in decoded])
    with tempfile.TemporaryDirectory() as scratch:
        catalog = open_catalog(Path(scratch))
        key = create_key(catalog, "bench", "default")[1]
        catalog.close()
        process, url, ready_s = start(Path(scratch), given.port)
        try:
            through_ms, floor_ms = single_ms(url, key, images)
            rounds = [
                (bare_fps(inputs, 8), bare_lanes_fps(inputs, 4), http_fps(url, key, images))
                for _ in range(ROUNDS)
            ]
            rss_mb = resident_mb(process.pid)
        finally:
            process.terminate()
            process.wait(30)
    ratio = statistics.median(http / bare for bare, _, http in rounds)
    lanes_ratio = statistics.median(http / lanes for _, lanes, http in rounds)
    found = {
        "http_over_bare_ratio": round(ratio, 3),
        "http_over_bare_lanes_ratio": round(lanes_ratio, 3),
        "http_fps": round(statistics.median(http for _, _, http in rounds), 1),
        "bare_fps": round(statistics.median(bare for bare, _, _ in rounds), 1),
        "bare_lanes_fps": round(statistics.median(lanes for _, lanes, _ in rounds), 1),
        "added_latency_ms_p50": round(through_ms - floor_ms, 2),
        "single_ms_p50": round(through_ms, 2),
        "floor_ms_p50": round(floor_ms, 2),
        "ready_s": round(ready_s, 2),
        "rss_mb": round(rss_mb),
    }
    for name, value in found.items():
        print(f"{name:28}{value}")
    if given.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
