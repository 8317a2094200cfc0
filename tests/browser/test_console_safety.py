"""Who may see what in the console, what stays on the machine, and who can use it."""

from pathlib import Path

import pytest

from service.cli.demo import SAMPLES
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console

pytestmark = pytest.mark.browser
PAGES = ("Teach", "Use", "Live", "Search", "Label", "Map", "Versions", "Data")
# A name that would run if any part of it were taken for HTML.
HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"


def test_a_wrong_key_is_refused_in_words(blank: Console) -> None:
    page = blank.open()
    page.get_by_label("Your key").fill("sp_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("does not know this key").wait_for()
    blank.shot("sign-in")


def test_the_key_is_nowhere_but_in_memory(console: Console) -> None:
    page = console.visit("Data")
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert "sp_" not in kept
    page.reload()
    page.get_by_label("Your key").wait_for()


def test_who_leaves_the_page_and_comes_back_signs_in_again(console: Console, taught: str) -> None:
    page = console.visit("Search")
    # What a browser tells a page that it had kept whole while another address was shown.
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    page.get_by_label("Your key").wait_for()


def test_who_signs_out_leaves_nothing_on_the_screen(console: Console, taught: str) -> None:
    page = console.visit("Search")
    page.get_by_role("button", name="Find similar to").first.wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Your key").wait_for()
    assert page.locator("img.thumbnail").count() == 0
    assert page.get_by_text("patient").count() == 0


ROLES = {  # role -> pages, and tabs of the page Data
    "reader": (["Use", "Live", "Search", "Map", "Versions", "Data"], ["Collections", "Operations"]),
    "annotator": (
        ["Use", "Live", "Search", "Label", "Map", "Versions", "Data"],
        ["Collections", "Operations"],
    ),
    "operator": (["Data"], ["Collections", "Patients", "Operations"]),
    "auditor": (["Versions", "Data"], ["Collections", "Operations", "Audit log"]),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_what_it_may_do_and_no_button_that_would_be_refused(
    blank: Console, api: Client, taught: str, role: str
) -> None:
    refused: list[str] = []
    blank.page.on(
        "response", lambda answer: refused.append(answer.url) if answer.status == 403 else None
    )
    made = api.create_key(f"as {role}", roles=[role])
    page = blank.sign_in(made["secret"])
    pages, tabs = ROLES[role]
    navigation = page.get_by_role("navigation", name="Pages")
    assert navigation.get_by_role("link").all_inner_texts() == pages
    assert page.get_by_text(f"{role} in default").is_visible()
    for name in pages:
        blank.visit(name)
        page.get_by_role("heading", level=1).wait_for()
        page.get_by_role("status").filter(has_text="Loading").wait_for(state="detached")
    kinds = page.get_by_role("navigation", name="Kinds of data").get_by_role("button")
    if tabs:
        kinds.last.wait_for()  # they are drawn once it is known what the key may do
    assert kinds.all_inner_texts() == tabs
    for tab in tabs:
        page.get_by_role("button", name=tab, exact=True).click()
        page.get_by_role("status").filter(has_text="Loading").wait_for(state="detached")
    blank.shot(f"role-{role}")
    assert refused == []
    for action in ("Delete ward", "Create", "Publish", "Delete this classifier"):
        assert (
            page.get_by_role("button", name=action, exact=True).count() == 0 or role == "operator"
        )


def test_a_key_that_allows_nothing_here_is_told_so(blank: Console, api: Client) -> None:
    made = api.create_key("embeds only", scopes=["embed"])
    page = blank.sign_in(made["secret"])
    page.get_by_role("heading", name="Nothing to show").wait_for()


def test_a_revoked_key_leads_back_to_the_sign_in(blank: Console, api: Client) -> None:
    made = api.create_key("soon gone", roles=["reader"])
    page = blank.sign_in(made["secret"])
    page.wait_for_load_state("networkidle")  # a late answer would lead back before the click
    api.revoke_key(made["key"]["key_id"])
    page.get_by_role("link", name="Search").click()  # a reader begins on the page before
    page.get_by_text("The service no longer accepts this key. Sign in again.").wait_for()


def test_names_that_look_like_scripts_stay_text(console: Console, api: Client) -> None:
    api.create_collection("hostile")
    for number, file in enumerate(sorted((SAMPLES / "stone").glob("*.png"))[:2]):
        metadata = {"subject_id": f"{HOSTILE}{number}", "labels": {HOSTILE: HOSTILE}}
        api.add_scans("hostile", [file.read_bytes()], metadata=[metadata])
    dialogs: list[str] = []
    console.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = console.visit("Search")
    page.get_by_label("Collection", exact=True).select_option("hostile")
    page.get_by_text(f"{HOSTILE}: {HOSTILE}").first.wait_for()
    assert page.get_by_text(f"patient {HOSTILE}0").is_visible()
    assert dialogs == []


def test_a_file_that_misses_the_drop_area_does_not_replace_the_page(console: Console) -> None:
    page = console.visit("Teach")
    was_stopped = page.evaluate(
        "!document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true}))"
    )
    assert was_stopped


def test_dropped_files_are_taken(console: Console) -> None:
    page = console.visit("Teach")
    data = page.evaluate_handle(
        "() => { const data = new DataTransfer();"
        " data.items.add(new File(['x'], 'a.png', {type: 'image/png'})); return data; }"
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": data})
    page.get_by_text("Pictures without a class: name it").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_with_a_screen_reader(
    console: Console, taught: str, scheme: str
) -> None:
    console.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    faults = {}
    for name in PAGES:
        page = console.visit(name)
        page.get_by_role("heading", level=1).wait_for()
        page.get_by_role("status").filter(has_text="Loading").wait_for(state="detached")
        faults[name] = console.accessibility_faults()
        console.shot(f"{scheme}-{name.lower()}")
    assert {name: found for name, found in faults.items() if found} == {}


def test_the_report_of_a_version_can_be_used_with_a_screen_reader(
    console: Console, taught: str
) -> None:
    page = console.visit("Versions")
    page.get_by_label("Classifier", exact=True).select_option(taught)
    page.get_by_role("button", name="Report").first.click()
    page.get_by_role("heading", name="Would more examples help?").wait_for()
    assert console.accessibility_faults() == []


def test_a_tablet_shows_every_page_without_sideways_scrolling(
    console: Console, taught: str
) -> None:
    console.page.set_viewport_size({"width": 600, "height": 960})
    for name in PAGES:
        page = console.visit(name)
        page.get_by_role("heading", level=1).wait_for()
        page.get_by_role("status").filter(has_text="Loading").wait_for(state="detached")
        console.shot(f"tablet-{name.lower()}")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, name


def test_a_keyboard_alone_reaches_every_control(console: Console, tmp_path: Path) -> None:
    # Chromium begins to report choosers a moment after the first who listens, and has to before
    # the key is pressed.
    console.page.on("filechooser", lambda _: None)
    page = console.visit("Teach")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    file = tmp_path / "frame.png"
    file.write_bytes(sorted((SAMPLES / "cyst").glob("*.png"))[0].read_bytes())
    chooser.value.set_files(file)
    page.get_by_label("Pictures without a class: name it").focus()
    page.keyboard.type("cyst")
    page.keyboard.press("Enter")
    page.get_by_label("Class", exact=True).wait_for()
