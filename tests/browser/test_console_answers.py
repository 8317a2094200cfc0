"""What the console shows of an answer never says more than the service does, nor of another one."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.cli.demo import SAMPLES
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

pytestmark = pytest.mark.browser
HELD = "[data-testid=held]"


def frames(label: str, count: int) -> list[Path]:
    return sorted((SAMPLES / label).glob("*.png"))[:count]


def store(api: Client, collection: str, file: Path, **facts: object) -> None:
    api.add_scans(collection, [file.read_bytes()], metadata=[{"scan_id": file.stem, **facts}])


def test_numbers_are_not_rounded_to_certainty(console: Console) -> None:
    said = console.page.evaluate(
        "import('./words.js').then(({ percent, probability, withInterval }) => [0.9996, 0.99951,"
        " 0.9995, 0.996, 0.995, 0.99, 0.007, 0.004, 0.0004, 0.5].flatMap((value) =>"
        " [percent(value), probability(value)]).concat(percent(0), percent(1), percent(null),"
        " withInterval(0.998, [0.9991, 1])))"
    )
    pairs = ["> 99.9 %"] * 6 + ["99.6 %"] * 2 + ["99.5 %"] * 2 + ["99 %"] * 2
    pairs += ["0.7 %"] * 2 + ["0.4 %"] * 2 + ["< 0.1 %"] * 2 + ["50 %"] * 2
    ends = ["0 %", "100 %", "unknown", "99.8 % (95 % interval: 99.9 % to 100 %)"]
    assert said == pairs + ends


def test_colours_of_a_heat_map_are_explained_in_words(console: Console, taught: str) -> None:
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_label("Choose files").set_input_files(frames("cyst", 10)[9:])
    page.get_by_label("Show what speaks for").select_option("cyst")
    page.get_by_text("Orange supports cyst, blue speaks against it.").wait_for()


def test_an_uncertain_and_uncalibrated_answer_says_so_beside_each_probability(
    console: Console, api: Client
) -> None:
    api.create_collection("few")
    for label in ("cyst", "mass"):
        for file in frames(label, 3):
            store(api, "few", file, labels={"finding": label})
    api.fit({"name": "few", "collection": "few", "task": "finding"})
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option("few")
    page.get_by_text("On pictures that it had not seen and that name no patient").wait_for()
    page.get_by_label("Choose files").set_input_files(
        [frames("cyst", 10)[9], frames("mass", 10)[9]]
    )
    page.locator("article.answer").nth(1).wait_for()
    decisions = page.locator("article.answer .decision").all_inner_texts()
    assert all("how certain cannot be said" in one or "No answer" in one for one in decisions)
    assert any("how certain cannot be said" in one for one in decisions)
    assert page.locator("article.answer").get_by_text("not calibrated").count() == 2
    console.visit("Versions")
    page.get_by_label("Classifier", exact=True).select_option("few")
    page.get_by_role("button", name="Report").click()
    page.get_by_text("A group is a patient, or pictures without a patient").wait_for()
    assert page.get_by_role("columnheader", name="Patients").count() == 0
    assert page.get_by_text(re.compile(r"learned from 6 pictures of \d groups")).is_visible()


def test_an_answer_names_its_version_when_another_was_published_meanwhile(
    console: Console, api: Client, taught: str
) -> None:
    api.fit({"name": "moving", "collection": "ward", "task": "finding"})
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option("moving")
    page.get_by_text("Version 1 tells").wait_for()
    api.patch_scan("ward", "stone_00", {"labels": {"finding": "mass"}})
    api.refit("moving", {"publish": True})
    page.get_by_label("Choose files").set_input_files(frames("cyst", 10)[9:])
    page.locator("article.answer").get_by_text("by version 2").wait_for()
    page.get_by_text("Version 2 tells").wait_for()
    api.patch_scan("ward", "stone_00", {"labels": {"finding": "stone"}})


def test_the_queue_does_not_call_a_forced_choice_an_answer(
    console: Console, api: Client, taught: str
) -> None:
    for file in frames("tissue", 2):
        store(api, "ward", file)
    page = console.visit("Label")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_text("finds mass the most probable").wait_for()
    assert page.get_by_text("It is made to choose here.").is_visible()
    assert page.get_by_text("fairly sure").count() == 0
    for file in frames("tissue", 2):
        api.delete_scan("ward", file.stem)


def test_a_queue_that_leaves_scans_out_does_not_claim_that_all_have_a_label(
    console: Console, api: Client
) -> None:
    api.create_collection("copies")
    (file,) = frames("stone", 1)
    store(api, "copies", file, labels={"finding": "stone"})
    api.add_scans("copies", [file.read_bytes()], metadata=[{"scan_id": "copy", "subject_id": "x"}])
    page = console.visit("Label")
    page.get_by_label("Collection", exact=True).select_option("copies")
    page.get_by_text("1 scan without one is left out").wait_for()


def test_a_comparison_of_other_versions_does_not_stand_under_those_that_were_chosen(
    console: Console, api: Client, taught: str
) -> None:
    api.fit({"name": "compared", "collection": "ward", "task": "finding"})
    for label in ("mass", "cyst", "stone"):
        api.patch_scan("ward", "stone_01", {"labels": {"finding": label}})
        if label != "cyst":
            api.refit("compared", {"publish": False})
    page = console.visit("Versions")
    page.get_by_label("Classifier", exact=True).select_option("compared")
    page.get_by_text(re.compile("^By balanced accuracy")).wait_for()
    page.route("**/compare?*", lambda route: None)  # never answered
    page.get_by_label("This one").select_option("Version 2")
    page.get_by_role("status").filter(has_text="Loading").first.wait_for()
    assert page.get_by_text(re.compile("^By balanced accuracy")).count() == 0
    page.unroute_all(behavior="ignoreErrors")


def test_a_live_answer_does_not_stand_beside_pictures_that_nobody_answers(
    console: Console, taught: str, class_folders: Path
) -> None:
    answers = 0

    def connect(socket: "WebSocketRoute") -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            nonlocal answers
            answers += json.loads(message)["type"] == "decision"
            if answers < 4:  # then the network loses what the service says
                socket.send(message)

        server.on_message(pass_on)

    console.page.route_web_socket("**/stream", connect)
    page = console.visit("Live")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_label("Hold the answer steady").uncheck()
    files = [str(file) for file in sorted(class_folders.glob("stone/*/*.png")) * 2]
    page.get_by_label("Choose files").set_input_files(files)
    page.locator(HELD).filter(has_text=re.compile("stone|No answer")).wait_for()
    page.get_by_text("Version 1 answers.").wait_for()
    page.get_by_text("The service has answered no frame for 2 seconds").wait_for()
    assert page.get_by_role("img", name="The dropped picture").is_visible()
    assert "stone" not in page.locator(HELD).inner_text()
    page.get_by_role("button", name="Stop").click()
