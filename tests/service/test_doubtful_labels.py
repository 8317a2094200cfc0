"""Doubts of labels are as calibrated as the probabilities of answers."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from service.catalog.records import NewScan, ScanImage
from service.server import LocalService
from sonoprobe_client import PlainClient as Client

WRONG = "a-9"


@pytest.fixture(scope="module")
def few(tiny: LocalService) -> Iterator[Client]:
    """A version of ten patients of either class, one of whom is labelled wrongly."""
    running, rng = tiny.running(), np.random.default_rng(0)
    mean_D, *ways_2D = rng.standard_normal((3, running.pipeline.encoder.dim))
    scans, said = [], []
    for way_D, label in zip(ways_2D, "ab", strict=True):
        for i in range(10):
            scan_id = f"{label}-{i}"
            # As of real frames, most of an embedding is what all frames share.
            row_D = 6 * mean_D + way_D + 0.7 * rng.standard_normal(way_D.shape)
            digest = hashlib.sha256(scan_id.encode()).hexdigest()
            image = ScanImage(digest, "frame", "png", 1, 1, digest)
            unit_D = (row_D / np.linalg.norm(row_D)).astype(np.float32)
            scans.append(NewScan(scan_id, image, unit_D, b"", subject_id=scan_id))
            said.append({"scan_id": scan_id, "label": "b" if scan_id == WRONG else label})
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("few")
        running.gallery.store(running.default_workspace_id, "few", scans)
        client.fit({"name": "few", "collection": "few", "examples": said})
        yield client


def test_a_wrong_label_among_few_examples_is_doubted(few) -> None:
    found = few.review("few", "suspect")["items"]
    assert [item["example"]["scan_id"] for item in found] == [WRONG]
    probabilities = found[0]["probabilities"]
    assert probabilities["b"] < 0.2 < 0.8 < probabilities["a"]


def test_the_map_doubts_an_example_as_the_review_does(few) -> None:
    item = few.review("few", "suspect")["items"][0]
    found = few.map("few", classifier="few")
    doubt = found["doubts"][found["scan_ids"].index(WRONG)]
    assert doubt == pytest.approx(1 - item["probabilities"]["b"], abs=1e-3)
