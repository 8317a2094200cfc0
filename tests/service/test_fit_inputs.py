"""What classifiers learn from: each odd request is answered clearly, and none is half-stored."""

import hashlib
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.catalog.records import NewScan, ScanImage
from service.fewshot.classifier_fit import fit_classifier
from service.fewshot.portable import to_document
from service.server import LocalService
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import refused


@pytest.fixture
def desk(tiny: LocalService) -> Iterator[Client]:
    """A client whose test leaves no classifier behind."""
    with Client(tiny.url, key=tiny.key, timeout_s=300) as client:
        yield client
        for found in list(client.classifiers()):
            client.delete_classifier(found["name"])


def saved_again(image: bytes, compress_level: int) -> bytes:
    """The same pixels in other bytes."""
    out = io.BytesIO()
    Image.open(io.BytesIO(image)).save(out, "PNG", compress_level=compress_level)
    return out.getvalue()


def test_equal_pictures_of_different_labels_are_named_and_store_nothing(desk, frames) -> None:
    images = [*frames["cyst"][:3], *frames["stone"][:3], saved_again(frames["cyst"][1], 1)]
    assert len(set(images)) == 7
    said = [{"label": name} for name in ["cyst"] * 3 + ["stone"] * 4]
    names = [f"file {i} (sha256 {hashlib.sha256(images[i]).hexdigest()[:12]})" for i in (1, 6)]
    with pytest.raises(ApiError, match=re.escape(f"{names[0]} and {names[1]}")) as caught:
        desk.fit_images("k", images, said)
    assert (caught.value.code, caught.value.status) == ("conflicting_labels", 422)
    assert list(desk.classifiers()) == []


def test_one_file_sent_twice_under_two_labels_is_named_by_its_places(desk, frames) -> None:
    images = [*frames["cyst"][:2], frames["stone"][0], frames["cyst"][0]]
    said = [{"label": name} for name in ("cyst", "cyst", "stone", "stone")]
    with pytest.raises(ApiError, match=r"file 0 .* and file 3 ") as caught:
        desk.fit_images("k", images, said)
    assert caught.value.code == "conflicting_labels"


def test_a_blank_class_name_is_told_as_such(desk, frames) -> None:
    images = [frames["cyst"][0], frames["stone"][0]]
    with pytest.raises(ApiError, match="not blank"):
        desk.fit_images("k", images, [{"label": "cyst"}, {"label": " "}])


def test_pictures_that_merely_look_alike_and_contradict_are_listed(client, frames) -> None:
    """With the shipped encoder, which sees through a little noise."""
    with Image.open(io.BytesIO(frames["cyst"][1])) as opened:
        pixels_HW = np.asarray(opened.convert("L")).astype(np.int64)
    noise_HW = np.random.default_rng(0).integers(-3, 4, pixels_HW.shape)
    out = io.BytesIO()
    Image.fromarray((pixels_HW + noise_HW).clip(0, 255).astype(np.uint8)).save(out, "PNG")
    images = [*frames["cyst"][:3], *frames["stone"][:3], out.getvalue()]
    said = [{"label": name} for name in "aaabbbb"]
    client.fit_images("odd", images, said, fields={"views": False})
    found, examples = client.review("odd", "conflict"), list(client.version_examples("odd", 1))
    client.delete_classifier("odd")
    assert found["total"] == len(found["items"]) >= 1
    worst = found["items"][0]
    named = {worst["example"]["example_id"], worst["other"]["example_id"]}
    assert named == {examples[1]["example_id"], examples[6]["example_id"]}
    assert {worst["example"]["label"], worst["other"]["label"]} == {"a", "b"}
    assert 0.85 < worst["similarity"] < 1


