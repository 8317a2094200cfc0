"""Slow networks, requests that fail in the middle, two people at once, keys that are held down."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.cli.demo import SAMPLES
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
pytestmark = pytest.mark.browser
ANSWERS = ".answers button:enabled"  # they can be pressed once the picture is seen


def frames(label: str, count: int) -> list[Path]:
    return sorted((SAMPLES / label).glob("*.png"))[:count]


def queue(api: Client, name: str) -> None:
    """A collection with four labelled and four other scans, and a classifier of its name."""
    api.create_collection(name)
    for label in ("cyst", "mass"):
        for number, file in enumerate(frames(label, 4)):
            labels = {"finding": label} if number < 2 else {}
            metadata = {"scan_id": file.stem, "subject_id": file.stem, "labels": labels}
            api.add_scans(name, [file.read_bytes()], metadata=[metadata])
    api.fit({"name": name, "collection": name, "task": "finding"})


def open_queue(console: Console, name: str) -> "Page":
    page = console.visit("Label")
    page.get_by_label("Classifier", exact=True).select_option(name)
    page.get_by_role("heading", name="Scan 1 of 4").wait_for()
    page.locator(ANSWERS).first.wait_for()
    return page


class FirstIsLate:
    """Holds the first request of a kind until ``release``; the others pass."""

    def __init__(self, page: "Page", pattern: str) -> None:
        self.held: list[Route] = []
        self.seen = 0
        page.route(pattern, self._take)

    def _take(self, route: "Route") -> None:
        if route.request.method == "OPTIONS":
            route.continue_()
            return
        self.seen += 1
        if self.seen == 1:
            self.held.append(route)
        else:
            route.continue_()

    def release(self, page: "Page") -> None:
        with page.expect_event("requestfinished", timeout=20_000):
            self.held[0].continue_()
        page.wait_for_load_state("networkidle")


def test_a_late_answer_to_an_earlier_search_does_not_replace_that_to_the_last_one(
    console: Console, taught: str
) -> None:
    page = console.visit("Search")
    page.get_by_label("Collection", exact=True).select_option("ward")
    page.get_by_role("button", name="Find similar to cyst_00").wait_for()
    searches = FirstIsLate(page, "**/collections/ward/search")
    page.get_by_label("Choose files").set_input_files(frames("cyst", 1))
    page.get_by_role("status").filter(has_text="Searching").wait_for()
    page.get_by_label("Choose files").set_input_files(frames("stone", 1))
    page.locator("ol.grid strong").first.wait_for()
    before = page.locator("ol.grid strong").all_inner_texts()
    assert before[0] == "finding: stone"
    late = searches.held[0]
    with contextlib.suppress(playwright.Error):  # the page may have given the request up
        late.fulfill(response=late.fetch())
    # Asked after the late answer was there, so that the page has had it before this one.
    page.evaluate("fetch('style.css').then(() => new Promise((done) => setTimeout(done)))")
    assert page.locator("ol.grid strong").all_inner_texts() == before


def test_answers_to_two_drops_are_both_kept(console: Console, taught: str) -> None:
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_text("Version 1 tells").wait_for()
    asked = FirstIsLate(page, "**/predict?*")
    page.get_by_label("Choose files").set_input_files(frames("cyst", 1))
    page.get_by_text("Asking: 0 of 1").wait_for()
    page.get_by_label("Choose files").set_input_files(frames("stone", 1))
    page.locator("article.answer").wait_for()
    asked.release(page)
    page.locator("article.answer").nth(1).wait_for()
    names = page.locator("article.answer .file-name").all_inner_texts()
    assert sorted(name.split(",")[0] for name in names) == ["cyst_00.png", "stone_00.png"]


def test_a_key_that_is_held_down_labels_one_scan(console: Console, api: Client) -> None:
    queue(api, "held")
    page = open_queue(console, "held")
    page.keyboard.down("1")
    page.get_by_role("heading", name="Scan 2 of 4").wait_for()
    page.locator(ANSWERS).first.wait_for()
    for _ in range(3):
        page.keyboard.down("1")  # the repetitions of a key that stays down
        page.wait_for_timeout(200)
    page.keyboard.up("1")
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("heading", name="Scan 2 of 4").is_visible()
    assert sum(bool(scan["labels"]) for scan in api.scans("held")) == 5


def test_a_scan_is_labelled_only_when_its_picture_is_there(console: Console, api: Client) -> None:
    queue(api, "unseen")
    held: list[Route] = []
    is_slow = True

    def take(route: "Route") -> None:
        if is_slow:
            held.append(route)
        else:
            route.continue_()

    console.page.route("**/collections/unseen/scans/*/thumbnail", take)
    page = console.visit("Label")
    page.get_by_label("Classifier", exact=True).select_option("unseen")
    page.get_by_role("heading", name="Scan 1 of 4").wait_for()
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert page.get_by_role("heading", name="Scan 1 of 4").is_visible()
    assert page.locator(".answers button").first.is_disabled()
    is_slow = False
    for route in held:
        route.continue_()
    page.locator(ANSWERS).first.wait_for()
    page.keyboard.press("1")
    page.get_by_role("heading", name="Scan 2 of 4").wait_for()


def test_a_label_of_another_reader_is_not_overwritten_unseen(console: Console, api: Client) -> None:
    queue(api, "shared")
    page = open_queue(console, "shared")
    for scan in list(api.scans("shared")):
        if not scan["labels"]:
            api.patch_scan("shared", scan["scan_id"], {"labels": {"finding": "other reader"}})
    page.keyboard.press("1")
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("heading", name="Scan 1 of 4").is_visible()
    labels = [scan["labels"].get("finding") for scan in api.scans("shared")]
    assert labels.count("other reader") == 4


def test_an_answer_that_was_taken_back_can_be_given_again(console: Console, api: Client) -> None:
    queue(api, "again")
    page = open_queue(console, "again")
    page.keyboard.press("1")
    page.get_by_role("heading", name="Scan 2 of 4").wait_for()
    page.keyboard.press("u")
    page.get_by_role("heading", name="Scan 1 of 4").wait_for()
    page.locator(ANSWERS).first.wait_for()
    page.keyboard.press("2")
    page.get_by_role("heading", name="Scan 2 of 4").wait_for()
    assert page.get_by_role("alert").count() == 0


def test_labels_that_were_stored_before_a_failure_can_be_taken_back(
    console: Console, api: Client
) -> None:
    api.create_collection("broken")
    for file in frames("a_lines", 4):
        metadata = {"scan_id": file.stem, "labels": {"scene": "a"}}
        api.add_scans("broken", [file.read_bytes()], metadata=[metadata])
    page = console.visit("Map")
    page.get_by_label("Collection", exact=True).select_option("broken")
    page.get_by_role("button", name="Select all a").click()
    asked = 0

    def fail_third(route: "Route") -> None:
        nonlocal asked
        asked += route.request.method == "PATCH"
        if asked == 3:
            route.abort()
        else:
            route.continue_()

    page.route("**/collections/broken/scans/*", fail_third)
    page.get_by_label("New label for “scene”").fill("b")
    page.get_by_role("button", name="Label all 4").click()
    page.get_by_text("2 labels stored, the others not.").wait_for()
    assert sorted(scan["labels"]["scene"] for scan in api.scans("broken")) == ["a", "a", "b", "b"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("2 labels stored").wait_for(state="detached")
    assert {scan["labels"]["scene"] for scan in api.scans("broken")} == {"a"}


def test_a_receipt_stays_that_of_the_patient_who_was_erased(console: Console, api: Client) -> None:
    api.create_collection("receipts")
    (file,) = frames("b_lines", 1)
    api.add_scans("receipts", [file.read_bytes()], metadata=[{"subject_id": "erased one"}])
    page = console.visit("Data")
    page.get_by_role("button", name="Patients").click()
    page.get_by_label("Pseudonym of the patient").fill("erased one")
    page.get_by_role("button", name="Show what is held").click()
    page.get_by_role("button", name="Erase this patient").click()
    page.get_by_role("button", name="Erase for good").click()
    page.get_by_role("heading", name="Receipt").wait_for()
    page.get_by_label("Pseudonym of the patient").fill("somebody else")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the receipt").click()
    receipt = json.loads(Path(download.value.path()).read_text())
    assert receipt["subject_id"] == "erased one"
    assert page.get_by_text("Patient erased one: 1 scan erased.").is_visible()


def test_an_outcome_that_could_not_be_stored_is_not_shown_as_stored(
    console: Console, taught: str
) -> None:
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_text("Version 1 tells").wait_for()
    page.get_by_label("Choose files").set_input_files(frames("mass", 1))
    outcome = page.get_by_label("It turned out to be")
    outcome.select_option("mass")
    page.get_by_text("Stored: mass.").wait_for()
    page.route("**/outcomes", lambda route: route.abort())
    outcome.select_option("cyst")
    page.get_by_text("“cyst” is not stored.").wait_for()
    assert page.get_by_text("Stored: mass.").is_visible()
    page.unroute("**/outcomes")
    page.get_by_role("button", name="Store it again").click()
    page.get_by_text("Stored: cyst.").wait_for()


def test_a_saved_filter_of_a_label_that_is_gone_is_seen(console: Console, taught: str) -> None:
    console.page.evaluate(
        "localStorage.setItem('sonoprobe.filters', JSON.stringify({ward: {old: {labels:"
        " {finding: 'gone', reader: 'x'}}}}))"
    )
    page = console.visit("Search")
    page.get_by_label("Collection", exact=True).select_option("ward")
    page.get_by_label("Saved filters").select_option("old")
    page.get_by_text("No scan passes these conditions.").wait_for()
    for name, value in (("finding", "gone"), ("reader", "x")):
        assert page.get_by_label(name, exact=True).input_value() == value


def test_a_dialog_gives_the_focus_back(console: Console, taught: str) -> None:
    page = console.visit("Data")
    delete = page.get_by_role("button", name="Delete ward", exact=True)
    delete.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete ward"


def test_a_key_that_a_rotation_replaced_can_be_revoked_at_once(
    console: Console, api: Client
) -> None:
    api.create_key("leaked", roles=["reader"])
    page = console.visit("Data")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("button", name="Rotate leaked").click()
    page.get_by_role("button", name="Revoke leaked, the replaced key").click()
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_role("row", name="leaked").get_by_role("cell", name="revoked").wait_for()
    states = [key["revoked_at"] is not None for key in api.list_keys() if key["name"] == "leaked"]
    assert sorted(states) == [False, True]


def test_what_was_spoken_is_forgotten_by_who_signs_out(console: Console, api: Client) -> None:
    queue(api, "spoken")
    page = open_queue(console, "spoken")
    page.keyboard.press("1")
    page.locator(".spoken").filter(has_text="cyst stored.").wait_for(state="attached")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Your key").wait_for()
    assert page.locator(".spoken").inner_text() == ""


def test_a_folder_below_that_of_a_patient_is_no_other_patient(
    console: Console, tmp_path: Path
) -> None:
    for label in ("cyst", "mass"):
        for study in ("monday", "tuesday"):
            folder = tmp_path / "set" / label / f"{label}-patient" / study
            folder.mkdir(parents=True)
            (file,) = frames(label, 1)
            (folder / "a.png").write_bytes(file.read_bytes())
    page = console.visit("Teach")
    page.get_by_label("Choose a folder").set_input_files(tmp_path / "set")
    page.get_by_text("2 patients named.").wait_for()
    assert page.get_by_text("2 files, 1 patient").count() == 2
