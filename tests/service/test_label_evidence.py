"""Heat maps, cines and thresholds of multi-label classifiers, label by label, through HTTP."""

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import probabilities, refused

THERE = {"cyst": ["fluid"], "stone": ["shadow"], "mass": ["fluid", "shadow"], "tissue": []}


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """A classifier ``signs`` of two labels, of which ``fluid`` is present from 0.4 on."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("signs")
        images, said, named = [], [], []
        for scene, labels in THERE.items():
            for i in range(6):
                images.append(frames[scene][i])
                said.append({"scan_id": f"{scene}-{i}", "subject_id": f"p-{scene}-{i}"})
                named.append({"scan_id": f"{scene}-{i}", "labels": labels})
        client.add_scans("signs", images, said)
        body = {"name": "signs", "kind": "multi_label", "collection": "signs", "examples": named}
        client.fit(body | {"thresholds": {"fluid": 0.4}})
        yield client


def sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def test_the_map_of_each_label_adds_up_to_its_probability(ward, frames) -> None:
    (item,) = ward.predict("signs", [frames["mass"][8]], heatmap="array")["items"]
    heatmap = item["heatmap"]
    assert [output["label"] for output in heatmap["outputs"]] == ["fluid", "shadow"]
    for output in heatmap["outputs"]:
        assert np.shape(output["map"]) == (heatmap["rows"], heatmap["columns"])
        assert np.mean(output["map"]) == pytest.approx(output["image_logit"], abs=1e-9)
        logit = (output["image_logit"] + output["bias"]) / output["temperature"]
        assert sigmoid(logit) == pytest.approx(probabilities(item)[output["label"]], abs=1e-5)


def test_the_picture_shows_the_label_that_was_asked_for_or_the_most_probable(ward, frames) -> None:
    (item,) = ward.predict("signs", [frames["stone"][8]], heatmap="png")["items"]
    likely = max(probabilities(item), key=probabilities(item).__getitem__)
    assert item["heatmap"]["label"] == item["most_probable"] == likely
    assert item["heatmap"]["outputs"][0]["map"] is None
    pictures = []
    for label in ("fluid", "shadow"):
        asked = ward.predict("signs", [frames["stone"][8]], heatmap="png", heatmap_label=label)
        png = base64.b64decode(asked["items"][0]["heatmap"]["png"])
        pictures.append(np.asarray(Image.open(io.BytesIO(png))))
    assert (pictures[0] != pictures[1]).any()
    with refused("invalid_input", 422):
        ward.predict("signs", frames["stone"][:1], heatmap="png", heatmap_label="air")


def test_thresholds_of_the_request_go_before_those_of_the_version(ward) -> None:
    asked = {"fluid": 0.4, "shadow": 0.999}
    answer = ward.predict_scans("signs", "signs", ["mass-0"], thresholds={"shadow": 0.999})
    said = {output["label"]: output for output in answer["items"][0]["outputs"]}
    assert {name: one["threshold"] for name, one in said.items()} == asked
    assert {name: one["set_by"] for name, one in said.items()} == {
        "fluid": "version",
        "shadow": "request",
    }
    for wrong in ({"air": 0.5}, {"fluid": 0.0}, {"fluid": 1.0}):
        with refused("invalid_input", 422):
            ward.predict_scans("signs", "signs", ["mass-0"], thresholds=wrong)


def test_a_cine_is_answered_as_one_and_tells_the_key_frames_of_each_label(ward, frames) -> None:
    images = [
        frames["cyst"][8],
        frames["mass"][8],
        frames["stone"][8],
        b"GIF89a",
        frames["cyst"][9],
    ]
    answer = ward.predict("signs", images, cine=True, heatmap="array")
    cine, heatmap = answer["cine"], answer["items"][0]["heatmap"]
    assert cine["left_out"] == [3]
    assert [frame["index"] for frame in cine["frames"]] == [0, 1, 2, 4]
    for frame in cine["frames"]:
        alone = probabilities(answer["items"][frame["index"]])
        assert probabilities(frame) == pytest.approx(alone, abs=1e-5)
    for place, label in enumerate(("fluid", "shadow")):
        output = heatmap["outputs"][place]
        terms = [frame["outputs"][place]["image_logit"] for frame in cine["frames"]]
        logit = (np.mean(terms) + output["bias"]) / output["temperature"]
        assert sigmoid(logit) == pytest.approx(probabilities(cine)[label], abs=1e-5)
        strongest = cine["frames"][int(np.argmax(terms))]["index"]
        key_frames = cine["key_frames"][place]
        assert key_frames["label"] == label
        assert key_frames["frames"][:1] == ([strongest] if max(terms) > 0 else [])
    assert ward.predict("signs", images[:1])["cine"] is None
    with refused("invalid_input", 422):
        ward.predict("signs", [b"GIF89a"] * 2, cine=True)


def test_a_clip_tells_of_its_frames(ward, frames) -> None:
    stills = [Image.open(io.BytesIO(frames[s][9])).convert("L") for s in ("cyst", "stone", "mass")]
    stills = [still.resize(stills[0].size) for still in stills]
    clip = io.BytesIO()
    stills[0].save(clip, "GIF", save_all=True, append_images=stills[1:], duration=100, loop=0)
    (item,) = ward.predict("signs", [clip.getvalue()])["items"]
    assert item["no_heatmap_because"] is None
    (item,) = ward.predict("signs", [clip.getvalue()], heatmap="png")["items"]
    assert "mean of several pictures" in item["no_heatmap_because"]
    assert [frame["index"] for frame in item["frames"]] == [0, 1, 2]
    assert [each["label"] for each in item["key_frames"]] == ["fluid", "shadow"]
    assert item["heatmap"] is None
