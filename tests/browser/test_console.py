"""The jobs of the console, each done as a person does it."""

import json
from pathlib import Path

import pytest

from service.cli.demo import SAMPLES
from service.embedding.bundle import SHIPPED_BUNDLE, read_manifest
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import EVERYTHING, Console

pytestmark = pytest.mark.browser


def test_a_clinician_teaches_from_folders_and_sees_how_good_it_is(
    console: Console, class_folders: Path, api: Client
) -> None:
    page = console.visit("Teach")
    console.shot("teach-empty")
    page.get_by_label("Choose a folder").set_input_files(class_folders)
    page.get_by_label("Class", exact=True).nth(2).wait_for()
    console.shot("teach-classes")
    page.get_by_label("Name of the classifier").fill("taught")
    page.get_by_label("Collection for the pictures").fill("taught")
    page.get_by_role("button", name="Upload and learn").click()
    page.get_by_role("heading", name="How good is it?").wait_for()
    assert page.get_by_text("24 files stored, 0 stored before, 0 refused.").is_visible()
    assert "95 % interval" in page.locator(".figure").inner_text()
    page.get_by_role("img", name="expected").wait_for()
    page.locator(".confusion button:enabled").first.click()
    page.get_by_role("img", name="Is cyst, said cyst").first.wait_for()
    console.shot("teach-report")
    assert {s["subject_id"] for s in api.scans("taught")} == {
        f"{c}{n}" for c in "cms" for n in range(8)
    }
    assert api.classifier("taught")["source"]["scans"] == 24


def test_a_csv_names_classes_and_patients_and_a_bad_file_is_named(
    console: Console, tmp_path: Path, api: Client
) -> None:
    rows = ["file;label;subject_id"]
    for label in ("cyst", "mass"):
        for number, file in enumerate(sorted((SAMPLES / label).glob("*.png"))[:3]):
            (tmp_path / file.name).write_bytes(file.read_bytes())
            rows.append(f'{file.name};"{label}";{label}-{number}')
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more than this")
    rows.append("broken.png;cyst;cyst-9")
    rows.append("not-there.png;cyst;cyst-10")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    page = console.visit("Teach")
    page.get_by_label("Choose files").set_input_files(sorted(tmp_path.iterdir()))
    page.get_by_text("The CSV named 7 files. 1 row named no file").wait_for()
    page.get_by_label("Name of the classifier").fill("from-csv")
    page.get_by_label("Collection for the pictures").fill("from-csv")
    page.get_by_role("button", name="Upload and learn").click()
    page.get_by_role("heading", name="How good is it?").wait_for()
    assert page.get_by_text("6 files stored, 0 stored before, 1 refused.").is_visible()
    assert page.get_by_role("cell", name="broken.png").is_visible()
    assert {s["subject_id"] for s in api.scans("from-csv")} == {
        f"{c}-{n}" for c in ("cyst", "mass") for n in range(3)
    }


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.png;NA;p1", "The CSV says “NA” of a.png"),
        ("a.png;cyst;1,2E+11", "The CSV says “1,2E+11” of a.png"),
        ("a.png;cyst;p1\na.png;mass;p1", "The CSV says two different things of a.png."),
    ],
)
def test_a_csv_that_says_nothing_certain_of_a_file_is_refused(
    console: Console, tmp_path: Path, row: str, says: str
) -> None:
    (frame, *_) = sorted((SAMPLES / "cyst").glob("*.png"))
    (tmp_path / "a.png").write_bytes(frame.read_bytes())
    (tmp_path / "labels.csv").write_text(f"file;label;subject_id\n{row}\n", encoding="utf-8")
    page = console.visit("Teach")
    page.get_by_label("Choose files").set_input_files(sorted(tmp_path.iterdir()))
    page.locator("#main").get_by_text(says).wait_for()
    assert not page.get_by_role("heading", name="Classes").is_visible()


def test_what_cannot_be_taught_is_said_before_anything_is_sent(console: Console) -> None:
    page = console.visit("Teach")
    (frame, *_) = sorted((SAMPLES / "cyst").glob("*.png"))
    page.get_by_label("Choose files").set_input_files([frame])
    page.get_by_text("Name at least two classes.").wait_for()
    assert page.get_by_role("button", name="Upload and learn").is_disabled()


