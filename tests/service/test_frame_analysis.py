"""Over HTTP: regions, masked writing, risk and quality are told, kept, and refused on demand."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.embedding.onnx_session import open_text_finder
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import ApiError
from sonoprobe_client import PlainClient as Client
from tests.imaging import dicom_files as made
from tests.imaging.screens import HEADER_RGB, crowded_screen, fan, say, screen, speckle
from tests.service.expected import BUNDLE


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def door(tiny: LocalService) -> Iterator[Client]:
    with Client(tiny.url, key=tiny.key) as client:
        yield client


def only(answer: dict[str, Any]) -> dict[str, Any]:
    (item,) = answer["items"]
    return item


def test_an_embedding_says_what_was_looked_at(door: Client) -> None:
    frame, box = screen()
    seen = only(door.embed([png(frame)]))["image"]
    (region,) = seen["regions"]
    assert region["found"] == "pixels"
    assert region["box"] == pytest.approx(box, abs=8)
    assert seen["burned_in_risk"] == "none"
    assert seen["quality"] == []
    assert seen["masked_px"] > 250_000


def test_what_lies_outside_the_region_changes_nothing_and_inside_it_does(door: Client) -> None:
    frame, _ = screen()
    other = frame.copy()
    say(other, "OTHER, NAME", 400, 27)
    changed = frame.copy()
    changed[200:300, 300:400] = 0
    items = door.embed([png(frame), png(other), png(changed)])["items"]
    digests = [item["image"]["content_sha256"] for item in items]
    assert digests[0] == digests[1]
    assert digests[2] != digests[0]
    assert items[0]["embedding"] == items[1]["embedding"]


def test_a_caller_may_give_a_box_or_switch_the_region_off(door: Client) -> None:
    frame, _ = screen()
    boxed = only(door.embed([png(frame)], region="300,200,500,400"))["image"]
    assert boxed["regions"][0]["box"] == [300, 200, 500, 400]
    off = only(door.embed([png(frame)], region="none"))["image"]
    assert off["regions"][0]["found"] == "whole"
    assert off["masked_px"] == 0
    assert off["burned_in_risk"] == "high"
    for region, code in (("0,0,801,600", "invalid_input"), ("left half", "validation_error")):
        with pytest.raises(ApiError) as caught:
            door.embed([png(frame)], region=region)
        assert (caught.value.code, caught.value.status) == (code, 422)


def test_a_stored_thumbnail_holds_no_writing_and_the_scan_remembers_the_look(door: Client) -> None:
    frame, _ = screen(3)
    say(frame, "DOE, JANE", 300, 300, grey=255, size=0.9)
    door.create_collection("ward")
    scan = only(door.add_scans("ward", [png(frame)]))["scan"]
    again = door.scan("ward", scan["scan_id"])["image"]
    assert again == scan["image"]
    assert again["burned_in_risk"] == "low"
    assert again["burned_in_reasons"] == ["text_masked"]
    small = np.asarray(Image.open(io.BytesIO(door.thumbnail("ward", scan["scan_id"]))))
    large = np.asarray(Image.fromarray(small).resize((small.shape[1] * 2, small.shape[0] * 2)))
    assert open_text_finder().find(large) == ()
    door.delete_collection("ward")


def test_the_same_scan_under_another_banner_is_one_scan(door: Client) -> None:
    frame, _ = screen(5)
    other = frame.copy()
    say(other, "ANOTHER", 500, 27)
    door.create_collection("twice")
    items = door.add_scans("twice", [png(frame), png(other)])["items"]
    assert [item["created"] for item in items] == [True, False]
    door.delete_collection("twice")


def test_a_collection_refuses_what_its_settings_name_and_nothing_else(door: Client) -> None:
    intake = {"refuse_burned_in": "low", "refuse_quality": ["blank"]}
    made = door.create_collection("strict", intake=intake)
    assert made["intake"] == intake | {"high_risk_thumbnails": False}
    assert door.collection("strict")["intake"] == made["intake"]
    good, _ = screen(7)
    named = screen(8)[0]
    say(named, "DOE, JANE", 300, 300, grey=255, size=0.9)
    blank = np.full((200, 200), 5, np.uint8)
    items = door.add_scans("strict", [png(good), png(named), png(blank)])["items"]
    assert "scan" in items[0]
    assert [item["problem"]["code"] for item in items[1:]] == ["frame_refused"] * 2
    assert door.collection("strict")["scans"] == 1
    with pytest.raises(ApiError) as caught:
        door.request(
            "POST",
            "/v1/collections/strict/scans",
            content=png(named),
            headers={"Content-Type": "image/png"},
        )
    assert caught.value.code == "frame_refused"
    assert "DOE" not in str(caught.value)
    door.delete_collection("strict")


def page_of_names() -> np.ndarray:
    """Writing from edge to edge and no scan: the analysis cannot vouch for it."""
    page = np.zeros((400, 600), np.uint8)
    for line in range(8):
        say(page, "DOE, JANE 1961-04-02 4711", 30, 60 + 40 * line, size=0.8)
    return page


def test_a_picture_of_high_risk_has_no_thumbnail_unless_the_collection_asks(door: Client) -> None:
    file = png(page_of_names())
    door.create_collection("careful", keep_images=True)
    scan = only(door.add_scans("careful", [file], [{"scan_id": "page"}]))["scan"]
    assert scan["image"]["burned_in_risk"] == "high"
    with pytest.raises(ApiError) as caught:
        door.thumbnail("careful", "page")
    assert (caught.value.status, caught.value.code) == (404, "no_thumbnail")
    assert "high_risk_thumbnails" in str(caught.value)
    with pytest.raises(ApiError) as unknown:
        door.thumbnail("careful", "other")
    assert unknown.value.code == "unknown_item"
    door.create_collection("daring", intake={"high_risk_thumbnails": True})
    door.add_scans("daring", [file], [{"scan_id": "page"}])
    assert door.thumbnail("daring", "page")[:2] == b"\xff\xd8"
    for name in ("careful", "daring"):
        door.delete_collection(name)


def test_a_screen_with_panes_and_a_header_is_two_regions_without_the_name(door: Client) -> None:
    panes = [speckle(380, 300, 1), fan(400, 300, 2)]
    frame, boxes, _ = crowded_screen(panes)
    renamed = frame.copy()
    renamed[:40] = HEADER_RGB
    say(renamed, "OTHER, NAME 4712", 60, 26, size=0.5)
    one, other = door.embed([png(frame), png(renamed)])["items"]
    assert one["image"]["regions_used"] == 2
    assert one["image"]["burned_in_risk"] == "none"
    assert one["image"]["content_sha256"] == other["image"]["content_sha256"]
    left = min(region["box"] for region in one["image"]["regions"])
    assert left[0] == pytest.approx(boxes[0][0], abs=10)


def test_a_plain_still_of_two_panes_is_embedded_by_the_larger_and_other_files_by_both(
    door: Client,
) -> None:
    frame, _, _ = crowded_screen([speckle(380, 300, 1), fan(400, 300, 2)])
    tiff = io.BytesIO()
    Image.fromarray(frame).save(tiff, "TIFF")
    still, page = door.embed([png(frame), tiff.getvalue()], pool="none")["items"]
    assert still["image"]["content_sha256"] == page["image"]["content_sha256"]
    for item in (still, page):
        assert [region["region"] for region in item["frames"]] == [0, 1]
    panes_2D = np.array([region["embedding"] for region in still["frames"]])
    np.testing.assert_allclose(still["embedding"], panes_2D[0], atol=1e-6)
    mean_D = panes_2D.mean(0) / np.linalg.norm(panes_2D.mean(0))
    np.testing.assert_allclose(page["embedding"], mean_D, atol=1e-3)
    assert float(mean_D @ panes_2D[0]) < 0.999


def test_a_frozen_clip_is_told_and_refused_on_demand(door: Client) -> None:
    still, _ = screen(9)
    rng = np.random.default_rng(0)
    frozen = np.stack([still] * 6)
    moving = np.clip(frozen + rng.normal(0, 6, frozen.shape), 0, 255).astype(np.uint8)
    clips = [made.dicom(frozen, made.RLE), made.dicom(moving, made.RLE)]
    items = door.embed(clips, frames="all")["items"]
    found = [[f["reason"] for f in item["image"]["quality"]] for item in items]
    assert found == [["frozen"], []]
    door.create_collection("moving", intake={"refuse_quality": ["frozen"]})
    items = door.add_scans("moving", clips, frames="all")["items"]
    assert items[0]["problem"]["code"] == "frame_refused"
    assert "scan" in items[1]
    door.delete_collection("moving")


def test_by_default_a_collection_advises_only(door: Client) -> None:
    assert door.create_collection("mild")["intake"] == {
        "refuse_burned_in": None,
        "refuse_quality": [],
        "high_risk_thumbnails": False,
    }
    blank = only(door.add_scans("mild", [png(np.full((200, 200), 5, np.uint8))]))["scan"]["image"]
    assert [finding["reason"] for finding in blank["quality"]] == ["blank"]
    door.delete_collection("mild")


def test_a_search_takes_a_region_as_well(door: Client) -> None:
    door.create_collection("find")
    frames = [png(screen(seed)[0]) for seed in range(10, 16)]
    said = [{"subject_id": f"p{i}", "labels": {"t": "ab"[i % 2]}} for i in range(6)]
    door.add_scans("find", frames, said)
    found = door.search_image("find", frames[0], {"k": 1, "region": "300,200,500,400"})
    assert found["query"]["images"][0]["regions"][0]["found"] == "caller"
    assert found["items"][0]["score"] < 0.9999
    same = door.search_image("find", frames[0], {"k": 1})
    assert same["items"][0]["score"] == pytest.approx(1, abs=1e-5)
    door.delete_collection("find")


def test_a_prediction_takes_a_region_as_well(door: Client) -> None:
    frame, _ = screen()
    marked = frame.copy()
    marked[200:400, 300:500] = 255 - marked[200:400, 300:500]
    files = [png(screen(seed)[0]) for seed in range(20, 28)]
    door.fit_images("sides", files, [{"label": "ab"[i % 2]} for i in range(8)])
    for region_mode, found in (
        ("300,200,500,400", "caller"),
        ("none", "whole"),
        ("auto", "pixels"),
    ):
        item = only(door.predict("sides", [png(frame)], region=region_mode))
        assert item["image"]["regions"][0]["found"] == found
    beside = {"region": "222,92,298,198"}  # what lies outside the box changes nothing
    plain, other = (only(door.predict("sides", [png(f)], **beside)) for f in (frame, marked))
    assert plain["outputs"] == other["outputs"]
    with pytest.raises(ApiError) as caught:
        door.predict("sides", [png(frame)], region="left half")
    assert caught.value.status == 422
    door.delete_classifier("sides")


def test_a_service_may_be_set_to_whole_frames(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, bundle_dir=BUNDLE, drain_s=0, region="none")
    frame, _ = screen()
    with local_service(settings) as running, Client(running.url, key=running.key) as client:
        assert only(client.embed([png(frame)]))["image"]["regions"][0]["found"] == "whole"
        asked = only(client.embed([png(frame)], region="auto"))["image"]
        assert asked["regions"][0]["found"] == "pixels"
