"""Versions that are fitted to views of their examples, and asked with views."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.fewshot.portable import digest_of
from service.imaging.analysis.views import VIEWS, views_of
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.service.expected import BUNDLE, probabilities, refused

SCENES = ("cyst", "stone")
VIEWED = {"views": True}
OF_EXAMPLES = {"views": "examples"}


@pytest.fixture(scope="module")
def ward(tiny: LocalService, frames) -> Iterator[Client]:
    """``kept`` keeps its images and ``bare`` does not; ``viewed`` is fitted to views of uploads."""
    with Client(tiny.url, key=tiny.key) as client:
        for name, keeps in (("kept", True), ("bare", False)):
            client.create_collection(name, keep_images=keeps)
            for scene in SCENES:
                said = [{"scan_id": f"{scene}-{i}", "labels": {"t": scene}} for i in range(6)]
                client.add_scans(name, frames[scene][:6], said)
        images = [image for scene in SCENES for image in frames[scene][:6]]
        examples = [{"label": scene} for scene in SCENES for _ in range(6)]
        client.fit_images("viewed", images, examples, fields=VIEWED)
        yield client


def test_views_are_the_region_mirrored_cropped_and_curved() -> None:
    used_hw = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    views = views_of(used_hw)
    assert len(views) == VIEWS
    np.testing.assert_array_equal(views[0], used_hw)
    np.testing.assert_array_equal(views[1], used_hw[:, ::-1])
    for crop, (top, left) in zip(views[2:5], ((0, 0), (3, 4), (6, 9)), strict=True):
        np.testing.assert_array_equal(crop, used_hw[top : top + 34, left : left + 51])
    brighter, darker = views[5].astype(int) - used_hw, views[6].astype(int) - used_hw
    assert brighter.min() >= 0
    assert darker.max() <= 0


def test_a_version_with_views_answers_with_high_accuracy_and_no_other(ward: Client, frames) -> None:
    answer = ward.predict("viewed", frames["cyst"][7:9], accuracy="high")
    assert answer["accuracy"] == ward.classifier("viewed")["accuracy"] == "high"
    assert answer == ward.predict("viewed", frames["cyst"][7:9]) | {"items": answer["items"]}
    with refused("wrong_accuracy", 409):
        ward.predict("viewed", frames["cyst"][7:8], accuracy="standard")


def test_a_version_without_views_does_not_answer_with_high_accuracy(ward: Client, frames) -> None:
    ward.fit({"name": "plain", "collection": "kept", "task": "t", "views": False})
    assert ward.predict("plain", frames["cyst"][7:8])["accuracy"] == "standard"
    with refused("wrong_accuracy", 409):
        ward.predict("plain", frames["cyst"][7:8], accuracy="high")


def test_kept_pixels_teach_what_uploads_with_views_teach(ward: Client, frames) -> None:
    ward.fit({"name": "stored", "collection": "kept", "task": "t", **VIEWED})
    images = frames["cyst"][7:9] + frames["stone"][7:9]
    for one, other in zip(
        ward.predict("stored", images)["items"],
        ward.predict("viewed", images)["items"],
        strict=True,
    ):
        # The order of the examples differs, and with it the last digits of the solution.
        assert probabilities(one) == pytest.approx(probabilities(other), abs=2e-3)


def test_stored_scans_are_asked_with_views_of_their_kept_pixels(ward: Client, frames) -> None:
    (stored,) = ward.predict_scans("viewed", "kept", ["cyst-3"])["items"]
    (sent,) = ward.predict("viewed", frames["cyst"][3:4])["items"]
    assert probabilities(stored) == pytest.approx(probabilities(sent), abs=1e-6)
    assert stored["distance"] == pytest.approx(0, abs=1e-5)  # between embeddings of frames


def test_scans_without_kept_pixels_have_no_views(ward: Client) -> None:
    with refused("views_missing", 409):
        ward.predict_scans("viewed", "bare", ["cyst-3"])
    with refused("views_missing", 409) as caught:
        ward.fit({"name": "blind", "collection": "bare", "task": "t", **VIEWED})
    assert "12 of 12 examples" in str(caught.value)
    with pytest.raises(ApiError, match="unknown_item"):
        ward.classifier("blind")


def test_the_next_version_keeps_the_views_of_its_uploads(ward: Client, frames) -> None:
    more = [{"label": "cyst"}, {"label": "stone"}]
    added = [frames["cyst"][9], frames["stone"][9]]
    version = ward.change_examples("viewed", {"examples": more}, images=added)
    assert (version["examples"], version["accuracy"]) == (14, "high")
    plain = ward.change_examples("viewed", {"views": False})
    assert (plain["examples"], plain["accuracy"]) == (14, "standard")
    with refused("wrong_accuracy", 409):
        ward.predict("viewed", frames["cyst"][8:9], accuracy="high", version=plain["version"])
    taught = ward.change_examples("viewed", OF_EXAMPLES)
    assert (taught["accuracy"], taught["settings"]["views"]) == ("standard", "examples")
    again = ward.change_examples("viewed", VIEWED)
    assert again["accuracy"] == "high"


def test_uploads_of_a_fit_without_views_cannot_get_them_later(ward: Client, frames) -> None:
    images = frames["cyst"][:4] + frames["stone"][:4]
    examples = [{"label": s} for s in SCENES for _ in range(4)]
    ward.fit_images("single", images, examples, fields={"views": False})
    with refused("views_missing", 409):
        ward.change_examples("single", VIEWED)


def test_an_export_says_that_it_is_asked_with_views(ward: Client, frames) -> None:
    document = ward.export("viewed", version=1)
    assert (document["asked_with"], document["format_version"]) == ("views", 2)
    facts = {name: value for name, value in document.items() if name not in ("sha256", "signature")}
    for wrong in ({"format_version": 1}, {"asked_with": "frame"}):
        changed = facts | wrong
        with refused("invalid_artifact", 422):
            ward.import_classifier("wrong", changed | {"sha256": digest_of(changed)})
    imported = ward.import_classifier("copied", document)
    assert imported["accuracy"] == "high"
    (one,) = ward.predict("copied", frames["cyst"][8:9])["items"]
    (other,) = ward.predict("viewed", frames["cyst"][8:9], version=1)["items"]
    assert probabilities(one) == pytest.approx(probabilities(other), abs=1e-9)
    assert "asked_with" not in ward.export("plain", version=1)


def test_an_evaluation_asks_with_views_too(ward: Client, frames) -> None:
    body = {"examples": [{"label": "cyst"}, {"label": "stone"}], "allow_known": True}
    images = [frames["cyst"][8], frames["stone"][8]]
    (head,) = ward.evaluate("viewed", body, images=images, version=1)["items"]
    items = ward.predict("viewed", images, version=1)["items"]
    shares = [probabilities(item)[scene] for item, scene in zip(items, SCENES, strict=True)]
    expected = -float(np.mean(np.log(shares)))
    assert head["reliability"]["log_loss"] == pytest.approx(expected, abs=1e-3)


def test_a_clip_is_asked_with_views_of_its_frames(ward: Client, frames) -> None:
    pictures = [Image.open(io.BytesIO(data)).convert("L") for data in frames["cyst"][6:9]]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "TIFF", save_all=True, append_images=pictures[1:])
    answer = ward.predict("viewed", [buffer.getvalue()])
    assert len(answer["items"][0]["frames"]) == 3
    cine = ward.predict("viewed", frames["cyst"][6:9], cine=True)["cine"]
    assert sum(probabilities(cine).values()) == pytest.approx(1, abs=1e-5)


def test_unlabelled_scans_take_part_where_views_teach_and_not_where_they_ask(ward: Client) -> None:
    body = {"collection": "kept", "task": "t", "unlabelled": {"collection": "bare"}}
    with refused("invalid_input", 422):
        ward.fit({"name": "both", **body, **VIEWED})
    fitted = ward.fit({"name": "both", **body, **OF_EXAMPLES})
    (head,) = fitted["report"]["labels"]
    assert head["unlabelled"]["because"]


@pytest.fixture(scope="module")
def taught(ward: Client, frames) -> Client:
    """``taught`` is fitted to views of uploads, ``kept-views`` to those of stored scans."""
    images = [image for scene in SCENES for image in frames[scene][:6]]
    examples = [{"label": scene} for scene in SCENES for _ in range(6)]
    ward.fit_images("taught", images, examples, fields=OF_EXAMPLES)
    ward.fit({"name": "kept-views", "collection": "kept", "task": "t", **OF_EXAMPLES})
    return ward


def test_a_version_that_views_taught_is_asked_with_single_embeddings(
    taught: Client, frames
) -> None:
    answer = taught.predict("taught", frames["cyst"][7:9])
    assert answer["accuracy"] == taught.classifier("taught")["accuracy"] == "standard"
    with refused("wrong_accuracy", 409):
        taught.predict("taught", frames["cyst"][7:8], accuracy="high")
    (stored,) = taught.predict_scans("taught", "bare", ["cyst-3"])["items"]  # keeps no pixels
    (sent,) = taught.predict("taught", frames["cyst"][3:4])["items"]
    assert probabilities(stored) == pytest.approx(probabilities(sent), abs=1e-6)


def test_views_of_kept_pixels_and_of_uploads_teach_the_same(taught: Client, frames) -> None:
    images = frames["cyst"][7:9] + frames["stone"][7:9]
    answers = [taught.predict(name, images)["items"] for name in ("taught", "kept-views")]
    for one, other in zip(*answers, strict=True):
        # The order of the examples differs, and with it the last digits of the solution.
        assert probabilities(one) == pytest.approx(probabilities(other), abs=2e-3)


def test_the_next_version_learns_the_stored_views_of_its_uploads(taught: Client, frames) -> None:
    more = [{"label": "cyst"}, {"label": "stone"}]
    version = taught.change_examples(
        "taught", {"examples": more}, images=[frames["cyst"][9], frames["stone"][9]]
    )
    assert (version["examples"], version["settings"]["views"]) == (14, "examples")
    with refused("views_missing", 409):
        taught.fit({"name": "blind", "collection": "bare", "task": "t", **OF_EXAMPLES})


def test_an_export_of_a_version_that_views_taught_is_an_ordinary_one(
    taught: Client, frames
) -> None:
    document = taught.export("kept-views")
    assert (document["format_version"], "asked_with" in document) == (1, False)
    taught.import_classifier("copied-views", document)
    one, other = (
        taught.predict(name, frames["stone"][8:9])["items"][0]
        for name in ("copied-views", "kept-views")
    )
    assert probabilities(one) == pytest.approx(probabilities(other), abs=1e-9)


def test_a_fit_learns_no_views_unless_it_is_asked_to(taught: Client, frames) -> None:
    images, examples = frames["cyst"][:2] + frames["stone"][:2], [{"label": s} for s in "aabb"]
    taught.fit_images("unasked", images, examples)
    settings = taught.version("unasked", 1)["settings"]
    assert settings["views"] is False
    assert settings["views_chosen_by"] == "default: no views unless they are asked for"


@pytest.fixture(scope="module")
def viewing(tmp_path_factory: pytest.TempPathFactory, frames) -> Iterator[Client]:
    """A service whose operator lets small fits learn views unasked; ``bare`` keeps no images."""
    folder = tmp_path_factory.mktemp("viewing")
    settings = Settings(
        data_dir=folder, bundle_dir=BUNDLE, drain_s=0, audit=False, max_default_views=60
    )
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        client.create_collection("bare", keep_images=False)
        client.add_scans("bare", frames["cyst"][3:4], [{"scan_id": "cyst-3"}])
        yield client


def test_uploads_teach_their_views_where_the_operator_says_so(viewing: Client, frames) -> None:
    images = [image for scene in SCENES for image in frames[scene][:6]]
    examples = [{"label": scene} for scene in SCENES for _ in range(6)]
    viewing.fit_images("default", images, examples)
    viewing.fit_images("told", images, examples, fields=OF_EXAMPLES)
    version = viewing.version("default", 1)
    assert (version["accuracy"], version["settings"]["views"]) == ("standard", "examples")
    assert version["settings"]["views_chosen_by"] == "default: every example has views"
    one, other = (
        viewing.predict(name, frames["stone"][8:9])["items"][0] for name in ("default", "told")
    )
    assert probabilities(one) == pytest.approx(probabilities(other), abs=1e-9)
    more = [{"label": "cyst"}, {"label": "stone"}]
    added = [frames["cyst"][9], frames["stone"][9]]
    later = viewing.change_examples("default", {"examples": more}, images=added)
    assert (later["examples"], later["settings"]["views"]) == (14, "examples")


def test_a_clip_or_a_scan_without_pixels_leaves_uploads_without_views(
    viewing: Client, frames
) -> None:
    pictures = [Image.open(io.BytesIO(data)).convert("L") for data in frames["cyst"][6:9]]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "TIFF", save_all=True, append_images=pictures[1:])
    said = [{"label": "cyst"}, {"label": "stone"}]
    viewing.fit_images("clip", [buffer.getvalue(), frames["stone"][0]], said)
    mixed = [*said, {"scan_id": "cyst-3", "label": "cyst"}]
    images = [frames["cyst"][0], frames["stone"][0]]
    viewing.fit_images("mixed", images, mixed, fields={"collection": "bare"})
    for name, missing in (("clip", "1 of 2"), ("mixed", "3 of 3")):
        settings = viewing.version(name, 1)["settings"]
        assert settings["views"] is False
        assert settings["views_chosen_by"] == f"default: {missing} examples have no views"
