"""Scans become a collection of their own, and near-duplicates are looked at side by side."""

import io

import pytest
from PIL import Image

from service.cli.demo import SAMPLES
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import EVERYTHING, Console

pytestmark = pytest.mark.browser


def store(api: Client, collection: str, data: bytes, scan_id: str, **facts: object) -> None:
    (item,) = api.add_scans(collection, [data], metadata=[{"scan_id": scan_id, **facts}])["items"]
    assert item["created"]


def recompressed(png: bytes) -> bytes:
    """The same picture as other pixels."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("L").save(file, "jpeg", quality=80)
    return file.getvalue()


def test_a_lasso_makes_a_collection_and_adds_to_it(console: Console, api: Client) -> None:
    api.create_collection("mixed", retention_days=400)
    for label in ("cyst", "a_lines"):
        for number, file in enumerate(sorted((SAMPLES / label).glob("*.png"))[:4]):
            facts = {"subject_id": f"{label}-{number}", "labels": {"scene": label}}
            store(api, "mixed", file.read_bytes(), file.stem, **facts)
    page = console.visit("Map")
    page.get_by_label("Collection", exact=True).select_option("mixed")
    page.get_by_text("8 scans. The plane shows").wait_for()
    page.get_by_role("button", name="Select all a_lines").click()
    page.get_by_label("Make a collection of them").fill("lines")
    page.get_by_role("button", name="Copy all 4").click()
    page.get_by_text("4 scans copied to the new collection lines.").wait_for()
    console.shot("map-collection")
    console.lasso(EVERYTHING)
    page.get_by_label("Make a collection of them").fill("lines")
    page.get_by_role("button", name="Copy all 8").click()
    page.get_by_text("4 scans copied to lines. 4 scans were there already.").wait_for()
    copies = {scan["scan_id"]: scan for scan in api.scans("lines")}
    for scan in api.scans("mixed"):
        facts = (scan["subject_id"], scan["labels"], scan["created_at"])
        copy = copies[scan["scan_id"]]
        assert (copy["subject_id"], copy["labels"], copy["created_at"]) == facts
    assert api.collection("lines")["retention_days"] == 400
    page.get_by_role("link", name="lines").click()
    page.get_by_role("heading", name="Scans of this collection").wait_for()
    assert page.get_by_label("Collection", exact=True).input_value() == "lines"


def test_one_picture_under_two_patients_is_shown_first_and_one_of_them_goes(
    console: Console, api: Client
) -> None:
    api.create_collection("twice")
    cyst, stone = (
        sorted((SAMPLES / name).glob("*.png"))[0].read_bytes() for name in ("cyst", "stone")
    )
    labels = {"finding": "cyst"}
    store(api, "twice", cyst, "first", subject_id="p1", labels=labels)
    store(api, "twice", recompressed(cyst), "repeat", subject_id="p1", labels=labels)
    store(api, "twice", cyst, "strange", subject_id="p2", labels=labels)
    store(api, "twice", stone, "other", subject_id="p3")
    page = console.visit("Label")
    page.get_by_role("button", name="Near-duplicates").click()
    page.get_by_label("Collection", exact=True).select_option("twice")
    page.get_by_text("3 pairs among 4 scans, 2 of two patients.").wait_for()
    similarity = page.get_by_label("From a similarity of")
    similarity.select_option("the encoder's own")
    page.get_by_text("The encoder calls pictures from a similarity of").wait_for()
    similarity.select_option("0.95")
    page.get_by_text("3 pairs among 4 scans, 2 of two patients.").wait_for()
    pairs = page.locator("li.pair")
    assert "One picture under two patients." in pairs.nth(0).inner_text()
    patients = pairs.nth(0).get_by_role("row", name="patient")
    assert patients.get_by_role("cell").all_inner_texts() == ["p1", "p2"]
    assert "are of one patient" in pairs.nth(2).inner_text()
    console.shot("label-duplicates")
    pairs.nth(2).get_by_role("button", name="Keep both").click()
    page.get_by_text("1 pair that you keep is hidden").wait_for()
    pairs.nth(0).get_by_role("button", name="Delete strange").click()
    page.get_by_role("dialog").get_by_text("It is stored for patient p2.").wait_for()
    page.get_by_role("button", name="Delete it", exact=True).click()
    page.get_by_text("strange was deleted.").first.wait_for()
    page.get_by_text("1 pair among 3 scans, 0 of two patients.").wait_for()
    assert sorted(scan["scan_id"] for scan in api.scans("twice")) == ["first", "other", "repeat"]


def test_pages_with_selected_scans_and_pairs_have_no_serious_fault(
    console: Console, api: Client
) -> None:
    api.create_collection("faults")
    cyst = sorted((SAMPLES / "cyst").glob("*.png"))[1].read_bytes()
    store(api, "faults", cyst, "a", subject_id="p1")
    store(api, "faults", cyst, "b", subject_id="p2")
    page = console.visit("Label")
    page.get_by_role("button", name="Near-duplicates").click()
    page.get_by_label("Collection", exact=True).select_option("faults")
    page.get_by_text("1 pair among 2 scans").wait_for()
    assert console.accessibility_faults() == []
    page = console.visit("Map")
    page.get_by_label("Collection", exact=True).select_option("faults")
    page.get_by_role("button", name="Select all scans").click()
    page.get_by_label("Make a collection of them").wait_for()
    assert console.accessibility_faults() == []