def test_a_label_that_goes_takes_its_threshold_and_weight_along(desk, frames) -> None:
    images = frames["cyst"][:2] + frames["mass"][:2] + frames["stone"][:2]
    said = [{"labels": labels} for labels in (["a"], [], ["a"], ["b"], [], ["a"])]
    fields = {"kind": "multi_label", "thresholds": {"b": 0.3, "a": 0.4}, "class_weights": {"b": 2}}
    desk.fit_images("k", images, said, fields=fields)
    dropped = list(desk.version_examples("k", 1))[3]["example_id"]
    second = desk.change_examples("k", {"drop": [{"example_id": dropped}]})
    assert second["classes"] == ["a"]
    assert second["settings"]["thresholds"] == {"a": 0.4}
    assert "class_weights" not in second["settings"]


def test_frames_of_one_patient_count_once_and_the_answer_says_how_many_do(desk, frames) -> None:
    images = frames["cyst"][:8] + frames["stone"][:4]
    said = [{"label": "cyst", "subject_id": f"c{i // 4}"} for i in range(8)]
    said += [{"label": "stone", "subject_id": f"s{i}"} for i in range(4)]
    report = desk.fit_images("k", images, said)["report"]
    assert (report["groups"], report["effective_examples"]) == (6, 6)
    assert report["grouping"]["without_ids"] == 0
    each = desk.fit_images("each", images, said, fields={"counted": "frames", "views": False})
    assert each["report"]["effective_examples"] == 12
    assert desk.version("each", 1)["settings"] == {"counted": "frames", "views": False}


def test_class_weights_are_kept_by_the_next_version_until_they_are_changed(desk, frames) -> None:
    images = frames["cyst"][:4] + frames["stone"][:4]
    said = [{"label": name, "subject_id": f"{name}{i}"} for name in ("a", "b") for i in range(4)]
    weights = {"class_weights": {"a": 3}}
    first = desk.fit_images("k", images, said, fields=weights)
    assert first["report"]["labels"][0]["class_weights"] == {"a": 1.5, "b": 0.5}
    more = {"examples": [{"label": "a", "subject_id": "a9"}]}
    second = desk.change_examples("k", more, images=frames["cyst"][4:5])
    assert second["report"]["labels"][0]["class_weights"] == {"a": 1.5, "b": 0.5}
    example_id = next(iter(desk.version_examples("k", 2)))["example_id"]
    back = {"class_weights": "balanced", "drop": [{"example_id": example_id}]}
    assert desk.change_examples("k", back)["report"]["labels"][0]["class_weights"] is None
    with refused("invalid_input", 422):
        desk.fit_images("no", images, said, fields={"class_weights": {"c": 2}})
    with refused("validation_error", 422):
        desk.fit_images("no", images, said, fields={"class_weights": {"a": -1}})
    assert [found["name"] for found in desk.classifiers()] == ["k"]


def test_missing_patient_ids_are_said_and_copies_count_once(client, frames) -> None:
    """With the shipped encoder, whose likeness is measured."""
    copies = [saved_again(frames["cyst"][0], level) for level in (1, 3, 9)]
    images = [*frames["cyst"][:3], *copies, *frames["stone"][:3]]
    said = [{"label": "cyst"}] * 6 + [{"label": "stone"}] * 3
    report = client.fit_images("bare", images, said, fields={"views": False})["report"]
    client.delete_classifier("bare")
    assert report["grouping"]["without_ids"] == 9
    assert report["grouping"]["joined_by_similarity"] >= 4
    assert report["effective_examples"] <= 6
    assert report["warnings"][0].startswith("patient ids are missing for 9 of 9 examples")


def test_a_copy_without_an_id_joins_the_patient_that_it_copies(client, frames) -> None:
    images = [frames["cyst"][0], saved_again(frames["cyst"][0], 1), *frames["stone"][:2]]
    said = [{"label": "a", "subject_id": "p1"}, {"label": "a"}]
    said += [{"label": "b", "subject_id": f"q{i}"} for i in range(2)]
    client.fit_images("half", images, said, fields={"views": False})
    groups = [example["group"] for example in client.version_examples("half", 1)]
    client.delete_classifier("half")
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_a_hundred_classes_of_one_example_are_fitted_and_admit_what_is_not_known(desk) -> None:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(100):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(out, "PNG")
        images.append(out.getvalue())
    said = [{"label": f"c{i}", "subject_id": f"p{i}"} for i in range(100)]
    made = desk.fit_images("k", images, said, fields={"views": False})
    assert len(made["classes"]) == 100
    assert made["report"]["not_evaluated_because"]
    answer = desk.predict("k", images[7:8])
    assert answer["items"][0]["most_probable"] == "c7"
    assert answer["prediction_sets"][0]["not_enough_because"]


