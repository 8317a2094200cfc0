"""Multi-label classifiers through HTTP: fit, change, predict, judge, carry away."""

import hashlib
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest

from service.catalog.records import NewScan, ScanImage
from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import calls, probabilities, refused

THERE = {"cyst": ["fluid"], "stone": ["shadow"], "mass": ["fluid", "shadow"], "tissue": []}


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """A collection with six scans of each of four scenes, two tasks each, and a classifier."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward")
        for scene, labels in THERE.items():
            said = [
                {
                    "scan_id": f"{scene}-{i}",
                    "subject_id": f"p-{scene}-{i}",
                    "labels": {n: "yes" if n in labels else "no" for n in ("fluid", "shadow")},
                }
                for i in range(6)
            ]
            client.add_scans("ward", frames[scene][:6], said)
        client.fit(
            {
                "name": "both",
                "kind": "multi_label",
                "collection": "ward",
                "tasks": {"fluid": "yes", "shadow": "yes"},
                "thresholds": {"fluid": 0.4},
            }
        )
        yield client


def test_a_fit_from_tasks_tells_of_each_label(ward) -> None:
    found = ward.classifier("both")
    assert (found["kind"], found["classes"]) == ("multi_label", ["fluid", "shadow"])
    report = found["report"]
    fluid = report["labels"][0]
    assert fluid["examples_per_class"] == {"absent": 12, "present": 12}
    assert (fluid["label"], fluid["thresholds"][0]["threshold"]) == ("fluid", 0.4)
    assert report["examples_without_label"] == 6
    assert report["effective_examples"] == 24
    assert found["calibrated"] is True
    by_scan = {e["scan_id"]: e for e in ward.version_examples("both", 1)}
    assert by_scan["mass-0"]["labels"] == ["fluid", "shadow"]
    assert by_scan["tissue-0"]["labels"] == []
    assert by_scan["cyst-0"]["label"] is None


def test_predictions_are_independent_with_thresholds_sets_and_evidence(ward, frames) -> None:
    answer = ward.predict("both", [frames["mass"][7]], coverage=0.8, nearest=1)
    (item,) = answer["items"]
    assert answer["kind"] == "multi_label"
    assert {o["label"]: (o["threshold"], o["set_by"]) for o in item["outputs"]} == {
        "fluid": (0.4, "version"),
        "shadow": (0.5, "default"),
    }
    for output in item["outputs"]:
        is_open = item["abstained"] or output["abstained_because"]
        above = output["probability"] >= output["threshold"]
        assert output["called"] == (None if is_open else above)
        assert set(output["prediction_set"]) <= {"absent", "present"}
    can_be = [o["label"] for o in item["outputs"] if "present" in o["prediction_set"]]
    assert (item["label"], item["prediction_set"]) == (None, can_be)
    assert item["most_probable"] == max(item["outputs"], key=lambda o: o["probability"])["label"]
    assert item["nearest"][0]["labels"] == THERE[item["nearest"][0]["scan_id"].split("-")[0]]
    stored = ward.predict_scans("both", "ward", ["cyst-0", "tissue-0"])
    assert [len(item["outputs"]) for item in stored["items"]] == [2, 2]
    assert [sets["label"] for sets in stored["prediction_sets"]] == ["fluid", "shadow"]
    mixed = ward.predict("both", [frames["mass"][7], b"GIF89a"])
    assert "problem" in mixed["items"][1]
    assert "errors" not in mixed["items"][1]["problem"], "as in every other problem"
    refusals = ward.predict_scans("both", "ward", ["cyst-0"], coverage=0.99)
    assert refusals["items"][0]["outputs"][0]["prediction_set"] is None
    assert refusals["items"][0]["prediction_set"] is None
    assert "not enough" in refusals["prediction_sets"][0]["not_enough_because"]


def test_versions_change_compare_and_are_judged(ward, frames) -> None:
    changed = ward.change_examples(
        "both",
        {
            "relabel": [{"collection": "ward", "scan_id": "cyst-5", "labels": []}],
            "drop": [{"collection": "ward", "scan_id": "stone-5"}],
            "thresholds": {"shadow": 0.6},
            "examples": [{"labels": ["shadow", "fluid"], "subject_id": "p9"}],
        },
        images=frames["mass"][8:9],
    )
    assert (changed["kind"], changed["examples"]) == ("multi_label", 24)
    assert changed["settings"]["thresholds"] == {"shadow": 0.6}
    found = ward.compare("both", 1, 2)
    assert found["shared_examples"] == 22
    assert [item["label"] for item in found["first"]["items"]] == ["fluid", "shadow"]
    fresh = {
        "examples": [
            {"labels": THERE[s], "subject_id": f"q-{s}-{i}"} for s in THERE for i in range(3)
        ]
    }
    images = [image for scene in THERE for image in frames[scene][7:10]]
    evaluation = ward.evaluate("both", fresh, images=images, version=1)
    assert evaluation["examples"] == 12
    shadow = evaluation["items"][1]
    assert (shadow["label"], shadow["thresholds"][0]["positives"]) == ("shadow", 6)
    assert 0 <= shadow["reliability"]["ece"] <= 1
    with refused("invalid_input", 422):
        ward.evaluate("both", {"examples": [{"labels": ["air"]}]}, images=images[:1])


def test_a_threshold_alone_can_change(ward) -> None:
    changed = ward.change_examples("both", {"thresholds": {"shadow": 0.7}}, version=1)
    assert changed["settings"]["thresholds"] == {"shadow": 0.7}
    assert changed["examples"] == 24
    asked = ward.predict_scans("both", "ward", ["cyst-0"], version=changed["version"])
    assert [output["threshold"] for output in asked["items"][0]["outputs"]] == [0.5, 0.7]
    with refused("invalid_input", 422):
        ward.change_examples("both", {}, version=1)


def test_an_exported_classifier_answers_the_same_after_import_and_as_onnx(ward, frames) -> None:
    images = frames["cyst"][8:] + frames["mass"][8:]
    expected = ward.predict("both", images, version=1)["items"]
    document = ward.export("both", version=1)
    made = ward.import_classifier("copy", document)
    assert (made["kind"], made["calibrated"]) == ("multi_label", True)
    for ours, theirs in zip(expected, ward.predict("copy", images)["items"], strict=True):
        assert probabilities(ours) == pytest.approx(probabilities(theirs), abs=1e-9)
        assert calls(ours) == calls(theirs)
        assert ours["distance"] == pytest.approx(theirs["distance"], abs=1e-6)
    session = onnxruntime.InferenceSession(ward.export_onnx("both", version=1))
    rows = [item["embedding"] for item in ward.embed(images)["items"]]
    (shares,) = session.run(None, {"embedding": np.array(rows, np.float32)})
    wanted = [list(probabilities(item).values()) for item in expected]
    np.testing.assert_allclose(shares, wanted, atol=1e-5)  # float32
    document["heads"][0]["thresholds"]["present"] = 0.9
    with refused("broken_signature", 422):
        ward.import_classifier("bad", document)
    ward.delete_classifier("copy")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"examples": [{"scan_id": "cyst-0", "label": "a"}]}, "invalid_input", 422),
        ({"task": "fluid"}, "invalid_input", 422),
        ({"kind": "single_label", "tasks": {"fluid": "yes"}}, "invalid_input", 422),
        (
            {"kind": "single_label", "task": "fluid", "thresholds": {"yes": 0.3}},
            "invalid_input",
            422,
        ),
        (
            {"examples": [{"scan_id": "cyst-0", "label": "a", "labels": []}]},
            "validation_error",
            422,
        ),
        ({"examples": [{"scan_id": "cyst-0"}]}, "validation_error", 422),
        ({"examples": [{"scan_id": "cyst-0", "labels": ["x" * 10_000]}]}, "validation_error", 422),
        ({"examples": [{"scan_id": "cyst-0", "labels": []}]}, "not_enough_examples", 422),
        ({"examples": [{"scan_id": "cyst-0", "labels": ["a"]}]}, "not_enough_examples", 422),
        ({"tasks": {"fluid": "yes"}, "thresholds": {"fluid": 1.5}}, "validation_error", 422),
        ({"tasks": {"fluid": "yes"}, "class_weights": {"air": 2}}, "invalid_input", 422),
        (
            {"examples": [{"scan_id": "cyst-0", "labels": [c]} for c in "ab"]},
            "conflicting_labels",
            422,
        ),
    ],
)
def test_wrong_labels_fit_nothing(ward, body, code: str, status: int) -> None:
    with refused(code, status):
        ward.fit({"name": "wrong", "kind": "multi_label", "collection": "ward"} | body)
    assert "wrong" not in {found["name"] for found in ward.classifiers()}


def test_what_only_single_label_classifiers_can_do_says_so(ward) -> None:
    with refused("invalid_input", 422):
        ward.change_examples(
            "both", {"relabel": [{"collection": "ward", "scan_id": "cyst-0", "label": "a"}]}
        )


@pytest.fixture(scope="module")
def doubtful(ward, tiny) -> Client:
    """A classifier of vectors around four directions, of which one scan is labelled wrongly."""
    running, rng = tiny.running(), np.random.default_rng(0)
    ward.create_collection("drawn")
    ways_4D = rng.standard_normal((4, running.pipeline.encoder.dim))
    scans, said = [], []
    for way_D, (scene, labels) in zip(ways_4D, THERE.items(), strict=True):
        for i in range(8):
            scan_id = f"{scene}-{i}"
            row_D = way_D + 0.5 * rng.standard_normal(way_D.shape)
            digest = hashlib.sha256(scan_id.encode()).hexdigest()
            image = ScanImage(digest, "frame", "png", 1, 1, digest)
            unit_D = (row_D / np.linalg.norm(row_D)).astype(np.float32)
            scans.append(NewScan(scan_id, image, unit_D, b"", subject_id=scan_id))
            said.append({"scan_id": scan_id, "labels": labels})
    said[-1]["labels"] = ["fluid"]
    running.gallery.store(running.default_workspace_id, "drawn", scans)
    ward.fit({"name": "odd", "kind": "multi_label", "collection": "drawn", "examples": said})
    return ward


def test_a_doubtful_label_is_named_with_its_scan(doubtful) -> None:
    (found,) = doubtful.review("odd", "suspect")["items"]
    assert (found["example"]["scan_id"], found["label"]) == ("tissue-7", "fluid")
    assert (found["example"]["labels"], found["guess"]) == (["fluid"], "absent")
    assert found["probabilities"]["present"] < 0.2 < found["probabilities"]["absent"]


def test_confusion_names_the_scans_of_each_label(doubtful) -> None:
    found = doubtful.confusion("odd", 1)
    assert (found["classes"], found["scored"]) == (["fluid", "shadow"], 32)
    assert sum(cell["count"] for cell in found["items"]) == 64
    (missed,) = doubtful.confusion("odd", 1, actual="present", predicted="absent")["items"]
    assert missed["label"] == "fluid"
    assert [example["scan_id"] for example in missed["examples"]] == ["tissue-7"]
    shadow = doubtful.confusion("odd", 1, label="shadow")["items"]
    assert [(cell["actual"], cell["predicted"]) for cell in shadow] == [
        ("absent", "absent"),
        ("present", "present"),
    ]


def test_a_forecast_is_made_for_each_label(ward) -> None:
    found = ward.forecast("both", 1)["items"]
    assert [item["label"] for item in found] == ["fluid", "shadow"]
    assert found[0]["gain_per_class"].keys() == {"absent", "present"}


def test_scans_that_lack_any_of_the_labels_are_offered(ward, frames) -> None:
    ward.create_collection("new")
    said = [
        {"scan_id": "none"},
        {"scan_id": "half", "labels": {"fluid": "yes"}},
        {"scan_id": "whole", "labels": {"fluid": "yes", "shadow": "yes"}},
    ]
    ward.add_scans("new", frames["mass"][6:9], said)
    found = ward.review("both", "next", collection="new", tasks=["fluid", "shadow"])["items"]
    assert {item["scan"]["scan_id"] for item in found} == {"none", "half"}
    assert {item["label"] for item in found} <= {"fluid", "shadow"}
    assert all(item["probabilities"].keys() == {"present", "absent"} for item in found)
    (item,) = ward.review("both", "next", collection="new", tasks=["fluid"])["items"]
    assert item["scan"]["scan_id"] == "none"


def test_a_label_gets_the_threshold_of_a_wanted_sensitivity(ward, frames) -> None:
    points = ward.thresholds("both", sensitivity=0.9)["items"]
    assert [point["label"] for point in points] == ["fluid", "shadow"]
    assert all(point["sensitivity"]["value"] >= 0.9 for point in points)
    made = ward.set_thresholds("both", {"thresholds": [{"label": "shadow", "sensitivity": 0.9}]})
    (chosen,) = made["settings"]["operating_points"]
    assert chosen["threshold"] == points[1]["threshold"]
    (shown,) = made["report"]["labels"][1]["thresholds"]
    assert shown["sensitivity"] == points[1]["sensitivity"]
    (item,) = ward.predict("both", [frames["mass"][7]], version=made["version"])["items"]
    assert {label: threshold for label, (threshold, _, _) in calls(item).items()} == {
        "fluid": 0.5,
        "shadow": chosen["threshold"],
    }
    after = ward.change_examples(
        "both",
        {"drop": [{"collection": "ward", "scan_id": "cyst-5"}]},
        version=made["version"],
    )
    assert after["settings"]["thresholds"] == {"shadow": chosen["threshold"]}
    assert "thresholds_dropped" not in after["settings"]


@pytest.mark.parametrize(
    "wish",
    [
        {"label": "unheard", "threshold": 0.5},
        {"label": "fluid", "threshold": 0},
        {"label": "fluid", "threshold": 1},
    ],
)
def test_thresholds_that_no_label_can_have_are_refused(ward, wish) -> None:
    before = ward.classifier("both")["latest_version"]
    with refused("invalid_input", 422):
        ward.set_thresholds("both", {"thresholds": [wish]})
    assert ward.classifier("both")["latest_version"] == before


def test_queries_find_a_class_in_any_spelling(doubtful) -> None:
    """Composed or not, with spaces around it: the form in which it is stored decides."""
    found = doubtful.confusion("odd", 1, label=" shadow ")["items"]
    assert found == doubtful.confusion("odd", 1, label="shadow")["items"] != []
    thresholds = doubtful.thresholds("odd", threshold=0.5, labels=[" shadow"])
    assert thresholds == doubtful.thresholds("odd", threshold=0.5, labels=["shadow"])
