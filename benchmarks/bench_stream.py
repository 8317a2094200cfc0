"""Live frames on this machine: rate that is held, latency, dropped frames, fairness.

A real service over TCP with the shipped encoder and a classifier of drawn frames. Frames of 640 x
480 px in moving speckle are offered at 10, 20 and 30 a second and as fast as they are answered, as
JPEG. ``ratio_to_inference`` is the rate of the last against bare forward passes of one frame,
measured in turns with it. ``beside_an_upload`` is 10 frames a second while the same workspace
uploads without a pause, and what that takes from the uploads.

About two minutes on two cores.
"""

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from harness import argument_parser, print_report
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from service.cli.demo import SAMPLES
from service.embedding.encoder import Encoder
from service.imaging.analysis.preprocess import preprocess
from service.opening.encoder_opening import open_encoder
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient
from sonoprobe_client.streams import frame_message

WIDTH, HEIGHT, FRAMES = 640, 480, 40
RATES_HZ = (10, 20, 30)
SPAN_S = 5.0
TURNS = 3  # of as-fast-as-possible and of bare inference
TURN_S = 2.0


def cine() -> list[bytes]:
    """JPEG frames of a cyst in speckle that moves."""
    still = cv2.imread(str(sorted((SAMPLES / "cyst").glob("*.png"))[0]), cv2.IMREAD_GRAYSCALE)
    larger = cv2.resize(np.asarray(still), (WIDTH, HEIGHT))
    rng = np.random.default_rng(0)
    noisy = [np.clip(larger + rng.normal(0, 4, larger.shape), 0, 255) for _ in range(FRAMES)]
    return [cv2.imencode(".jpg", frame.astype(np.uint8))[1].tobytes() for frame in noisy]


def teach(local: LocalService) -> None:
    """A classifier of three scenes."""
    with PlainClient(local.url, key=local.key, timeout_s=300) as client:
        client.create_collection("bench")
        for scene in ("cyst", "mass", "stone"):
            files = [file.read_bytes() for file in sorted((SAMPLES / scene).glob("*.png"))[:8]]
            said = [{"subject_id": f"{scene}{n}", "labels": {"t": scene}} for n in range(8)]
            client.add_scans("bench", files, said)
        client.fit({"name": "bench", "collection": "bench", "task": "t"})


@contextmanager
def opened(local: LocalService) -> Iterator[ClientConnection]:
    """A stream whose answers are small."""
    headers = {"Authorization": f"Bearer {local.key}"}
    address = local.url.replace("http", "ws") + "/v1/classifiers/bench/stream"
    with connect(address, additional_headers=headers, compression=None) as link:
        link.send(json.dumps({"type": "hello", "fields": []}))
        link.recv()
        yield link


def offered(local: LocalService, frames: list[bytes], rate_hz: float) -> dict[str, float]:
    """Send at a rate for a while; round trips by the clock of this process, milliseconds."""
    sent_s: dict[int, float] = {}
    trips_s: list[float] = []
    with opened(local) as link:

        def receive() -> None:
            try:
                while True:
                    message = json.loads(link.recv())
                    if message["type"] == "decision":
                        trips_s.append(time.monotonic() - sent_s[message["sequence"]])
            except ConnectionClosed:
                return

        reader = threading.Thread(target=receive)
        reader.start()
        began_s = time.monotonic()
        count = int(rate_hz * SPAN_S)
        for n in range(count):
            time.sleep(max(0.0, began_s + n / rate_hz - time.monotonic()))
            sent_s[n] = time.monotonic()
            link.send(frame_message(frames[n % len(frames)], n, n / rate_hz))
        spent_s = time.monotonic() - began_s
        time.sleep(1)  # for the last answer
        link.close()
        reader.join()
    trips_ms = 1000 * np.array(trips_s)
    return {
        "answered_hz": round(len(trips_s) / spent_s, 1),
        "p50_ms": round(float(np.percentile(trips_ms, 50)), 1),
        "p95_ms": round(float(np.percentile(trips_ms, 95)), 1),
        "dropped_share": round(1 - len(trips_s) / count, 3),
    }


def held_hz(link: ClientConnection, frames: list[bytes], first: int) -> tuple[float, int]:
    """Answers a second when two frames are always on their way, and the next number."""
    began_s, n, answered = time.monotonic(), first, 0
    for _ in range(2):
        link.send(frame_message(frames[n % len(frames)], n, n / 30))
        n += 1
    while time.monotonic() - began_s < TURN_S:
        link.recv()
        answered += 1
        link.send(frame_message(frames[n % len(frames)], n, n / 30))
        n += 1
    spent_s = time.monotonic() - began_s
    last = -1
    while last < n - 1:
        last = json.loads(link.recv())["sequence"]
    return answered / spent_s, n


def inference_hz(encoder: Encoder, input_1: Any) -> float:
    """Bare forward passes of one frame a second."""
    began_s, passes = time.monotonic(), 0
    while time.monotonic() - began_s < TURN_S:
        encoder.encode(input_1)
        passes += 1
    return passes / (time.monotonic() - began_s)


def in_turns(local: LocalService, encoder: Encoder, frames: list[bytes]) -> dict[str, float]:
    """The rate that is held, bare inference, and their ratio turn by turn."""
    pixels = cv2.imdecode(np.frombuffer(frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    input_1 = preprocess(np.asarray(pixels)[None], encoder.spec)
    held, bare, n = [], [], 0
    with opened(local) as link:
        for _ in range(TURNS):
            bare.append(inference_hz(encoder, input_1))
            rate, n = held_hz(link, frames, n)
            held.append(rate)
    ratios = [one / other for one, other in zip(held, bare, strict=True)]
    return {
        "held_hz": round(float(np.median(held)), 1),
        "inference_hz": round(float(np.median(bare)), 1),
        "ratio_to_inference": round(float(np.median(ratios)), 2),
    }


def beside_an_upload(local: LocalService, frames: list[bytes]) -> dict[str, Any]:
    """A stream of 10 frames a second and uploads of the same workspace, alone and together."""
    alone = uploads_hz(local, frames, lambda: time.sleep(SPAN_S))
    found: dict[str, Any] = {}
    together = uploads_hz(local, frames, lambda: found.update(offered(local, frames, 10)))
    return {**found, "uploads_ratio": round(together / alone, 2)}


def uploads_hz(local: LocalService, frames: list[bytes], meanwhile: Any) -> float:
    """Embedded images a second while something runs."""
    done, ended = [0], threading.Event()

    def upload() -> None:
        with PlainClient(local.url, key=local.key, timeout_s=300) as client:
            while not ended.is_set():
                client.embed(frames[:16])
                done[0] += 16

    thread = threading.Thread(target=upload)
    began_s = time.monotonic()
    thread.start()
    meanwhile()
    ended.set()
    thread.join()
    return done[0] / (time.monotonic() - began_s)


def main() -> None:
    """Measure, and print."""
    arguments = argument_parser(__doc__).parse_args()
    frames, encoder = cine(), open_encoder(Settings())
    report: dict[str, Any] = {"frame": f"{WIDTH} x {HEIGHT} JPEG, {len(frames[0])} bytes"}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), drain_s=0)
        with local_service(settings, encoder=encoder) as local:
            teach(local)
            report |= in_turns(local, encoder, frames)
            report |= {f"offered_{rate}": offered(local, frames, rate) for rate in RATES_HZ}
            report["beside_an_upload"] = beside_an_upload(local, frames)
    print_report(report, arguments)


if __name__ == "__main__":
    main()
