"""DICOM with several 2D regions: one scan, an embedding for each region."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from sonoprobe_client import PlainClient as Client
from tests.imaging import dicom_files as made
from tests.imaging.screens import say
from tests.service.expected import probabilities
from tests.service.test_frame_search import PIXELS, embedded, png

LEFT, RIGHT = (20, 30, 180, 174), (220, 30, 380, 174)  # 160 x 144, as the frames are
SIDES = PIXELS["cyst"][0], PIXELS["b_lines"][1]


def two_regions() -> list[Dataset]:
    """The left one is told to be 0.1 mm a pixel, the right one 0.3 down and 0.2 across."""
    items = []
    for (x0, y0, x1, y1), (across, down) in ((LEFT, (0.01, 0.01)), (RIGHT, (0.02, 0.03))):
        item = Dataset()
        item.RegionSpatialFormat, item.RegionDataType = 1, 1
        item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1 - 1, y1 - 1
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX, item.PhysicalDeltaY = across, down
        items.append(item)
    return items


def dual(pairs: list[tuple[np.ndarray, np.ndarray]], *, name: bool = True) -> bytes:
    """Two scans beside each other under a banner, a frame for each pair."""
    frames = np.zeros((len(pairs), 200, 400), np.uint8)
    for frame, pair in zip(frames, pairs, strict=True):
        if name:
            say(frame, "DOE, JANE", 20, 18, size=0.5)
        for side, (x0, y0, x1, y1) in zip(pair, (LEFT, RIGHT), strict=True):
            frame[y0:y1, x0:x1] = side
    return made.dicom(
        frames,
        SequenceOfUltrasoundRegions=two_regions(),
        Manufacturer="ACME",
        ManufacturerModelName="Echo 9",
        TransducerData="C5-1",
        DepthOfScanField=120,
    )


STILL = dual([SIDES])


def cosine(one: Any, other: Any) -> float:
    return float(np.dot(one, other))


def test_each_region_is_embedded_and_the_file_is_their_unit_mean(client: Client) -> None:
    item = embedded(client, STILL, pool="none")
    image, told = item["image"], item["frames"]
    assert (image["kind"], image["frames"], image["frames_used"]) == ("frame", 1, 1)
    assert [region["found"] for region in image["regions"]] == ["declared"] * 2
    assert image["regions_used"] == 2
    assert [(frame["index"], frame["region"]) for frame in told] == [(0, 0), (0, 1)]
    for frame, region in zip(told, image["regions"], strict=True):
        box = ",".join(map(str, region["box"]))
        alone = embedded(client, STILL, region=box)
        assert cosine(frame["embedding"], alone["embedding"]) > 0.98
    mean_D = np.array([frame["embedding"] for frame in told]).mean(0)
    np.testing.assert_allclose(item["embedding"], mean_D / np.linalg.norm(mean_D), atol=1e-6)


def test_each_region_keeps_its_own_spacing_and_the_device_is_told(client: Client) -> None:
    image = embedded(client, STILL)["image"]
    spacing = {region["box"][0] < 200: region["spacing_mm"] for region in image["regions"]}
    assert spacing[True] == pytest.approx([0.1, 0.1])
    assert spacing[False] == pytest.approx([0.3, 0.2])
    assert image["device"] == {
        "manufacturer": "ACME",
        "model": "Echo 9",
        "transducer": "C5-1",
        "depth_mm": 120,
    }
    assert embedded(client, png(SIDES[0]))["image"]["device"] is None


def test_a_stored_dual_screen_is_found_by_either_side(client: Client, collection: str) -> None:
    stored = client.add_scans(collection, [STILL], [{"scan_id": "dual"}])["items"][0]["scan"]
    others = [png(pixels) for pixels in PIXELS["stone"][:3]]
    client.add_scans(collection, others)
    assert client.scan(collection, "dual")["image"] == stored["image"]
    found = {}
    for side in SIDES:
        options = {"k": 1, "match": "frame", "region": "none"}
        (hit,) = client.search_image(collection, png(side), options)["items"]
        assert hit["scan"]["scan_id"] == "dual"
        assert hit["score"] == hit["frame"]["score"] > 0.9
        found[hit["frame"]["region"]] = hit["frame"]
    assert sorted(found) == [0, 1]
    assert {frame["index"] for frame in found.values()} == {0}


def test_a_dual_cine_names_frame_and_region_and_exact_copies_are_one_scan(
    client: Client, collection: str
) -> None:
    pairs = [(PIXELS["cyst"][i], PIXELS["b_lines"][i]) for i in range(3)]
    clip = dual(pairs)
    items = client.add_scans(collection, [clip, dual(pairs, name=False)], frames="all")["items"]
    assert [item["created"] for item in items] == [True, False]
    assert items[0]["scan"]["image"]["frames_used"] == 3
    whole = embedded(client, clip, frames="all", pool="none")["frames"]
    assert [(f["index"], f["region"]) for f in whole] == [(i, r) for i in range(3) for r in (0, 1)]
    for frame in whole:
        body = {"vector": frame["embedding"], "k": 1, "match": "frame"}
        (hit,) = client.search(collection, body)["items"]
        assert (hit["frame"]["index"], hit["frame"]["region"]) == (frame["index"], frame["region"])


def test_a_classifier_tells_each_region_of_a_dual_screen(client: Client, collection: str) -> None:
    scenes = ("cyst", "b_lines")
    files = [png(pixels) for scene in scenes for pixels in PIXELS[scene][2:6]]
    said = [{"labels": {"scene": scene}} for scene in scenes for _ in range(4)]
    client.add_scans(collection, files, said)
    client.fit({"name": "sides", "collection": collection, "task": "scene"})
    answer = client.predict("sides", [STILL])
    told = answer["items"][0]["frames"]
    assert [(frame["index"], frame["region"]) for frame in told] == [(0, 0), (0, 1)]
    boxes = answer["items"][0]["image"]["regions"]
    for frame, region in zip(told, boxes, strict=True):
        scene = "cyst" if region["box"][0] < 200 else "b_lines"
        shares = probabilities(frame)
        assert max(shares, key=shares.get) == scene
    client.delete_classifier("sides")
