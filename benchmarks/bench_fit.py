"""Fit 5 classes x 20 stored examples through HTTP, cross-validation included.

The peer of the same run is scikit-learn's logistic regression: one bare fit in memory, without
choice of C, without judgement, without HTTP or disk.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from service.client import Client
from service.demo import SAMPLES
from service.ingest import image_files, ingest
from service.server import local_service
from service.settings import Settings

CLASSES, PER_CLASS, RUNS = 5, 20, 25


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--images", type=Path, default=SAMPLES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data_dir=Path(scratch), drain_s=0)
        with local_service(settings) as local, Client(local.url, key=local.key) as client:
            found = measure(client, given.images)
    for name, value in found.items():
        print(f"{name:24}{value}")
    if given.json:
        print(json.dumps(found))


def measure(client: Client, folder: Path) -> dict[str, float]:
    """Fit the same examples again and again; frames are reused under turned labels if too few."""
    files = image_files(folder)
    client.create_collection("bench")
    ingest(client, "bench", files)
    ids = [scan["scan_id"] for scan in client.scans("bench")]
    rng = np.random.default_rng(0)
    count = CLASSES * PER_CLASS
    chosen = [ids[i] for i in rng.choice(len(ids), count, replace=len(ids) < count)]
    examples = [
        {"scan_id": scan_id, "label": f"class-{index % CLASSES}"}
        for index, scan_id in enumerate(chosen)
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
