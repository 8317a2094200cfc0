"""Labels live in the scans: versions remember where they come from and learn later ones."""

import io
from collections.abc import Iterator
from functools import partial

import pytest
from PIL import Image

from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused

SCENES = ("cyst", "stone")


@pytest.fixture
def ward(tiny: LocalService, frames, request) -> Iterator[tuple[Client, str]]:
    """A client, and the name of a collection of six labelled scans of either scene."""
    name = f"w{abs(hash(request.node.nodeid))}"
    with Client(tiny.url, key=tiny.key) as client:
        client.create_collection(name)
        for scene in SCENES:
            said = [
                {
                    "scan_id": f"{scene}-{i}",
                    "subject_id": f"{name}-{scene}-{i}",
                    "labels": {"t": scene},
                }
                for i in range(6)
            ]
            client.add_scans(name, frames[scene][:6], said)
        yield client, name
        for classifier in list(client.classifiers()):
            client.delete_classifier(classifier["name"])
        client.delete_collection(name)


def counts(client: Client, version: int | str = "latest", name: str = "k") -> tuple[int, int, int]:
    found = client.version(name, version)["source_changes"]
    assert found["not_counted_because"] is None
    return found["newer"], found["changed"], found["removed"]


def add_unlabelled(client: Client, collection: str, frames, scan_id: str = "new") -> None:
    said = [{"scan_id": scan_id, "subject_id": scan_id}]
    client.add_scans(collection, frames["cyst"][8:9], said)


def test_a_classifier_says_how_many_labels_are_newer_changed_and_removed(ward, frames) -> None:
    client, collection = ward
    body = {"collection": collection, "task": "t", "filter": {"labels": {"t": list(SCENES)}}}
    made = client.fit({"name": "k", **body})
    assert made["source"] == {
        "collection": collection,
        "task": "t",
        "tasks": {},
        "filter": body["filter"],
        "scans": 12,
        "uploads": 0,
    }
    assert counts(client) == (0, 0, 0)
    add_unlabelled(client, collection, frames)
    client.patch_scan(collection, "new", {"labels": {"t": "cyst"}})
    client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}})
    client.patch_scan(collection, "cyst-1", {"labels": {"t": None}})
    client.patch_scan(collection, "cyst-2", {"labels": {"t": "other"}})  # fails the filter
    client.delete_scan(collection, "cyst-3")
    assert counts(client) == (1, 1, 3)
    assert client.classifier("k")["source_changes"]["newer"] == 1
    assert [c["source_changes"] for c in client.classifiers()] == [None]


def test_a_refit_learns_the_labels_of_today(ward, frames) -> None:
    client, collection = ward
    client.fit({"name": "k", "collection": collection, "task": "t"})
    with refused("nothing_changed", 409):
        client.refit("k")
    add_unlabelled(client, collection, frames)
    client.patch_scan(collection, "new", {"labels": {"t": "cyst"}})
    client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}})
    client.delete_scan(collection, "stone-0")
    etag = client.classifier("k")["etag"]
    made = client.refit("k", {"publish": True}, if_match=etag)
    settings = {
        key: made["settings"][key] for key in ("added", "relabelled", "dropped", "not_kept")
    }
    assert settings == {"added": 1, "relabelled": 1, "dropped": 0, "not_kept": 1}
    assert (made["version"], made["published"], made["examples"]) == (2, True, 12)
    labels = {e["scan_id"]: e["label"] for e in client.version_examples("k", 2)}
    assert (labels["new"], labels["cyst-0"], "stone-0" in labels) == ("cyst", "stone", False)
    assert counts(client) == (0, 0, 0)
    assert counts(client, 1) == (1, 1, 1)  # an earlier version is as far behind as it is
    with refused("precondition_failed", 412):
        client.refit("k", if_match=etag)


def test_a_refit_in_the_background_is_an_operation(ward) -> None:
    client, collection = ward
    client.fit({"name": "k", "collection": collection, "task": "t"})
    client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}})
    done = client.wait(client.refit("k", respond_async=True)["operation_id"])
    assert done["result"] == {"classifiers": [{"name": "k", "version": 2}]}
    failed = client.wait(client.refit("k", respond_async=True)["operation_id"])
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "nothing_changed")


