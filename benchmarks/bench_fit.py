"""Fit classifiers through HTTP as clients do, and what that costs the others.

Small: 5 classes x 20 stored examples, with cross-validation, calibration and sets. Large:
2 classes x 50,000 stored examples, while another client embeds. The stored vectors of the large
fit are drawn around two directions, because its cost is that of the solver and not of the pictures.
The peer of the small fit is scikit-learn's logistic regression: one bare fit in memory, without a
choice of C, without evaluation, without HTTP and without disk.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from drawn_scans import scan_image
from harness import argument_parser, median_ms, print_report, seconds
from sklearn.linear_model import LogisticRegression

from service.arrays import unit_rows
from service.catalog.records import NewScan
from service.cli.folder_walk import image_files
from service.cli.ingesting.ingest import ingest
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import Client as TypedClient
from sonoprobe_client import PlainClient as Client
from training.catalogue.simulator import write_samples

CLASSES, PER_CLASS, RUNS, PREDICTIONS = 5, 20, 25, 100
LARGE_PER_CLASS = 50_000
STORED_AT_ONCE = 5_000
PAUSE_S, ALONE_S = 0.02, 6.0
LARGE_TIMEOUT_S = 900.0


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=Path, help="5 folders of 20 images; else simulated")
    parser.add_argument("--runs", type=int, default=RUNS, help="small fits")
    parser.add_argument("--large", type=int, default=LARGE_PER_CLASS, help="per class; 0 = none")
    parser.add_argument("--other-client", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.other_client:
        embed_until_stopped(*arguments.other_client)
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data_dir=Path(scratch), drain_s=0)
        folder = arguments.images or simulated(Path(scratch) / "frames")
        with (
            local_service(settings) as local,
            Client(local.url, key=local.key, timeout_s=LARGE_TIMEOUT_S) as client,
        ):
            report = small(local, client, folder, arguments.runs) | predictions(client, folder)
            if arguments.large:
                report |= large(local, client, folder, arguments.large)
    print_report(report, arguments)


def simulated(folder: Path) -> Path:
    """20 frames of each scene."""
    write_samples(folder, per_class=PER_CLASS)
    return folder


def small(local: LocalService, client: Client, folder: Path, runs: int) -> dict[str, float]:
    """Fit the same examples again and again; the folders of the files are their classes."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())[:CLASSES]
    files = [f for name in names for f in image_files(folder / name)[:PER_CLASS]]
    labels = {hashlib.sha256(f.read_bytes()).hexdigest(): f.parent.name for f in files}
    client.create_collection("bench")
    with TypedClient(local.url, key=local.key, retries=0) as sender:
        ingest(sender, "bench", files)
    scans = list(client.scans("bench"))
    if len(scans) != CLASSES * PER_CLASS:
        raise SystemExit(f"expected {CLASSES} folders of {PER_CLASS} images")
    examples = [
        {"scan_id": scan["scan_id"], "label": labels[scan["image"]["sha256"]]} for scan in scans
    ]
    images = [file.read_bytes() for file in files]
    pages = [client.embed(images[i : i + 50])["items"] for i in range(0, len(images), 50)]
    rows_ND = np.array([item["embedding"] for page in pages for item in page])
    classes = [file.parent.name for file in files]
    fit_s: list[float] = []
    peer_s: list[float] = []
    for run in range(runs):
        body = {"name": f"fit-{run}", "collection": "bench", "examples": examples}
        fit_s.append(seconds(partial(client.fit, body)))
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
        peer_s.append(seconds(partial(model.fit, rows_ND, classes)))
    return {
        "fit_ms_p50": median_ms(fit_s),
        "fit_ms_max": round(1000 * max(fit_s), 1),
        "bare_sklearn_fit_ms_p50": median_ms(peer_s),
    }