@pytest.mark.parametrize(
    "labels", [["a"] * 4, ["a", "a", "b", "x" * 10_000], ["a", "a", "b", ""], ["a", "a", "b", "  "]]
)
def test_one_class_and_names_that_are_none_fit_nothing(desk, frames, labels) -> None:
    with pytest.raises(ApiError) as caught:
        desk.fit_images("k", frames["cyst"][:4], [{"label": label} for label in labels])
    assert caught.value.status == 422
    assert caught.value.code in {"not_enough_examples", "validation_error", "invalid_input"}
    assert list(desk.classifiers()) == []


@pytest.mark.parametrize("array", ["weights_CD", "scores_M"])
def test_an_import_whose_numbers_are_none_is_refused_even_with_a_right_digest(
    desk, tiny, array: str
) -> None:
    encoder = tiny.running().pipeline.encoder
    rows = np.random.default_rng(0).normal(size=(24, encoder.dim)).astype(np.float32)
    labels = ["a", "b"] * 12
    groups = [str(i) for i in range(24)]
    fitted = fit_classifier(rows, {None: labels}, groups, encoder_id=encoder.encoder_id)
    desk.import_classifier("good", to_document(fitted.classifier))
    head = fitted.classifier.heads[None]
    if array == "scores_M":
        head.calibrator.conformal.scores_M[0] = np.nan
    else:
        head.head.weights_CD[0, 0] = np.nan
    with refused("invalid_artifact", 422):
        desk.import_classifier("bad", to_document(fitted.classifier))
    assert [found["name"] for found in desk.classifiers()] == ["good"]


def test_an_unreadable_picture_among_good_ones_fits_nothing(desk, frames) -> None:
    images = [*frames["cyst"][:3], b"GIF89a", *frames["stone"][:3]]
    with pytest.raises(ApiError, match="file 3"):
        desk.fit_images("k", images, [{"label": name} for name in "aaaabbb"])
    assert list(desk.classifiers()) == []


@pytest.mark.slow
@pytest.mark.parametrize("with_ids", [True, False])
def test_two_classes_of_fifty_thousand_stored_scans_are_fitted(desk, tiny, with_ids: bool) -> None:
    running, name = tiny.running(), f"large-{with_ids}".lower()
    dim, workspace_id = running.pipeline.encoder.dim, running.default_workspace_id
    running.gallery.create(workspace_id, name, "")
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(2, dim))
    for start in range(0, 100_000, 5000):
        numbers = np.arange(start, start + 5000)
        rows = ways[numbers % 2] + 2 * rng.normal(size=(5000, dim))
        unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        scans = [
            NewScan(
                None,
                _image(hashlib.sha256(str(n).encode()).hexdigest()),
                row,
                b"",
                subject_id=f"p{n // 10}" if with_ids else None,
                labels={"t": "ab"[n % 2]},
            )
            for n, row in zip(numbers.tolist(), unit, strict=True)
        ]
        running.gallery.store(workspace_id, name, scans)
    report = desk.fit({"name": "k", "collection": name, "task": "t"})["report"]
    assert report["labels"][0]["examples_per_class"] == {"a": 50_000, "b": 50_000}
    assert report["effective_examples"] == (20_000 if with_ids else 100_000)
    assert report["balanced_accuracy"] > 0.6
    said = " ".join(report["warnings"])
    assert ("too many to look for copies" in said) is not with_ids


def _image(digest: str) -> ScanImage:
    return ScanImage(digest, "frame", "png", 1, 1, digest)
