"""Embedding through HTTP beside bare ONNX Runtime: same bundle, same cores, same run.

Both sides decode and preprocess the same files. The bare side does so before its clock starts, so
the ratio says how much of the network's own speed is left after HTTP, decoding and batching. The
bare side is one session on every core, as a caller of ONNX Runtime would open it. The service runs
two lanes on half of the cores each, so the same two lanes are measured without the service as well.

The floor decodes the same bytes with the fastest decoder that is installed and runs the bare
network on a tensor, on every core; ``http_over_floor_ratio`` is what the service keeps of that.
``frame_cpu_ms`` is processor time of one thread for all that the service does to a frame beside the
network, and ``around_over_encoder_ratio`` its sum over that of the network; what an upload adds
(thumbnail, kept pixels) is listed but not in the sum. Their files are sample scans enlarged on
drawn screens. ``heat_map_added_ms`` is processor time of one core that a heat map adds to a
prediction.
"""

import http.client
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from access_costs import access_ratios
from drawn_screens import screen_files
from frame_costs import cpu_table, floor_fps
from harness import argument_parser, median_ms, memory_mb, print_report
from heat_map_costs import heat_map_added_ms
from service_process import ServiceProcess, service_process

from service.cli.demo import SAMPLES
from service.cli.folder_walk import image_files
from service.embedding.bundle import SHIPPED_BUNDLE
from service.embedding.encoder import OnnxEncoder, load_encoder
from service.imaging.analysis.preprocess import preprocess
from service.imaging.formats.decode import decode
from sonoprobe_client import PlainClient as Client

ROUNDS, CLIENTS, SECONDS, SINGLE = 5, 16, 6.0, 60


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


def http_fps(service: ServiceProcess, images: list[bytes]) -> float:
    """Frames per second of concurrent clients that send one image per request."""
    done, lock, stop = 0, threading.Lock(), time.perf_counter() + SECONDS

    def work(worker: int) -> None:
        nonlocal done
        # The plainest client: it shares the cores, and its cost is not the service's.
        link = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60)
        headers = {"Authorization": f"Bearer {service.key}"}
        number = worker
        while time.perf_counter() < stop:
            image = images[number % len(images)]
            kind = "image/png" if image[:4] == b"\x89PNG" else "image/jpeg"
            headers["Content-Type"] = kind
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


def single_ms(service: ServiceProcess, images: list[bytes]) -> tuple[float, float]:
    """Median milliseconds of one client, and of decode + bare inference, interleaved."""
    encoder = load_encoder(SHIPPED_BUNDLE)
    http_s: list[float] = []
    floor_s: list[float] = []
    with Client(service.url, key=service.key) as client:
        for number in range(SINGLE + 5):
            image = images[number % len(images)]
            began = time.perf_counter()
            client.embed([image], encoding_format="base64")
            middle = time.perf_counter()
            frame = decode(image, max_pixels=10**8).pixels_HW
            encoder.encode(preprocess(frame[None], encoder.spec))
            if number >= 5:
                http_s.append(middle - began)
                floor_s.append(time.perf_counter() - middle)
    return median_ms(http_s, 3), median_ms(floor_s, 3)


def measure(images: list[bytes], port: int, rounds: int) -> dict[str, Any]:
    """All figures, medians over the rounds."""
    spec = load_encoder(SHIPPED_BUNDLE).spec
    decoded = [decode(image, max_pixels=10**8).pixels_HW for image in images[:8]]
    inputs = np.concatenate([preprocess(frame[None], spec) for frame in decoded])
    with tempfile.TemporaryDirectory() as scratch, service_process(Path(scratch), port) as service:
        http_ms, floor_ms = single_ms(service, images)
        speeds = [
            (bare_fps(inputs, 8), bare_lanes_fps(inputs, 4), http_fps(service, images))
            for _ in range(rounds)
        ]
        screens = screen_files()
        over_floor = {
            name: statistics.median(
                http_fps(service, screens[name]) / floor_fps(screens[name], inputs[:1], SECONDS)
                for _ in range(rounds)
            )
            for name in ("640x480 png", "1920x1080 jpeg")
        }
        ready_s, rss_mb = service.ready_s, memory_mb("VmHWM", service.pid)
    costs = cpu_table(screens)
    ratio = statistics.median(http / bare for bare, _, http in speeds)
    lanes_ratio = statistics.median(http / lanes for _, lanes, http in speeds)
    return {
        "http_over_bare_ratio": round(ratio, 3),
        "http_over_bare_lanes_ratio": round(lanes_ratio, 3),
        "http_over_floor_ratio": {name: round(value, 3) for name, value in over_floor.items()},
        "frame_cpu_ms": costs,
        "around_over_encoder_ratio": {name: steps["around"] for name, steps in costs.items()},
        "heat_map_added_ms": heat_map_added_ms(),
        "http_fps": round(statistics.median(http for _, _, http in speeds), 1),
        "bare_fps": round(statistics.median(bare for bare, _, _ in speeds), 1),
        "bare_lanes_fps": round(statistics.median(lanes for _, lanes, _ in speeds), 1),
        "added_latency_ms_p50": round(http_ms - floor_ms, 2),
        "single_ms_p50": round(http_ms, 2),
        "floor_ms_p50": round(floor_ms, 2),
        "ready_s": round(ready_s, 2),
        "rss_mb": round(rss_mb),
    }


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=Path, default=SAMPLES, help="folder of images")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--port", type=int, default=18473)
    arguments = parser.parse_args()
    images = [path.read_bytes() for path in image_files(arguments.images)[:200]]
    report = measure(images, arguments.port, arguments.rounds)
    print_report(report | access_ratios(images, arguments.port + 1), arguments)


if __name__ == "__main__":
    main()