def predictions(client: Client, folder: Path) -> dict[str, float]:
    """What predict adds to embed, and a heat map to predict; the calls take turns on one image."""
    image = [image_files(folder)[0].read_bytes()]
    calls: dict[str, Callable[[], object]] = {
        "embed": lambda: client.embed(image),
        "predict": lambda: client.predict("fit-0", image),
        "array": lambda: client.predict("fit-0", image, heatmap="array"),
        "png": lambda: client.predict("fit-0", image, heatmap="png"),
    }
    times_s: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(PREDICTIONS):
        for name, call in calls.items():
            times_s[name].append(seconds(call))
    medians = {name: median_ms(values, 3) for name, values in times_s.items()}
    return {
        "predict_added_ms_p50": round(medians["predict"] - medians["embed"], 2),
        "heatmap_added_ms_p50": round(medians["png"] - medians["predict"], 2),
        "heatmap_array_added_ms_p50": round(medians["array"] - medians["predict"], 2),
    }


def large(local: LocalService, client: Client, folder: Path, per_class: int) -> dict[str, float]:
    """One large fit, and how long embedding one picture takes before and during it."""
    _store(local, per_class)
    image = image_files(folder)[0]
    with OtherClient(local, image) as alone:
        time.sleep(ALONE_S)
    body = {"name": "large", "collection": "large", "task": "t"}
    with OtherClient(local, image) as during:
        fit_s = seconds(lambda: client.fit(body))
    return {
        "fit_large_s": round(fit_s, 2),
        "embed_ms_p50_alone": median_ms(alone.times_s),
        "embed_ms_p50_during_fit": median_ms(during.times_s),
        "embed_ms_p95_alone": round(1000 * float(np.percentile(alone.times_s, 95)), 1),
        "embed_ms_p95_during_fit": round(1000 * float(np.percentile(during.times_s, 95)), 1),
    }


class OtherClient:
    """Another client, in a process of its own, that embeds one picture and then pauses.

    It pauses because it stands for somebody who waits for an answer, not for a load of all cores.

    Attributes:
        times_s: seconds of each call, after the block.
    """

    def __init__(self, local: LocalService, image: Path) -> None:
        self._command = [
            sys.executable,
            __file__,
            "--other-client",
            local.url,
            local.key,
            str(image),
        ]
        self.times_s: list[float] = []

    def __enter__(self) -> "OtherClient":
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has connected
        return self

    def __exit__(self, *failure: object) -> None:
        output, _ = self._process.communicate("stop")
        self.times_s = json.loads(output)


def embed_until_stopped(url: str, key: str, image: str) -> None:
    """Embed until the standard input holds something; print how long each call took."""
    stopped = threading.Event()

    def wait() -> None:
        sys.stdin.read(1)
        stopped.set()

    threading.Thread(target=wait, daemon=True).start()
    data = [Path(image).read_bytes()]
    times_s: list[float] = []
    with Client(url, key=key, timeout_s=LARGE_TIMEOUT_S) as client:
        for _ in range(5):
            client.embed(data)
        print("ready", flush=True)
        while not stopped.is_set():
            times_s.append(seconds(lambda: client.embed(data)))
            time.sleep(PAUSE_S)
    print(json.dumps(times_s))


def _store(local: LocalService, per_class: int) -> None:
    """Scans around two directions, ten per subject, put into the service's own collection."""
    services = local.running()
    dim, workspace_id = services.pipeline.encoder.dim, services.default_workspace_id
    services.gallery.create(workspace_id, "large")
    rng = np.random.default_rng(0)
    directions_2D = rng.standard_normal((2, dim)) / np.sqrt(dim)
    for start in range(0, 2 * per_class, STORED_AT_ONCE):
        numbers = range(start, min(start + STORED_AT_ONCE, 2 * per_class))
        noise_ND = rng.standard_normal((len(numbers), dim)) / np.sqrt(dim)
        rows_ND = directions_2D[np.array(numbers) % 2] + 2 * noise_ND
        unit_ND = unit_rows(rows_ND).astype(np.float32)
        scans = [_scan(n, row_D) for n, row_D in zip(numbers, unit_ND, strict=True)]
        services.gallery.store(workspace_id, "large", scans)


def _scan(number: int, row_D: np.ndarray) -> NewScan:
    subject_id, labels = f"p{number // 10}", {"t": "ab"[number % 2]}
    return NewScan(None, scan_image(number), row_D, b"", subject_id=subject_id, labels=labels)


if __name__ == "__main__":
    main()
