"""Heat maps, thresholds, cines, confusion and forecast, through HTTP."""

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.classifiers.prediction import PredictionQuery, PredictionRequest, QueryFrame, predict
from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import calls, probabilities, refused

SCENES = ("cyst", "stone")


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """A collection ``ward`` of cyst-0..9 and stone-0..9, each of its own subject, labelled."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward")
        for scene in SCENES:
            said = [
                {"scan_id": f"{scene}-{i}", "subject_id": f"{scene}-{i}", "labels": {"t": scene}}
                for i in range(10)
            ]
            client.add_scans("ward", frames[scene][:10], said)
        yield client


def shares_of(heatmap: dict) -> dict[str, float]:
    """What the maps say the probabilities are."""
    outputs = heatmap["outputs"]
    means = [(np.mean(o["map"]) + o["bias"]) / o["temperature"] for o in outputs]
    powers = np.exp(means)
    labels = [output["label"] for output in outputs]
    return dict(zip(labels, powers / powers.sum(), strict=True))


def check_maps(client: Client, name: str, image: bytes, shape: tuple[int, int]) -> None:
    (item,) = client.predict(name, [image], heatmap="array")["items"]
    heatmap = item["heatmap"]
    assert heatmap["png"] is None
    assert (heatmap["rows"], heatmap["columns"]) == shape
    for output in heatmap["outputs"]:
        assert np.shape(output["map"]) == shape
        assert np.mean(output["map"]) == pytest.approx(output["image_logit"], abs=1e-9)
    assert shares_of(heatmap) == pytest.approx(probabilities(item), abs=1e-5)


def test_a_heat_map_adds_up_to_the_answer_with_the_shipped_encoder(client, frames) -> None:
    images = frames["cyst"][:5] + frames["stone"][:5]
    said = [{"label": s} for s in SCENES for _ in range(5)]
    client.fit_images("maps", images, said, fields={"views": False})
    for image in (frames["cyst"][7], frames["mass"][0]):
        check_maps(client, "maps", image, read_manifest(SHIPPED_BUNDLE).feature_map[1:])
    client.delete_classifier("maps")


def test_a_heat_map_adds_up_with_a_bundle_that_cannot_leave_maps_out(ward, name, frames) -> None:
    check_maps(ward, name, frames["mass"][0], (2, 2))
    assert ward.predict(name, frames["mass"][:1])["items"][0]["heatmap"] is None


def picture_of(heatmap: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(heatmap["png"])))


def test_a_heat_map_as_a_picture_fits_over_the_frame(ward, name, frames) -> None:
    options = {"heatmap": "png", "heatmap_label": "stone", "region": "20,10,100,90"}
    (item,) = ward.predict(name, frames["mass"][:1], **options)["items"]
    heatmap = item["heatmap"]
    assert (heatmap["label"], heatmap["outputs"][0]["map"]) == ("stone", None)
    assert heatmap["box"] == item["image"]["regions"][0]["box"] == [20, 10, 100, 90]
    shown = picture_of(heatmap)
    assert (shown.mode, shown.size) == ("RGBA", Image.open(io.BytesIO(frames["mass"][0])).size)
    left, top, right, bottom = shown.getchannel("A").getbbox()
    assert (left, top) >= (20, 10)
    assert (right, bottom) <= (100, 90)


def test_a_stored_scan_has_the_heat_map_of_its_upload_if_its_image_is_kept(
    ward, name, frames
) -> None:
    image = frames["mass"][4]
    (sent,) = ward.predict(name, [image], heatmap="array")["items"]
    for keeps in (True, False):
        ward.create_collection("kept", keep_images=keeps)
        (scan,) = ward.add_scans("kept", [image])["items"]
        ids = [scan["scan"]["scan_id"]]
        (item,) = ward.predict_scans(name, "kept", ids, heatmap="array")["items"]
        ward.delete_collection("kept")
        if not keeps:
            assert item["heatmap"] is None
            assert "not kept" in item["no_heatmap_because"]
            continue
        assert item["no_heatmap_because"] is None
        assert item["heatmap"]["box"] == sent["heatmap"]["box"]
        for stored, upload in zip(
            item["heatmap"]["outputs"], sent["heatmap"]["outputs"], strict=True
        ):
            np.testing.assert_allclose(stored["map"], upload["map"], atol=1e-6)
        assert shares_of(item["heatmap"]) == pytest.approx(probabilities(item), abs=1e-5)


def test_a_blank_frame_is_never_called(ward, name) -> None:
    buffer = io.BytesIO()
    Image.new("L", (200, 150), 3).save(buffer, "PNG")
    (item,) = ward.predict(name, [buffer.getvalue()])["items"]
    assert [finding["reason"] for finding in item["image"]["quality"]] == ["blank"]
    assert (item["decision"], item["label"]) == ("abstained", None)
    assert item["abstained"] == {"because": "blank", "between": None}
    ward.create_collection("blanks")
    (scan,) = ward.add_scans("blanks", [buffer.getvalue()])["items"]
    (stored,) = ward.predict_scans(name, "blanks", [scan["scan"]["scan_id"]])["items"]
    ward.delete_collection("blanks")
    assert stored["abstained"] == item["abstained"]


def test_a_cine_is_blank_only_if_all_its_frames_are(ward, name, frames) -> None:
    blanks = []
    for level in (0, 2):
        buffer = io.BytesIO()
        Image.new("L", (200, 150), level).save(buffer, "PNG")
        blanks.append(buffer.getvalue())
    whole = ward.predict(name, blanks, cine=True)["cine"]
    assert whole["abstained"]["because"] == "blank"
    mixed = ward.predict(name, [*blanks, frames["cyst"][0]], cine=True)["cine"]
    assert (mixed["abstained"] or {"because": None})["because"] != "blank"


def test_a_frozen_clip_is_never_called(ward, name, frames) -> None:
    still = Image.open(io.BytesIO(frames["cyst"][0])).convert("L")
    buffer = io.BytesIO()
    still.save(buffer, "TIFF", save_all=True, append_images=[still] * 8)
    (item,) = ward.predict(name, [buffer.getvalue()])["items"]
    assert "frozen" in [finding["reason"] for finding in item["image"]["quality"]]
    assert item["abstained"] == {"because": "frozen", "between": None}


def test_heat_maps_that_cannot_be_are_refused(ward, name, frames) -> None:
    with refused("invalid_input", 422):
        ward.predict(name, frames["mass"][:1], heatmap="png", heatmap_label="mass")
    with refused("validation_error", 422):
        ward.predict(name, frames["mass"][:1], heatmap="mesh")


def test_thresholds_are_a_version_of_the_same_head_that_can_be_rolled_back(ward, name) -> None:
    before = ward.predict_scans(name, "ward", ["cyst-0", "stone-0"])
    for item in before["items"]:
        assert {(t, set_by) for t, _, set_by in calls(item).values()} == {(None, "default")}
    wishes = [{"label": "cyst", "sensitivity": 0.9}, {"label": "stone", "threshold": 0.25}]
    made = ward.set_thresholds(name, {"thresholds": wishes, "publish": True})
    assert (made["version"], made["published"], made["examples"]) == (2, True, 20)
    assert made["settings"]["base_version"] == 1
    assert made["created_by"]["name"] == "local"
    cyst, stone = made["settings"]["operating_points"]
    assert cyst["chosen_by"] == {"sensitivity": 0.9}
    assert cyst["sensitivity"]["value"] >= 0.9
    assert cyst["sensitivity"]["low"] <= cyst["sensitivity"]["value"]
    assert 0 <= cyst["cross_fitted"]["sensitivity"]["value"] <= 1
    assert (stone["threshold"], stone["cross_fitted"]) == (0.25, None)
    after = ward.predict_scans(name, "ward", ["cyst-0", "stone-0"])
    for old, new in zip(before["items"], after["items"], strict=True):
        assert probabilities(new) == probabilities(old)
        limits = {label: threshold for label, (threshold, _, _) in calls(new).items()}
        assert limits == {"cyst": cyst["threshold"], "stone": 0.25}
        for output in new["outputs"]:
            above = output["probability"] >= output["threshold"]
            assert output["called"] == (None if new["abstained"] else above)
            assert output["set_by"] == "version"
    ward.publish(name, 1)
    (item,) = ward.predict_scans(name, "ward", ["cyst-0"])["items"]
    assert item["outputs"] == before["items"][0]["outputs"]


def test_a_threshold_of_the_request_counts_more_than_that_of_the_version(ward, name) -> None:
    wishes = [{"label": label, "threshold": 0.0} for label in SCENES]
    ward.set_thresholds(name, {"thresholds": wishes, "publish": True})
    (item,) = ward.predict_scans(name, "ward", ["cyst-0"], thresholds={"stone": 1.0})["items"]
    is_open = item["abstained"] is not None
    assert calls(item) == {
        "cyst": (0.0, None if is_open else True, "version"),
        "stone": (1.0, None if is_open else False, "request"),
    }
    assert item["label"] == (None if is_open else "cyst")


def test_a_new_fit_says_that_it_has_left_the_thresholds_behind(ward, name) -> None:
    ward.set_thresholds(name, {"thresholds": [{"label": "cyst", "threshold": 0.4}]})
    drop = {"drop": [{"collection": "ward", "scan_id": "stone-9"}]}
    settings = ward.change_examples(name, drop, version=2)["settings"]
    assert "operating_points" not in settings
    assert settings["thresholds_dropped"] == 1


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ([{"label": "mass", "threshold": 0.5}], "invalid_input"),
        ([{"label": "cyst", "threshold": 0.5}] * 2, "invalid_input"),
        ([{"label": "cyst", "threshold": 1.5}], "validation_error"),
        ([{"label": "cyst", "sensitivity": 0}], "validation_error"),
        ([{"label": "cyst"}], "validation_error"),
        ([{"label": "cyst", "sensitivity": 0.9, "threshold": 0.5}], "validation_error"),
    ],
)
def test_wrong_thresholds_store_no_version(ward, name, wishes, code: str) -> None:
    with refused(code, 422):
        ward.set_thresholds(name, {"thresholds": wishes})
    assert ward.classifier(name)["latest_version"] == 1


@pytest.mark.parametrize("pair", ["cyst", "cyst:", ":0.5", "cyst:nan", "cyst:2", "mass:0.5"])
def test_wrong_thresholds_of_a_request_are_refused(ward, name, pair: str) -> None:
    body = {"collection": "ward", "scan_ids": ["cyst-0"]}
    path = f"/v1/classifiers/{name}/predict"
    with refused("invalid_input", 422):
        ward.request("POST", path, json=body, params={"threshold": pair})


def test_thresholds_act_on_the_version_that_the_caller_saw(ward, name) -> None:
    seen = ward.classifier(name)["etag"]
    wishes = {"thresholds": [{"label": "cyst", "threshold": 0.4}]}
    first = ward.set_thresholds(name, wishes, if_match=seen, idempotency_key=name)
    assert ward.set_thresholds(name, wishes, if_match=seen, idempotency_key=name) == first
    with refused("precondition_failed", 412):
        ward.set_thresholds(name, wishes, if_match=seen)


def test_an_operating_point_that_was_found_is_what_its_threshold_gives(ward, name) -> None:
    for target, wanted in (("sensitivity", 0.8), ("specificity", 0.9)):
        (point,) = ward.thresholds(name, labels=["cyst"], **{target: wanted})["items"]
        assert point[target]["value"] >= wanted
        (again,) = ward.thresholds(name, labels=["cyst"], threshold=point["threshold"])["items"]
        assert (again["sensitivity"], again["specificity"]) == (
            point["sensitivity"],
            point["specificity"],
        )
    every = ward.thresholds(name, threshold=0.5)["items"]
    assert [point["label"] for point in every] == list(SCENES)
    with refused("invalid_input", 422):
        ward.thresholds(name, sensitivity=0.9, specificity=0.9)
    with refused("invalid_input", 422):
        ward.thresholds(name, labels=["mass"], sensitivity=0.9)


def test_an_import_takes_values_and_no_targets_for_it_has_no_examples(ward, name) -> None:
    ward.import_classifier("copy", ward.export(name))
    with refused("not_enough_examples", 422):
        ward.set_thresholds("copy", {"thresholds": [{"label": "cyst", "sensitivity": 0.9}]})
    wishes = [{"label": "cyst", "threshold": 0.4}]
    (kept,) = ward.set_thresholds("copy", {"thresholds": wishes})["settings"]["operating_points"]
    assert (kept["threshold"], kept["sensitivity"]) == (0.4, None)
    assert "no examples" in kept["not_evaluated_because"]
    ward.delete_classifier("copy")


def test_the_cells_of_the_confusion_name_their_examples(ward, name) -> None:
    counts = ward.classifier(name)["report"]["labels"][0]["confusion"]
    found = ward.confusion(name, 1)
    assert found["scored"] == 20
    seen = {(c["actual"], c["predicted"]): c for c in found["items"]}
    for i, label in enumerate(SCENES):
        for j, predicted in enumerate(SCENES):
            cell = seen.get((label, predicted), {"count": 0, "examples": []})
            assert cell["count"] == counts[i][j] == len(cell["examples"])
            assert all(e["scan_id"].startswith(label) for e in cell["examples"])
    (cell,) = ward.confusion(name, 1, actual="cyst", predicted="cyst", limit=1)["items"]
    (example,) = cell["examples"]
    assert ward.request("GET", example["thumbnail"]).content[:2] == b"\xff\xd8"
    with refused("unknown_item", 404):
        ward.confusion(name, 2)


def test_erased_examples_are_in_no_cell_and_the_scores_of_the_others_stay(ward, frames) -> None:
    ward.create_collection("brief")
    said = [
        {"scan_id": f"b{i}", "subject_id": f"brief-{i}", "labels": {"t": "tm"[i // 6]}}
        for i in range(12)
    ]
    ward.add_scans("brief", frames["tissue"][:6] + frames["mass"][:6], said)
    ward.fit({"name": "brief", "collection": "brief", "task": "t"})

    def cells() -> dict[str, str]:
        found = ward.confusion("brief", 1)["items"]
        return {e["scan_id"]: cell["predicted"] for cell in found for e in cell["examples"]}

    before, report = cells(), ward.version("brief", 1)["report"]
    for i in range(6):
        ward.erase_subject(f"brief-{i}")
    assert cells() == {scan_id: before[scan_id] for scan_id in (f"b{i}" for i in range(6, 12))}
    assert ward.confusion("brief", 1)["scored"] == 6
    assert ward.version("brief", 1)["report"] == report
    ward.delete_collection("brief")
    with refused("not_enough_examples", 422):
        ward.confusion("brief", 1)
    assert ward.forecast("brief", 1)["items"][0]["missing_groups"] == {"m": 2, "t": 2}
    ward.delete_classifier("brief")


def test_a_forecast_says_of_which_class_more_examples_would_help(ward, name) -> None:
    (found,) = ward.forecast(name, 1)["items"]
    assert found["gain"] == pytest.approx(found["with_more"] - found["now"], abs=2e-4)
    assert found["gain_per_class"].keys() == set(SCENES)
    gains = {label: one["gain"] for label, one in found["gain_per_class"].items()}
    best = found["most_useful_class"]
    assert best is None if max(gains.values()) <= 0 else gains[best] == max(gains.values())
    drop = [{"collection": "ward", "scan_id": f"stone-{i}"} for i in range(3)]
    ward.change_examples(name, {"drop": drop})
    (later,) = ward.forecast(name, 2)["items"]
    assert later["missing_groups"] == {"stone": 1}
    assert later["not_forecast_because"]


def test_a_cine_is_answered_as_one_and_tells_its_key_frames(ward, name, frames) -> None:
    images = [*frames["cyst"][:3], b"GIF89a", frames["stone"][0]]
    answer = ward.predict(name, images, cine=True, heatmap="array")
    cine = answer["cine"]
    assert cine["left_out"] == [3]
    assert [f["index"] for f in cine["frames"]] == [0, 1, 2, 4]
    for frame in cine["frames"]:
        alone = probabilities(answer["items"][frame["index"]])
        assert probabilities(frame) == pytest.approx(alone, abs=1e-6)
    parts = answer["items"][0]["heatmap"]["outputs"]
    logits = [
        (np.mean([f["outputs"][c]["image_logit"] for f in cine["frames"]]) + part["bias"])
        / part["temperature"]
        for c, part in enumerate(parts)
    ]
    powers = np.exp(logits)
    shares = dict(zip(SCENES, powers / powers.sum(), strict=True))
    assert probabilities(cine) == pytest.approx(shares, abs=1e-5)
    for c, key_frames in enumerate(cine["key_frames"]):
        contributions = {f["index"]: f["outputs"][c]["contribution"] for f in cine["frames"]}
        assert key_frames["label"] == SCENES[c]
        strongest = max(contributions, key=contributions.__getitem__)
        assert key_frames["frames"][:1] == ([strongest] if max(contributions.values()) > 0 else [])
    first = cine["frames"][0]["outputs"]
    difference = first[0]["image_logit"] - first[1]["image_logit"]  # of two classes
    assert first[0]["contribution"] == pytest.approx(difference, abs=1e-9)
    assert ward.predict(name, images[:1])["cine"] is None


def test_a_cine_of_one_frame_says_what_the_frame_says(ward, name) -> None:
    answer = ward.predict_scans(name, "ward", ["stone-3"], cine=True)
    (item,) = answer["items"]
    assert probabilities(answer["cine"]) == pytest.approx(probabilities(item), abs=1e-6)
    assert all(each["frames"] in ([0], []) for each in answer["cine"]["key_frames"])
    with refused("invalid_input", 422):
        ward.predict(name, [b"GIF89a", b"GIF89a"], cine=True)


def test_a_clip_is_one_item_that_tells_what_each_of_its_frames_gave(
    tiny, ward, name, frames
) -> None:
    running = tiny.running()
    loaded = running.classifiers.open(running.default_workspace_id, name)
    sent = ward.embed([frames["cyst"][0], frames["stone"][0]])["items"]
    first, second = (np.array(item["embedding"], np.float32) for item in sent)
    pooled = (3 * first + second) / np.linalg.norm(3 * first + second)
    frames_of_clip = (QueryFrame(4, first, 3), QueryFrame(9, second))
    clip = PredictionQuery(pooled.astype(np.float32), frames_of_clip)
    (item,) = predict(loaded, [clip], PredictionRequest(0.9, 1)).items
    assert [(f.index, f.copies) for f in item.frames] == [(4, 3), (9, 1)]
    head = loaded.model.heads[None].head
    for c, logit in enumerate(head.logits(pooled[None])[0] - head.bias_C):
        terms = [frame.outputs[c].image_logit for frame in item.frames]
        assert (3 * terms[0] + terms[1]) / 4 == pytest.approx(logit, abs=1e-5)
        assert set(item.key_frames[c].frames) <= {4, 9}
    assert item.no_heatmap_because is None
    (item,) = predict(loaded, [clip], PredictionRequest(0.9, 1, "png")).items
    assert item.heatmap is None
    assert "mean of several pictures" in item.no_heatmap_because
