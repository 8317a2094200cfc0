"""Fit classifiers through HTTP as clients do, and what that costs the others.

Small: 5 classes x 20 stored examples, with cross-validation, calibration and sets. Large:
2 classes x 50,000 stored examples, while another client embeds. The stored vectors of the large
fit are drawn around two directions: its cost is that of the solver, not of the pictures. The peer
of the small fit is scikit-learn's logistic regression: one bare fit in memory, without choice of
C, without judgement, without HTTP or disk.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from service.catalog.records import NewScan, ScanImage
from service.cli.ingest import image_files, ingest
from service.client.client import Client
from service.server import LocalService, local_service
from service.settings import Settings
from training.simulate import write_samples

CLASSES, PER_CLASS, RUNS, PREDICTIONS = 5, 20, 25, 100
LARGE_PER_CLASS = 50_000
STORED_AT_ONCE = 5_000
PAUSE_S, ALONE_S = 0.02, 6.0
LARGE_TIMEOUT_S = 900.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--images", type=Path, help="5 folders of 20 images; else simulated")
    parser.add_argument("--runs", type=int, default=RUNS, help="small fits")
    parser.add_argument("--large", type=int, default=LARGE_PER_CLASS, help="per class; 0 = none")
    parser.add_argument("--as-other", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_other:
        be_other(*given.as_other)
        return
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data_dir=Path(scratch), drain_s=0)
        folder = given.images or simulated(Path(scratch) / "frames")
        with (
            local_service(settings) as local,
            Client(local.url, key=local.key, timeout_s=LARGE_TIMEOUT_S) as client,
        ):
            found = small(client, folder, given.runs) | predictions(client, folder)
            if given.large:
                found |= large(local, client, folder, given.large)
    for name, value in found.items():
        print(f"{name:28}{value}")
    if given.json:
        print(json.dumps(found))


def simulated(folder: Path) -> Path:
    """20 frames of each scene."""
    write_samples(folder, per_class=PER_CLASS)
    return folder


def small(client: Client, folder: Path, runs: int) -> dict[str, float]:
    """Fit the same examples again and again; the folders of the files are their classes."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())[:CLASSES]
    files = [f for name in names for f in image_files(folder / name)[:PER_CLASS]]
    labels = {hashlib.sha256(f.read_bytes()).hexdigest(): f.parent.name for f in files}
    client.create_collection("bench")
    ingest(client, "bench", files)
    scans = list(client.scans("bench"))
    if len(scans) != CLASSES * PER_CLASS:
        raise SystemExit(f"expected {CLASSES} folders of {PER_CLASS} images")
    examples = [
        {"scan_id": scan["scan_id"], "label": labels[scan["image"]["sha256"]]} for scan in scans
    ]
    images = [file.read_bytes() for file in files]
    parts = [client.embed(images[i : i + 50])["items"] for i in range(0, len(images), 50)]
    rows = np.array([item["embedding"] for part in parts for item in part])
    known = [file.parent.name for file in files]
    fits, peers = [], []
    for run in range(runs):
        body = {"name": f"fit-{run}", "collection": "bench", "examples": examples}
        fits.append(_seconds(lambda body=body: client.fit(body)))
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
        peers.append(_seconds(lambda model=model: model.fit(rows, known)))
    return {
        "fit_ms_p50": round(1000 * statistics.median(fits), 1),
        "fit_ms_max": round(1000 * max(fits), 1),
        "bare_sklearn_fit_ms_p50": round(1000 * statistics.median(peers), 1),
    }