def test_an_answer_shows_probabilities_evidence_and_where_it_looked(
    console: Console, taught: str
) -> None:
    page = console.visit("Use")
    page.get_by_label("Choose files").set_input_files([sorted((SAMPLES / "cyst").glob("*.png"))[9]])
    answer = page.locator("article.answer")
    answer.get_by_text("Possible at 90 % coverage").wait_for()
    assert answer.locator(".decision").inner_text().startswith("cyst")
    assert answer.get_by_role("img", name="Example of cyst").first.is_visible()
    answer.get_by_label("Show what speaks for").select_option("cyst")
    answer.get_by_role("img", name="Orange supports cyst").wait_for()
    assert page.get_by_text("no medical device").first.is_visible()
    console.shot("use-answer")


def test_what_a_prediction_turned_out_to_be_counts_in_the_figures_in_use(
    console: Console, taught: str
) -> None:
    page = console.visit("Use")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_label("Choose files").set_input_files([sorted((SAMPLES / "mass").glob("*.png"))[9]])
    page.get_by_label("It turned out to be").select_option("mass")
    page.get_by_text("It counts in the figures of the classifier in use.").wait_for()
    page = console.visit("Versions")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_role("heading", name="In use").wait_for()
    page.get_by_text("1 outcome known").wait_for()
    assert page.get_by_role("row", name="At its examples").is_visible()
    console.shot("versions-in-use")


def test_the_audit_log_tells_who_did_what(console: Console, api: Client) -> None:
    api.create_collection("recorded")
    page = console.visit("Data")
    page.get_by_role("button", name="Audit log").click()
    row = page.get_by_role("row", name="collection recorded").first
    row.wait_for()
    assert "create_collection" in row.inner_text()
    assert page.get_by_role("cell", name="begun").count() == 0
    page.get_by_label("Show the beginning of each change too").check()
    page.get_by_role("cell", name="begun").first.wait_for()
    console.shot("data-audit")


def test_an_abstention_gives_its_reason_and_nothing_that_looks_like_an_answer(
    console: Console, taught: str
) -> None:
    page = console.visit("Use")
    other = sorted((SAMPLES / "a_lines").glob("*.png"))[0]
    page.wait_for_load_state("networkidle")  # until it knows its classifiers, it draws itself anew
    page.get_by_label("Choose files").set_input_files([other])
    answer = page.locator("article.answer")
    answer.get_by_text("No answer.").wait_for()
    assert "Nothing like this" in answer.locator(".decision").inner_text()
    assert answer.get_by_text("coverage").count() == 0
    assert answer.locator(".bar.strong").count() == 0
    console.shot("use-abstained")


def test_a_file_that_is_no_picture_is_refused_in_plain_words(
    console: Console, taught: str, tmp_path: Path
) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("no picture")
    page = console.visit("Use")
    page.wait_for_load_state("networkidle")  # the page draws itself anew for its classifier
    page.get_by_label("Choose files").set_input_files([file])
    page.get_by_text("This is no file that the service can read.").first.wait_for()


def test_a_search_follows_filters_examples_and_counterexamples(
    console: Console, taught: str
) -> None:
    page = console.visit("Search")
    page.get_by_label("Collection", exact=True).select_option("ward")
    page.get_by_role("button", name="Find similar to cyst_00").click()
    page.get_by_role("heading", name="12 similar scans").wait_for()
    console.shot("search")
    page.get_by_label("finding", exact=True).select_option("stone")
    page.get_by_role("heading", name="8 similar scans").wait_for()
    assert page.locator("ol.grid strong").all_inner_texts() == ["finding: stone"] * 8
    page.get_by_role("button", name="Less like this: stone_00").click()
    page.get_by_role("img", name="Unlike stone_00").wait_for()
    page.get_by_label("Save this filter as").fill("only stones")
    page.get_by_role("button", name="Save", exact=True).click()
    assert json.loads(page.evaluate("localStorage.getItem('sonoprobe.filters')")) == {
        "ward": {"only stones": {"labels": {"finding": "stone"}}}
    }


