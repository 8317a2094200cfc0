"""Classifiers that change, predict with doubts, travel, and refuse what is wrong."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw

from service.fairness.workspace_turn import working_for
from service.server import LocalService
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import probabilities, refused, unsigned

SCENES = ("cyst", "stone")


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """A collection ``ward``: cyst-0..7 and stone-0..7, each of its own subject, labelled."""
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection("ward")
        for scene in SCENES:
            said = [
                {"scan_id": f"{scene}-{i}", "subject_id": f"p-{scene}-{i}", "labels": {"t": scene}}
                for i in range(8)
            ]
            client.add_scans("ward", frames[scene][:8], said)
        yield client


def test_changed_examples_are_a_new_version_that_waits_to_be_published(ward, name, tiny) -> None:
    (before,) = ward.predict_scans(name, "ward", ["cyst-0"])["items"]
    changed = ward.change_examples(
        name,
        {
            "collection": "ward",
            "examples": [{"scan_id": "cyst-1", "label": "stone"}],
            "drop": [{"collection": "ward", "scan_id": "stone-7"}],
        },
    )
    assert (changed["version"], changed["published"], changed["examples"]) == (2, False, 15)
    assert changed["settings"] == {
        "base_version": 1,
        "added": 0,
        "relabelled": 1,
        "dropped": 1,
        "not_kept": 0,
        "views": False,
        "views_chosen_by": "default: no views unless they are asked for",
    }
    assert changed["created_by"]["name"] == "local"
    assert changed["created_by"]["key_id"].startswith("key_")
    (after,) = ward.predict_scans(name, "ward", ["cyst-0"])["items"]
    assert before.pop("prediction_id") != after.pop("prediction_id")
    assert after == before
    assert ward.predict_scans(name, "ward", ["cyst-0"], version=2)["version"] == 2
    labels = {e["scan_id"]: e["label"] for e in ward.version_examples(name, 2)}
    assert (labels["cyst-1"], "stone-7" in labels) == ("stone", False)
    assert {e["label"] for e in ward.version_examples(name, 1)} == set(SCENES)
    assert len({e["group"] for e in ward.version_examples(name, 1)}) == 16


def test_publishing_and_rolling_back_move_one_pointer_under_its_etag(ward, name) -> None:
    first = ward.classifier(name)
    drop = {"drop": [{"collection": "ward", "scan_id": "stone-7"}]}
    second = ward.change_examples(name, drop, if_match=first["etag"])
    assert second["etag"] != first["etag"]
    with refused("precondition_failed", 412):
        ward.publish(name, 2, if_match=first["etag"])
    assert ward.publish(name, 2, if_match=second["etag"])["published_version"] == 2
    assert ward.predict_scans(name, "ward", ["cyst-0"])["version"] == 2
    assert ward.publish(name, 1)["published_version"] == 1
    assert [v["published"] for v in ward.versions(name)] == [False, True]
    with refused("unknown_item", 404):
        ward.publish(name, 3)
    with refused("precondition_failed", 412):
        ward.change_examples(name, drop, if_match=second["etag"])
    assert len(list(ward.versions(name))) == 2


def test_uploads_join_stored_scans_and_are_relabelled_by_their_bytes(ward, frames) -> None:
    body = {
        "name": "mix",
        "collection": "ward",
        "task": "t",
        "filter": {"labels": {"t": "cyst"}},
        "examples": [{"label": "mass", "subject_id": f"m{i}"} for i in range(4)],
    }
    files = [("files", ("a", data)) for data in frames["mass"][:4]]
    options = {"options": json.dumps(body)}
    made = ward.request("POST", "/v1/classifiers", files=files, data=options).json()
    assert made["report"]["labels"][0]["examples_per_class"] == {"cyst": 8, "mass": 4}
    said = {"examples": [{"label": "abscess"}, {"label": "mass"}]}
    changed = ward.change_examples("mix", said, images=[frames["mass"][0], frames["mass"][7]])
    assert (changed["settings"]["relabelled"], changed["settings"]["added"]) == (1, 1)
    assert changed["classes"] == ["abscess", "cyst", "mass"]
    uploads = [e for e in ward.version_examples("mix", 2) if e["scan_id"] is None]
    renamed = {"relabel": [{"example_id": uploads[0]["example_id"], "label": "mass"}]}
    assert ward.change_examples("mix", renamed)["classes"] == ["cyst", "mass"]
    receipt = ward.erase_subject("m1")
    assert [receipt[key] for key in ("scans", "classifiers", "uploads")] == [[], ["mix"], 1]
    last = ward.change_examples("mix", {"drop": [{"example_id": uploads[-1]["example_id"]}]})
    assert (last["settings"]["not_kept"], last["examples"]) == (1, 11)
    ward.delete_classifier("mix")


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({}, "invalid_input", 422),
        ({"examples": [{"scan_id": "cyst-0", "label": "a"}]}, "validation_error", 422),
        ({"drop": [{"example_id": "exm_none"}]}, "unknown_item", 404),
        ({"drop": [{"scan_id": "cyst-0"}]}, "validation_error", 422),
        (
            {"collection": "ward", "examples": [{"scan_id": "none", "label": "a"}]},
            "unknown_item",
            404,
        ),
        (
            {"collection": "ward", "examples": [{"scan_id": "cyst-0", "label": c} for c in "ab"]},
            "conflicting_labels",
            422,
        ),
        (
            {
                "collection": "ward",
                "examples": [{"scan_id": "cyst-0", "label": "a"}],
                "drop": [{"collection": "ward", "scan_id": "cyst-0"}],
            },
            "invalid_input",
            422,
        ),
        (
            {"drop": [{"collection": "ward", "scan_id": f"cyst-{i}"} for i in range(8)]},
            "not_enough_examples",
            422,
        ),
        (
            {"collection": "ward", "examples": [{"scan_id": "cyst-0", "label": "x" * 10_000}]},
            "validation_error",
            422,
        ),
    ],
)
def test_a_wrong_change_says_why_and_stores_no_version(ward, name, change, code, status) -> None:
    with refused(code, status):
        ward.change_examples(name, change)
    assert ward.classifier(name)["latest_version"] == 1


def test_a_version_is_named_by_number_or_as_published_or_latest(ward, name) -> None:
    drop = {"drop": [{"collection": "ward", "scan_id": "stone-7"}]}
    with refused("unknown_item", 404):
        ward.change_examples(name, drop, version=9)
    with refused("validation_error", 422):
        ward.change_examples(name, drop, version="newest")
    ward.change_examples(name, drop, version="published")
    assert [ward.version(name, v)["version"] for v in ("published", "latest", 2)] == [1, 2, 2]
    assert len(list(ward.version_examples(name, "latest"))) == 15
    assert ward.compare(name, "published", "latest")["shared_examples"] == 15


@pytest.mark.parametrize(
    ("examples", "code"),
    [
        ([("cyst-0", "a"), ("cyst-0", "b")], "conflicting_labels"),
        ([("cyst-0", "a"), ("cyst-1", "a")], "not_enough_examples"),
        ([("cyst-0", "a"), ("cyst-1", " ")], "validation_error"),
        ([("cyst-0", "a"), ("cyst-1", "")], "validation_error"),
        ([("cyst-0", "a"), ("cyst-1", "x" * 10_000)], "validation_error"),
        ([], "validation_error"),
    ],
)
def test_wrong_examples_fit_nothing(ward, examples, code: str) -> None:
    scans = [{"scan_id": scan_id, "label": label} for scan_id, label in examples]
    with refused(code, 422):
        ward.fit({"name": "wrong", "collection": "ward", "examples": scans})
    assert "wrong" not in {found["name"] for found in ward.classifiers()}


def test_as_many_classes_as_examples_are_fitted_and_not_evaluated(ward) -> None:
    scans = [{"scan_id": f"{s}-{i}", "label": f"{s}{i}"} for s in SCENES for i in range(8)]
    made = ward.fit({"name": "many", "collection": "ward", "examples": scans})
    assert made["report"]["balanced_accuracy"] is None
    assert made["report"]["not_evaluated_because"]
    answer = ward.predict_scans("many", "ward", ["cyst-0"])
    assert answer["calibrated"] is False
    assert answer["not_calibrated_because"]
    ward.delete_classifier("many")


def test_a_prediction_carries_its_set_its_doubts_and_its_evidence(ward, name, frames) -> None:
    answer = ward.predict(name, [frames["cyst"][3]], coverage=0.8, nearest=2)
    (item,) = answer["items"]
    assert answer["calibrated"] is True
    assert sum(probabilities(item).values()) == pytest.approx(1)
    assert item["most_probable"] in item["prediction_set"]
    assert item["label"] == (None if item["abstained"] else item["most_probable"])
    assert answer["coverage"] == 0.8
    assert item["nearest"][0]["scan_id"] == "cyst-3"
    assert item["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert len(item["nearest"]) == 2
    assert item["distance"] == pytest.approx(0, abs=1e-5)
    jpeg = ward.request("GET", item["nearest"][0]["thumbnail"]).content
    assert jpeg[:2] == b"\xff\xd8"


def test_a_coverage_that_the_examples_cannot_give_is_refused_with_what_is_missing(
    ward, name
) -> None:
    answer = ward.predict_scans(name, "ward", ["cyst-0"], coverage=0.95)
    assert answer["items"][0]["prediction_set"] is None
    (sets,) = answer["prediction_sets"]
    assert "not enough" in sets["not_enough_because"]
    assert sets["missing"] == {"any class": 3}  # 19 needed, 16 there
    with refused("validation_error", 422):
        ward.predict_scans(name, "ward", ["cyst-0"], coverage=1.0)


def test_a_picture_that_is_no_ultrasound_is_abstained_from(client, frames) -> None:
    """With the shipped encoder: the small one sees no more in a letter than in a cyst."""
    images = frames["cyst"][:5] + frames["stone"][:5]
    said = [{"label": s} for s in SCENES for _ in range(5)]
    client.fit_images("far", images, said, fields={"views": False})
    inside, outside = client.predict("far", [frames["cyst"][7], _png(_letter())])["items"]
    assert outside["abstained"] == {"because": "not_ultrasound", "between": None}
    assert (outside["decision"], outside["label"]) == ("abstained", None)
    assert {output["called"] for output in outside["outputs"]} == {None}
    assert outside["most_probable"] in SCENES
    assert outside["ultrasound_score"] < 0 < inside["ultrasound_score"]
    assert outside["distance_percentile"] == 100
    assert inside["distance"] < outside["distance"]
    client.delete_classifier("far")


def _letter() -> np.ndarray:
    page = Image.new("L", (420, 594), 250)
    pen = ImageDraw.Draw(page)
    for row in range(40, 560, 14):
        pen.text((40, row), "Dear colleague, thank you for referring this patient", fill=20)
    return np.asarray(page)


def _png(pixels_HW: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels_HW).save(out, "PNG")
    return out.getvalue()


def test_erased_examples_are_evidence_no_more(ward, frames) -> None:
    ward.create_collection("brief")
    images = frames["tissue"][:4] + frames["mass"][:4]
    said = [
        {"scan_id": f"b{i}", "subject_id": f"b{i}", "labels": {"t": "tm"[i // 4]}} for i in range(8)
    ]
    ward.add_scans("brief", images, said)
    ward.fit({"name": "brief", "collection": "brief", "task": "t"})
    seen = ward.predict("brief", images[:1])["items"][0]["nearest"]
    assert seen[0]["scan_id"] == "b0"
    ward.erase_subject("b0")
    later = ward.predict("brief", images[:1])["items"][0]["nearest"]
    assert "b0" not in {e["scan_id"] for e in later}
    ward.delete_collection("brief")
    last = ward.predict("brief", images[:1])["items"][0]
    assert (last["nearest"], last["distance"]) == ([], None)
    assert probabilities(last).keys() == {"t", "m"}
    ward.delete_classifier("brief")


def test_an_exported_classifier_predicts_the_same_after_import_and_as_onnx(
    ward, name, frames
) -> None:
    images = frames["cyst"][8:] + frames["mass"][:2]
    expected = ward.predict(name, images)["items"]
    made = ward.import_classifier("copy", ward.export(name))
    assert (made["classes"], made["calibrated"]) == (list(SCENES), True)
    given = ward.predict("copy", images)["items"]
    for ours, theirs in zip(expected, given, strict=True):
        assert probabilities(ours) == pytest.approx(probabilities(theirs), abs=1e-9)
        assert ours["distance"] == pytest.approx(theirs["distance"], abs=1e-6)
        assert theirs["nearest"] == []
    session = onnxruntime.InferenceSession(ward.export_onnx(name))
    rows = [item["embedding"] for item in ward.embed(images)["items"]]
    (shares_NC,) = session.run(None, {"embedding": np.array(rows, np.float32)})
    wanted = [[probabilities(item)[c] for c in made["classes"]] for item in expected]
    np.testing.assert_allclose(shares_NC, wanted, atol=1e-5)
    ward.delete_classifier("copy")


@pytest.mark.parametrize(
    "change",
    [{"format": "other"}, {"format_version": 2}, {"card": {"min_margin": 0.7}}, {"arrays": {}}],
    ids=str,
)
def test_a_changed_export_is_not_taken_in(ward, name, change) -> None:
    document = ward.export(name)
    with refused("broken_signature", 422):
        ward.import_classifier("bad", document | change)
    with refused("invalid_artifact", 422):
        ward.import_classifier("bad", unsigned(document) | change)
    assert "bad" not in {found["name"] for found in ward.classifiers()}


def test_an_export_of_another_encoder_is_not_taken_in(ward, name, client) -> None:
    with refused("encoder_mismatch", 409):
        client.import_classifier("bad", ward.export(name))


def _hold(tiny: LocalService, release: threading.Event) -> Future[bool]:
    """Put something that waits where fits run, and see it admitted."""
    running = tiny.running()
    before = running.fits.in_flight
    pool = ThreadPoolExecutor(1)

    def hold() -> bool:
        with working_for(running.default_workspace_id):
            return asyncio.run(running.fits.run(lambda: release.wait(30)))

    future = pool.submit(hold)
    while running.fits.in_flight == before:
        time.sleep(0.005)
    pool.shutdown(wait=False)
    return future


def test_fits_that_wait_are_bounded_and_embedding_goes_on(ward, tiny, frames) -> None:
    release = threading.Event()
    most = 1 + tiny.running().settings.max_waiting_fits
    held = [_hold(tiny, release) for _ in range(most)]
    try:
        with refused("overloaded", 503):
            ward.fit({"name": "late", "collection": "ward", "task": "t"})
        assert "embedding" in ward.embed(frames["cyst"][:1])["items"][0]
    finally:
        release.set()
        assert [future.result(30) for future in held] == [True] * most
    assert ward.fit({"name": "late", "collection": "ward", "task": "t"})["latest_version"] == 1
    ward.delete_classifier("late")


def test_what_was_learnt_from_is_not_evaluated_on_unless_asked(ward, name, frames) -> None:
    images = frames["cyst"][8:] + frames["stone"][8:]
    fresh = {
        "examples": [
            {"label": scene, "subject_id": f"new-{scene}-{i}"} for scene in SCENES for i in range(2)
        ]
    }
    found = ward.evaluate(name, fresh, images=images)
    assert (found["examples"], found["known_examples"]) == (4, 0)
    assert found["balanced_accuracy"] is None
    assert found["items"][0]["metrics"]["missing_groups"] == {"cyst": 3, "stone": 3}
    same_subject = {"examples": [{"label": "cyst", "subject_id": "p-cyst-1"}]}
    everything = {"collection": "ward", "task": "t"}
    for body, sent in ((same_subject, images[:1]), (everything, ())):
        with refused("invalid_input", 422):
            ward.evaluate(name, body, images=sent)
    known = ward.evaluate(name, everything | {"allow_known": True})
    assert (known["examples"], known["known_examples"]) == (16, 16)
    (head,) = known["items"]
    assert head["metrics"]["balanced_accuracy"]["value"] == known["balanced_accuracy"] > 0.5
    with refused("invalid_input", 422):
        ward.evaluate(name, {"examples": [{"label": "mass"}]}, images=images[:1])


def test_examples_that_cannot_evaluate_are_named_and_can_be_left_out(ward, name, frames) -> None:
    """One of each kind; the same pixels in another file are the same image."""
    copied = Image.open(io.BytesIO(frames["cyst"][1]))
    again = io.BytesIO()
    copied.save(again, "PNG", compress_level=1)
    images = [
        frames["cyst"][8],
        frames["cyst"][0],
        again.getvalue(),
        frames["stone"][8],
        frames["mass"][0],
        b"no image",
        frames["stone"][9],
    ]
    said = [
        {"label": "cyst", "subject_id": "n1"},
        {"label": "cyst", "subject_id": "n2"},
        {"label": "cyst", "subject_id": "n3"},
        {"label": "stone", "subject_id": "p-stone-3"},
        {"label": "mass", "subject_id": "n4"},
        {"label": "cyst", "subject_id": "n5"},
        {"label": "stone", "subject_id": "n6"},
    ]
    stored = [
        {"collection": "ward", "scan_id": "stone-1", "label": "stone"},
        {"collection": "ward", "scan_id": "gone", "label": "stone"},
    ]
    body = {"examples": [*said, *stored]}
    with pytest.raises(ApiError, match="file 5"):
        ward.evaluate(name, body, images=images)
    found = ward.evaluate(name, body | {"on_refused": "leave_out"}, images=images)
    assert (found["examples"], found["left_out"]) == (2, 7)
    reasons = {item["file"]: (item["reason"], item["code"]) for item in found["refused"]}
    assert reasons == {
        1: ("same_image", None),
        2: ("same_image", None),
        3: ("same_subject", None),
        4: ("unknown_class", None),
        5: ("unreadable", "unsupported_format"),
        None: ("same_scan", None),
    }
    scans = {item["scan_id"]: item["reason"] for item in found["refused"] if item["scan_id"]}
    assert scans == {"stone-1": "same_scan", "gone": "unknown_scan"}
    known = body | {"on_refused": "leave_out", "allow_known": True}
    found = ward.evaluate(name, known, images=images)
    assert (found["examples"], found["known_examples"], found["left_out"]) == (6, 4, 3)


def test_a_refusal_names_the_examples_in_the_problem(ward, name, frames) -> None:
    images = [frames["cyst"][8], frames["cyst"][0]]
    examples = [{"label": "cyst", "subject_id": f"n{i}"} for i in range(2)]
    with pytest.raises(ApiError, match=r"1 of 2 .* file 1 \(same_image\)") as caught:
        ward.evaluate(name, {"examples": examples}, images=images)
    (item,) = caught.value.problem["refused"]
    assert (item["file"], item["reason"], item["scan_id"]) == (1, "same_image", None)
    with refused("not_enough_examples", 422):
        body = {"collection": "ward", "task": "t", "on_refused": "leave_out"}
        ward.evaluate(name, body)


def test_a_form_without_options_or_with_images_in_them_is_refused(ward, frames) -> None:
    files = [("files", ("a", data)) for data in frames["mass"][:2]]
    body = {"name": "form", "examples": [{"label": "a"}, {"label": "b", "image": "aGk="}]}
    for data in ({}, {"metadata": "{}"}, {"options": json.dumps(body)}, {"options": "{"}):
        with refused("invalid_input", 422):
            ward.request("POST", "/v1/classifiers", files=files, data=data)
    with refused("validation_error", 422):
        ward.request("POST", "/v1/classifiers", files=files, data={"options": '{"name": "form"}'})


def test_an_import_whose_report_could_not_be_shown_is_refused(ward, name) -> None:
    document = ward.export(name)
    document["card"]["report"]["balanced_accuracy"] = "good"
    with pytest.raises(ApiError, match="balanced_accuracy") as caught:
        ward.import_classifier("copy", unsigned(document))
    assert caught.value.code == "invalid_artifact"


def test_two_versions_are_compared_on_the_examples_that_both_have(ward, name) -> None:
    ward.change_examples(
        name,
        {
            "collection": "ward",
            "examples": [{"scan_id": "cyst-1", "label": "stone"}],
            "drop": [{"collection": "ward", "scan_id": "stone-7"}],
        },
    )
    found = ward.compare(name, 1, 2)
    (first,), (second,) = found["first"]["items"], found["second"]["items"]
    assert found["shared_examples"] == 14
    assert [found[key] for key in ("only_first", "only_second", "other_label")] == [1, 0, 1]
    assert found["verdict"] == "cannot_tell"
    assert found["groups"] == 14
    accuracy, area, loss = found["differences"]
    assert [one["metric"] for one in (accuracy, area, loss)] == [
        "balanced_accuracy",
        "auroc",
        "log_loss",
    ]
    assert accuracy["low"] < 0 < accuracy["high"]
    values = [one["metrics"]["balanced_accuracy"]["value"] for one in (first, second)]
    assert accuracy["value"] == pytest.approx(values[0] - values[1], abs=1e-6)
    turned = ward.compare(name, 2, 1)["differences"][0]
    assert turned["value"] == pytest.approx(-accuracy["value"])
    assert first["metrics"]["scored"] == second["metrics"]["scored"] == 14
    assert (found["first"]["version"], found["second"]["version"]) == (1, 2)
    with refused("unknown_item", 404):
        ward.compare(name, 1, 3)


def test_two_readers_agree_as_often_as_their_labels_say(ward, name) -> None:
    for i in range(8):
        labels = {"r1": "a", "r2": "a" if i else "b"}
        ward.patch_scan("ward", f"cyst-{i}", {"labels": labels})
        ward.patch_scan("ward", f"stone-{i}", {"labels": {"r1": "b", "r2": "b"}})
    found = ward.agreement("ward", "r1", "r2")
    assert found["kappa"]["value"] == pytest.approx(0.875)  # 15 of 16, half by chance
    assert found["scans"] == 16
    (differs,) = found["items"]
    assert (differs["scan_id"], differs["label"], differs["other_label"]) == ("cyst-0", "a", "b")
    assert differs["thumbnail"] == "/v1/collections/ward/scans/cyst-0/thumbnail"
    with refused("not_enough_examples", 422):
        ward.agreement("ward", "r1", "nobody")


def test_what_to_label_next_has_no_label_yet_and_one_scan_per_patient(ward, name, frames) -> None:
    said = [{"scan_id": f"u{i}", "subject_id": f"u{i // 2}"} for i in range(6)]
    ward.add_scans("ward", frames["a_lines"][:6], said)
    found = ward.review(name, "next", collection="ward", tasks=["t"], limit=9)["items"]
    assert {item["scan"]["subject_id"] for item in found} == {"u0", "u1", "u2"}
    assert len(found) == 3
    for item in found:
        shares = item["probabilities"]
        assert (item["reason"], item["guess"]) == ("uncertain", max(shares, key=shares.get))
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert ward.review(name, "next", limit=9)["items"] == found  # as the version was fitted
    ward.import_classifier("sourceless", ward.export(name))
    with refused("invalid_input", 422):
        ward.review("sourceless", "next")
    ward.delete_classifier("sourceless")
    for i in range(6):
        ward.delete_scan("ward", f"u{i}")


def test_a_rule_that_a_body_breaks_is_told_without_the_kind_of_our_exception(ward) -> None:
    with pytest.raises(ApiError, match="expected a task, tasks or examples") as broken:
        ward.fit({"name": "bare"})
    assert "Value error" not in str(broken.value)
    assert ": :" not in str(broken.value)