def test_what_was_corrected_by_hand_stays_until_the_label_changes(ward) -> None:
    client, collection = ward
    client.fit({"name": "k", "collection": collection, "task": "t"})
    by_hand = {
        "relabel": [{"collection": collection, "scan_id": "cyst-0", "label": "stone"}],
        "drop": [{"collection": collection, "scan_id": "cyst-1"}],
    }
    client.change_examples("k", by_hand)
    assert counts(client) == (0, 0, 0)
    for scan_id, label in (("cyst-5", "stone"), ("cyst-4", "stone")):  # two refits in turn
        client.patch_scan(collection, scan_id, {"labels": {"t": label}})
        client.refit("k")
        labels = {e["scan_id"]: e["label"] for e in client.version_examples("k", "latest")}
        assert (labels["cyst-0"], labels.get("cyst-1")) == ("stone", None)
        assert counts(client) == (0, 0, 0)
    client.patch_scan(collection, "cyst-1", {"labels": {"t": "stone"}})
    assert counts(client) == (1, 0, 0)


def test_uploads_and_named_scans_stay_beside_the_labels(ward, frames) -> None:
    client, collection = ward
    add_unlabelled(client, collection, frames)
    examples = [{"scan_id": "new", "label": "cyst"}, {"label": "mass", "subject_id": "m"}]
    body = {"collection": collection, "task": "t"}
    made = client.fit_images("k", frames["mass"][:1], examples, fields=body)
    assert (made["source"]["scans"], made["source"]["uploads"]) == (13, 1)
    assert counts(client) == (0, 0, 0)
    client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}})
    made = client.refit("k")
    assert (made["examples"], made["settings"]["dropped"]) == (14, 0)
    assert counts(client) == (0, 0, 0)


def test_without_labels_of_a_collection_a_refit_needs_a_source(ward, frames) -> None:
    client, collection = ward
    images = frames["cyst"][6:8] + frames["stone"][6:8]
    client.fit_images("k", images, [{"label": s} for s in SCENES for _ in range(2)])
    assert client.classifier("k")["source_changes"] is None
    assert client.classifier("k")["source"]["uploads"] == 4
    with refused("no_label_source", 409):
        client.refit("k")
    made = client.refit("k", {"collection": collection, "task": "t"})
    assert (made["examples"], made["settings"]["added"]) == (16, 12)
    with refused("nothing_changed", 409):
        client.refit("k")
    client.import_classifier("copy", client.export("k"))
    assert client.classifier("copy")["source"] is None
    with refused("no_label_source", 409):
        client.refit("copy")
    assert client.refit("copy", {"collection": collection, "task": "t"})["examples"] == 12
    for body in ({"collection": collection}, {"filter": {}}, {"version": "newest"}):
        with refused("validation_error", 422):
            client.refit("k", body)
    with refused("invalid_input", 422):
        client.refit("k", {"collection": collection, "tasks": {"t": "cyst"}})
    with refused("unknown_item", 404):
        client.refit("nobody")


def test_a_collection_that_is_gone_is_told_and_refuses_a_refit(ward) -> None:
    client, collection = ward
    client.create_collection(f"{collection}-b")
    client.fit({"name": "k", "collection": collection, "task": "t"})
    filtered = {"subject_id": {"exists": True}, "not_subject_id": ["p1"]}
    body = {"name": "f", "collection": collection, "task": "t", "filter": filtered}
    assert client.fit(body)["source"]["filter"] is None
    assert "subjects" in client.classifier("f")["source_changes"]["not_counted_because"]
    with refused("no_label_source", 409):
        client.refit("f")
    client.delete_collection(collection)
    assert client.classifier("k")["source_changes"]["not_counted_because"]
    with refused("unknown_item", 404):
        client.refit("k")
    client.create_collection(collection)
    client.delete_collection(f"{collection}-b")


def test_a_multi_label_classifier_follows_its_tasks(ward) -> None:
    client, collection = ward
    body = {"name": "k", "kind": "multi_label", "collection": collection, "tasks": {"t": "cyst"}}
    client.fit(body)
    client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}})
    assert counts(client) == (0, 1, 0)
    assert client.refit("k")["settings"]["relabelled"] == 1