def test_a_file_finds_scans_of_other_patients_only(console: Console, taught: str) -> None:
    page = console.visit("Search")
    page.get_by_label("Collection", exact=True).select_option("ward")
    page.get_by_label("Leave out the same patient").check()
    file = sorted((SAMPLES / "cyst").glob("*.png"))[0]
    page.get_by_label("Choose files").set_input_files([file])
    page.get_by_role("heading", name="12 similar scans").wait_for()
    assert page.get_by_text("patient c0").count() == 1  # it does not know yet whose file it is
    page.get_by_label("Patient of the file (pseudonym)").fill("c0")
    page.get_by_role("heading", name="12 similar scans").wait_for()
    page.wait_for_timeout(200)
    page.get_by_role("heading", name="12 similar scans").wait_for()
    assert page.get_by_text("patient c0").count() == 0
    console.shot("search-other-patients")


def test_labels_are_given_by_number_keys_and_undone(console: Console, api: Client) -> None:
    api.create_collection("queue")
    for label in ("cyst", "mass"):
        for number, file in enumerate(sorted((SAMPLES / label).glob("*.png"))[:4]):
            labels = {"finding": label} if number < 2 else {}
            metadata = {"scan_id": file.stem, "subject_id": file.stem, "labels": labels}
            api.add_scans("queue", [file.read_bytes()], metadata=[metadata])
    api.fit({"name": "queue", "collection": "queue", "task": "finding"})
    page = console.visit("Label")
    page.get_by_label("Classifier", exact=True).select_option("queue")
    answers = page.locator(".answers button:enabled")  # from when the picture is seen
    page.get_by_role("heading", name="Scan 1 of 4").wait_for()
    answers.first.wait_for()
    console.shot("label-next")
    for key, then in (("1", 2), ("2", 3), ("u", 2), ("s", 3)):
        page.keyboard.press(key)
        page.get_by_role("heading", name=f"Scan {then} of 4").wait_for()
        answers.first.wait_for()
    labelled = [s["labels"] for s in api.scans("queue") if s["labels"]]
    assert len(labelled) == 5  # four of before, and the first answer


def changed_answers(api: Client, name: str) -> int:
    """How many scans versions 1 and 2 give different classes."""
    answers = [
        {
            example["scan_id"]: cell["predicted"]
            for cell in api.confusion(name, version, limit=1000)["items"]
            for example in cell["examples"]
        }
        for version in (1, 2)
    ]
    return sum(answers[0][scan_id] != answers[1][scan_id] for scan_id in answers[0])


def test_a_new_version_is_compared_published_and_rolled_back(
    console: Console, api: Client, taught: str
) -> None:
    for number in range(3):
        api.patch_scan("ward", f"cyst_0{number}", {"labels": {"finding": "mass"}})
    page = console.visit("Versions")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_text("has not learnt 3 changed labels").wait_for()
    page.get_by_role("button", name="Learn from today's labels").click()
    page.get_by_role("heading", name="Compare two versions").wait_for()
    page.get_by_role("cell", name="no difference can be told").first.wait_for()
    sides = page.locator(".side-by-side .confusion caption")
    sides.nth(1).wait_for()
    assert sides.all_inner_texts() == ["Version 2", "Version 1"]
    changed = changed_answers(api, taught)
    alike = "Both answer every picture that they share alike."
    said = "answered differently" if changed else alike
    page.get_by_text(said).wait_for()
    assert page.locator(".side-by-side ~ .strip figure").count() == changed
    console.shot("versions")
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("button", name="Roll back to it").wait_for()
    assert api.classifier(taught)["published_version"] == 2
    page.get_by_role("button", name="Roll back to it").click()
    page.get_by_role("button", name="Publish").wait_for()
    assert api.classifier(taught)["published_version"] == 1


