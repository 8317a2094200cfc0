"""Fit 5 classes x 20 stored examples through HTTP, cross-validation included.

The peer of the same run is scikit-learn's logistic regression: one bare fit in memory, without
choice of C, without judgement, without HTTP or disk.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from service.client import Client
from service.ingest import image_files, ingest
from service.server import local_service
from service.settings import Settings
from training.simulate import write_samples

CLASSES, PER_CLASS, RUNS = 5, 20, 25


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--images", type=Path, help="5 folders of 20 images; else simulated")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data_dir=Path(scratch), drain_s=0)
        with local_service(settings) as local, Client(local.url, key=local.key) as client:
            found = measure(client, given.images or simulated(Path(scratch) / "frames"))
    for name, value in found.items():
        print(f"{name:24}{value}")
    if given.json:
        print(json.dumps(found))


def simulated(folder: Path) -> Path:
    """20 frames of each scene."""
    write_samples(folder, per_class=PER_CLASS)
    return folder


def measure(client: Client, folder: Path) -> dict[str, float]:
    """Fit the same examples again and again; the folders of the files are their classes."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())[:CLASSES]
    files = [f for name in names for f in image_files(folder / name)[:PER_CLASS]]
    labels = {hashlib.sha256(f.read_bytes()).hexdigest(): f.parent.name for f in files}
    client.create_collection("bench")
    ingest(client, "bench", files)
    scans = list(client.scans("bench"))
    if len(scans) != CLASSES * PER_CLASS:
        raise SystemExit(f"expected {CLASSES} folders of {PER_CLASS} images")
    rng = np.random.default_rng(0)
    count = CLASSES * PER_CLASS
    examples = [
        {"scan_id": scan["scan_id"], "label": labels[scan["image"]["sha256"]]} for scan in scans
    ]
    images = [file.read_bytes() for file in files[:32]]
    rows = np.array([item["embedding"] for item in client.embed(images)["items"]])
    rows = rows[rng.integers(0, len(rows), count)] + 0.01 * rng.normal(size=(count, rows.shape[1]))
    fits, peers = [], []
    for run in range(RUNS):
        began = time.perf_counter()
        body = {"name": f"fit-{run}", "collection": "bench", "examples": examples}
        client.fit(body)
        middle = time.perf_counter()
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
        model.fit(rows, [example["label"] for example in examples])
        fits.append(middle - began)
        peers.append(time.perf_counter() - middle)
    return {
        "fit_ms_p50": round(1000 * statistics.median(fits), 1),
        "fit_ms_max": round(1000 * max(fits), 1),
        "bare_sklearn_fit_ms_p50": round(1000 * statistics.median(peers), 1),
    }


if __name__ == "__main__":
    main()