def test_two_spellings_of_a_stored_label_are_one_class(ward) -> None:
    client, collection = ward
    for i in range(3):
        client.patch_scan(collection, f"cyst-{i}", {"labels": {"t": "\u00e9"}})
        client.patch_scan(collection, f"cyst-{i + 3}", {"labels": {"t": "e\u0301"}})
    made = client.fit({"name": "k", "collection": collection, "task": "t"})
    assert made["classes"] == ["stone", "\u00e9"]
    assert counts(client) == (0, 0, 0)
    named = [{"scan_id": f"cyst-{i}", "label": label} for i, label in enumerate(["a", " a", "b "])]
    made = client.fit({"name": "n", "collection": collection, "examples": named})
    assert made["classes"] == ["a", "b"]
    assert made["report"]["labels"][0]["examples_per_class"] == {"a": 2, "b": 1}


def test_next_leaves_out_what_was_learnt_from_files_and_copies_of_it(ward, frames) -> None:
    client, collection = ward
    copied = io.BytesIO()
    Image.open(io.BytesIO(frames["mass"][1])).save(copied, "PNG", compress_level=1)
    files = [frames["mass"][0], copied.getvalue(), frames["a_lines"][0]]
    said = [{"scan_id": f"u{i}", "subject_id": f"u{i}"} for i in range(3)]
    client.add_scans(collection, files, said)
    images = frames["mass"][:2] + frames["stone"][8:10]
    examples = [{"label": "mass"}, {"label": "mass"}, {"label": "stone"}, {"label": "stone"}]
    client.fit_images("k", images, examples)
    found = client.review("k", "next", collection=collection, tasks=["t"])
    assert [item["scan"]["scan_id"] for item in found["items"]] == ["u2"]
    assert found["left_out"] == 2


def test_without_a_classifier_the_next_scans_are_diverse_and_of_new_patients(ward, frames) -> None:
    client, _ = ward
    client.create_collection("cold")
    said = [
        {"scan_id": f"{scene}-{i}", "subject_id": f"{scene}-{i // 3}"}
        for scene in ("cyst", "a_lines", "mass")
        for i in range(6)
    ]
    images = [data for scene in ("cyst", "a_lines", "mass") for data in frames[scene][:6]]
    client.add_scans("cold", images, said)
    found = client.next_scans("cold", ["view"], limit=6)
    scans = [item["scan"] for item in found["items"]]
    assert len({scan["subject_id"] for scan in scans}) == 6
    assert len({scan["scan_id"].rsplit("-", 1)[0] for scan in scans[:3]}) == 3
    assert (found["unlabelled"], found["left_out"]) == (18, 0)
    assert {item["reason"] for item in found["items"]} == {"diverse"}
    assert len(client.next_scans("cold", ["view"], limit=12)["items"]) == 12  # patients again
    client.patch_scan("cold", scans[0]["scan_id"], {"labels": {"view": "x"}})
    later = client.next_scans("cold", ["view"], limit=5)["items"]
    assert scans[0]["subject_id"] not in {item["scan"]["subject_id"] for item in later}
    with refused("unknown_item", 404):
        client.next_scans("nowhere", ["view"])
    with refused("validation_error", 422):
        client.next_scans("cold", [])
    client.delete_collection("cold")


def test_next_has_neither_copies_of_labelled_scans_nor_blank_frames(ward, frames) -> None:
    client, collection = ward
    copied, blank = io.BytesIO(), io.BytesIO()
    Image.open(io.BytesIO(frames["cyst"][0])).save(copied, "PNG", compress_level=1)
    Image.new("L", (160, 120), 0).save(blank, "PNG")
    said = [{"scan_id": "copy", "subject_id": "another"}, {"scan_id": "blank"}]
    added = client.add_scans(collection, [copied.getvalue(), blank.getvalue()], said)["items"]
    unlabelled = sum(item.get("created", False) for item in added)
    found = client.next_scans(collection, ["t"])
    assert found["items"] == []
    assert found["left_out"] == found["unlabelled"] == unlabelled