def predictions(client: Client, folder: Path) -> dict[str, float]:
    """What predict takes beyond embed, and heat maps beyond that, by turns over one picture."""
    image = [image_files(folder)[0].read_bytes()]
    acts: dict[str, Callable[[], object]] = {
        "embed": lambda: client.embed(image),
        "predict": lambda: client.predict("fit-0", image),
        "array": lambda: client.predict("fit-0", image, heatmap="array"),
        "png": lambda: client.predict("fit-0", image, heatmap="png"),
    }
    took: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(PREDICTIONS):
        for name, act in acts.items():
            took[name].append(_seconds(act))
    medians = {name: 1000 * statistics.median(values) for name, values in took.items()}
    return {
        "predict_added_ms_p50": round(medians["predict"] - medians["embed"], 2),
        "heatmap_added_ms_p50": round(medians["png"] - medians["predict"], 2),
        "heatmap_array_added_ms_p50": round(medians["array"] - medians["predict"], 2),
    }


def large(local: LocalService, client: Client, folder: Path, per_class: int) -> dict[str, float]:
    """One large fit, and how long embedding one picture takes before and during it."""
    _store(local, per_class)
    image = image_files(folder)[0]
    with Others(local, image) as alone:
        time.sleep(ALONE_S)
    body = {"name": "large", "collection": "large", "task": "t"}
    with Others(local, image) as during:
        fit_s = _seconds(lambda: client.fit(body))
    return {
        "fit_large_s": round(fit_s, 2),
        "embed_ms_p50_alone": round(1000 * statistics.median(alone.took_s), 1),
        "embed_ms_p50_during_fit": round(1000 * statistics.median(during.took_s), 1),
        "embed_ms_p95_alone": round(1000 * float(np.percentile(alone.took_s, 95)), 1),
        "embed_ms_p95_during_fit": round(1000 * float(np.percentile(during.took_s, 95)), 1),
    }


class Others:
    """Another client, in a process of its own as clients are, that embeds one picture now and then.

    Not at once again: it stands for somebody who waits for an answer, not for a load of both cores.
    """

    def __init__(self, local: LocalService, image: Path) -> None:
        self._command = [sys.executable, __file__, "--as-other", local.url, local.key, str(image)]
        self.took_s: list[float] = []

    def __enter__(self) -> "Others":
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has connected
        return self

    def __exit__(self, *failure: object) -> None:
        said, _ = self._process.communicate("stop")
        self.took_s = json.loads(said)


def be_other(url: str, key: str, image: str) -> None:
    """Embed until something is said on the standard input; print how long each time took."""
    stopped = threading.Event()

    def wait() -> None:
        sys.stdin.read(1)
        stopped.set()

    threading.Thread(target=wait, daemon=True).start()
    data, took = [Path(image).read_bytes()], []
    with Client(url, key=key, timeout_s=LARGE_TIMEOUT_S) as client:
        for _ in range(5):
            client.embed(data)
        print("ready", flush=True)
        while not stopped.is_set():
            took.append(_seconds(lambda: client.embed(data)))
            time.sleep(PAUSE_S)
    print(json.dumps(took))


def _store(local: LocalService, per_class: int) -> None:
    """Scans around two directions, ten per subject, put into the service's own collection."""
    running = local.running()
    dim, workspace_id = running.pipeline.encoder.dim, running.default_workspace_id
    running.gallery.create(workspace_id, "large", "")
    rng = np.random.default_rng(0)
    ways_2D = rng.standard_normal((2, dim)) / np.sqrt(dim)
    for start in range(0, 2 * per_class, STORED_AT_ONCE):
        numbers = range(start, min(start + STORED_AT_ONCE, 2 * per_class))
        noise_ND = rng.standard_normal((len(numbers), dim)) / np.sqrt(dim)
        rows_ND = ways_2D[np.array(numbers) % 2] + 2 * noise_ND
        unit_ND = (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float32)
        scans = [_scan(n, row_D) for n, row_D in zip(numbers, unit_ND, strict=True)]
        running.gallery.add(workspace_id, "large", scans)


def _scan(number: int, row_D: np.ndarray) -> NewScan:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    image = ScanImage(digest, "frame", "png", 1, 1, digest)
    subject_id, labels = f"p{number // 10}", {"t": "ab"[number % 2]}
    return NewScan(None, image, row_D, b"", subject_id=subject_id, labels=labels)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