def test_a_lasso_on_the_map_labels_scans_and_takes_it_back(console: Console, api: Client) -> None:
    api.create_collection("plane")
    for label in ("cyst", "a_lines"):
        for file in sorted((SAMPLES / label).glob("*.png"))[:4]:
            metadata = {"scan_id": file.stem, "labels": {"scene": label}}
            api.add_scans("plane", [file.read_bytes()], metadata=[metadata])
    page = console.visit("Map")
    page.get_by_label("Collection", exact=True).select_option("plane")
    page.get_by_text("8 scans. The plane shows").wait_for()
    console.lasso(EVERYTHING)
    page.get_by_role("heading", name="8 scans selected").wait_for()
    page.get_by_role("img", name="cyst").first.wait_for()
    console.shot("map")
    page.get_by_role("button", name="Select all a_lines").click()
    page.get_by_role("heading", name="4 scans selected").wait_for()
    page.get_by_label("New label for “scene”").fill("lung")
    page.get_by_role("button", name="Label all 4").click()
    page.get_by_text("4 labels stored.").wait_for()
    assert sorted(s["labels"]["scene"] for s in api.scans("plane")) == ["cyst"] * 4 + ["lung"] * 4
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("4 labels stored.").wait_for(state="detached")
    labels = sorted(s["labels"]["scene"] for s in api.scans("plane"))
    assert labels == ["a_lines"] * 4 + ["cyst"] * 4


def test_a_map_is_laid_out_by_neighbours_and_coloured_by_doubt(
    console: Console, api: Client, taught: str
) -> None:
    page = console.visit("Map")
    page.get_by_label("Collection", exact=True).select_option("ward")
    page.get_by_text("24 scans. The plane shows").wait_for()
    page.get_by_role("button", name="Lay out by neighbours").click()
    page.get_by_text("are its nearest on the map too").wait_for()
    assert api.layout("ward")["placed"] == 24
    page.get_by_label("Coloured by").select_option(f"doubt:{taught}")
    page.get_by_role("checkbox", name="up to 20 %").wait_for()
    page.get_by_role("button", name="Select all up to 20 %").click()
    page.get_by_role("heading", name="selected").wait_for()
    console.shot("map-doubt")
    page.get_by_label("Coloured by").select_option("machine:")
    page.get_by_role("checkbox", name="machine not named (24)").wait_for()


def test_a_patient_is_erased_with_a_receipt(console: Console, api: Client) -> None:
    api.create_collection("erasing")
    file = sorted((SAMPLES / "tissue").glob("*.png"))[0]
    api.add_scans("erasing", [file.read_bytes()], metadata=[{"subject_id": "a/b 7"}])
    page = console.visit("Data")
    page.get_by_role("button", name="Patients").click()
    page.get_by_label("Pseudonym of the patient").fill("a/b 7")
    page.get_by_role("button", name="Show what is held").click()
    page.get_by_role("heading", name="Held of a/b 7").wait_for()
    page.get_by_role("button", name="Erase this patient").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Erase this patient").click()
    page.get_by_role("button", name="Erase for good").click()
    page.get_by_role("heading", name="Receipt").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the receipt").click()
    receipt = json.loads(Path(download.value.path()).read_text())
    assert receipt["subject_id"] == "a/b 7"
    assert len(receipt["scans"]) == 1
    assert list(api.scans("erasing")) == []
    console.shot("data-receipt")


def test_a_collection_goes_only_when_its_name_was_typed(console: Console, api: Client) -> None:
    api.create_collection("doomed")
    page = console.visit("Data")
    page.get_by_role("button", name="Delete doomed").click()
    delete = page.get_by_role("dialog").get_by_role("button", name="Delete it")
    assert delete.is_disabled()
    page.get_by_label("Type doomed to confirm").fill("doomed")
    delete.click()
    page.get_by_role("row", name="doomed").wait_for(state="detached")
    assert "doomed" not in {c["name"] for c in api.collections()}


def test_a_key_is_made_rotated_and_revoked(console: Console, local_url: str) -> None:
    page = console.visit("Data")
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Name of the device or program").fill("bedside 3")
    page.get_by_label("Role").select_option("reader")
    page.get_by_label("Ends").select_option("30")
    page.get_by_text("Only some collections or classifiers").click()
    page.get_by_label("Collections", exact=True).fill("study7-*, ward")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator(".secret").inner_text()
    with Client(local_url, key=secret) as bedside:
        assert bedside.encoder()["encoder_id"] == read_manifest(SHIPPED_BUNDLE).encoder_id
    page.get_by_role("cell", name="collections: study7-*, ward").wait_for()
    page.get_by_role("button", name="I have stored it").click()
    page.get_by_role("button", name="Revoke bedside 3").click()
    page.get_by_role("button", name="Revoke it").click()
    page.get_by_role("cell", name="revoked").wait_for()
    console.shot("data-keys")