def test_a_class_is_renamed_in_all_scans_at_once(ward) -> None:
    client, collection = ward
    client.fit({"name": "k", "collection": collection, "task": "t"})
    etag = client.scan(collection, "cyst-0")["etag"]
    counted = client.rename_label(collection, "t", "cyst", "Zyste", dry_run=True)
    assert (counted["renamed"], counted["merged_into"], counted["dry_run"]) == (6, 0, True)
    assert client.scan(collection, "cyst-0")["etag"] == etag
    assert client.rename_label(collection, "t", "cyst", " Zyste ")["renamed"] == 6
    scan = client.scan(collection, "cyst-0")
    assert scan["labels"] == {"t": "Zyste"}
    assert scan["etag"] != etag
    assert client.classifier("k")["classes"] == ["cyst", "stone"]
    assert counts(client) == (0, 6, 0)
    assert client.refit("k")["classes"] == ["Zyste", "stone"]
    with refused("name_taken", 409):
        client.rename_label(collection, "t", "Zyste", "stone")
    merged = client.rename_label(collection, "t", "Zyste", "stone", merge=True)
    assert (merged["renamed"], merged["merged_into"]) == (6, 6)
    assert {s["labels"]["t"] for s in client.scans(collection)} == {"stone"}
    for task, old in (("t", "cyst"), ("other", "stone")):
        with refused("unknown_item", 404):
            client.rename_label(collection, task, old, "new")
    with refused("(invalid_input|validation_error)", 422):  # two spellings of one name
        client.rename_label(collection, "t", "stone", " stone")
    for new in ("stone", "", "x" * 200):
        with refused("validation_error", 422):
            client.rename_label(collection, "t", "stone", new)


def test_a_repeated_renaming_gets_the_answer_of_the_first(ward) -> None:
    client, collection = ward
    rename = partial(client.rename_label, collection, "t", "cyst", "Zyste", idempotency_key="r1")
    assert rename()["renamed"] == rename()["renamed"] == 6
    with refused("unknown_item", 404):
        client.rename_label(collection, "t", "cyst", "Zyste")


def test_labels_that_change_while_a_fit_runs_are_counted_as_changed(ward, tiny) -> None:
    """The fit reads the labels, the label changes, and then the version is stored."""
    from service.catalog.records import Author
    from service.classifiers.requests import ExampleSelection, FitRequest

    client, collection = ward
    running = tiny.running()
    request = FitRequest("k", ExampleSelection(collection, "t"), author=Author())
    running.registry.fit(
        running.default_workspace_id,
        request,
        before_storing=lambda: client.patch_scan(collection, "cyst-0", {"labels": {"t": "stone"}}),
    )
    assert counts(client) == (0, 1, 0)
    assert client.refit("k")["settings"]["relabelled"] == 1


def test_unlabelled_scans_are_given_read_back_and_named_by_an_erasure(ward, frames) -> None:
    client, collection = ward
    add_unlabelled(client, collection, frames)
    given = {"collection": collection, "filter": {"labels": {"t": {"exists": False}}}}
    body = {"name": "k", "collection": collection, "task": "t", "unlabelled": given}
    client.wait(client.fit(body, respond_async=True)["operation_id"])
    version = client.version("k", 1)
    assert version["settings"]["unlabelled"] == {**given, "scans": 1}
    assert version["examples"] == 12
    answer = version["report"]["labels"][0]["unlabelled"]
    assert (answer["scans"], answer["used"], answer["taught"]) == (1, False, 0)
    assert "other patients" in answer["because"]
    assert len(list(client.version_examples("k", 1))) == 12
    exported = client.export("k")
    copy = client.import_classifier("copy", exported)
    assert copy["report"]["labels"][0]["unlabelled"] == answer
    assert client.erase_subject("new")["classifiers"] == ["k"]
    nowhere = {**body, "name": "k2", "unlabelled": {"collection": "nowhere"}}
    with refused("unknown_item", 404):
        client.fit(nowhere)
    with refused("unknown_item", 404):  # at once, not in the operation
        client.fit(nowhere, respond_async=True)
    with refused("validation_error", 422):
        client.fit({**body, "name": "k2", "unlabelled": {"filter": {}}})
