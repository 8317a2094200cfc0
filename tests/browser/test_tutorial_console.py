"""The Console tabs of the tutorial, step by step, with the names of controls that they print.

Each test takes the names out of the text of its tab. So a control that has another name in the
console fails, a name that the text does not say fails, and a name that no step uses fails.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.server import LocalService
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console
from training.catalogue.tutorial_frames import files_of, write_frames

pytestmark = pytest.mark.browser
TUTORIAL = Path(__file__).parents[2] / "docs/tutorial.md"
TAB = re.compile(
    r"^## (\d+)\. (?:(?!^## ).)*?^:::\{tab-item\} Console\n(.*?)^:::$", re.MULTILINE | re.DOTALL
)
NAMED = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")
PER_CLASS = 8  # patients to learn from; the tutorial has 20, which take longer and prove no more


@dataclass
class Tab:
    """The Console tab of one step: what it names in bold, and as code."""

    text: str
    used: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        return {bold or code for bold, code in NAMED.findall(self.text)}

    def __call__(self, name: str) -> str:
        """The name, which the text of this step must say."""
        assert name in self.names, f"the tab does not say {name}: {sorted(self.names)}"
        self.used.add(name)
        return name


@pytest.fixture(scope="module")
def tabs() -> dict[int, Tab]:
    """By the number of the step."""
    found = {int(number): Tab(text) for number, text in TAB.findall(TUTORIAL.read_text())}
    assert sorted(found) == [3, 4, 5, 6, 7, 8]
    return found


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated frames of the tutorial, in ``frames``."""
    folder = tmp_path_factory.mktemp("reader") / "frames"
    with files_of("simulated", folder.parent, PER_CLASS, say=len) as files:
        write_frames(files, folder, per_class=PER_CLASS)
    return folder


def teach(console: Console, tabs: dict[int, Tab], step: int, folder: Path) -> None:
    """Steps 3 and 4, and again in step 7."""
    page, upload, fit, own = console.page, tabs[3], tabs[4], tabs[step]
    console.visit(own("Teach"))
    page.get_by_label(upload("Choose a folder")).set_input_files(folder)
    page.get_by_label("Class", exact=True).nth(2).wait_for()
    page.get_by_label(upload("Collection for the pictures")).fill(own("tutorial"))
    name = page.get_by_label(fit("Name of the classifier"))
    assert name.input_value() == tabs[7]("finding") == fit("finding")
    page.get_by_role("button", name=fit("Upload and learn")).click()
    page.get_by_role("heading", name=fit("How good is it?")).wait_for()


def ask(console: Console, tab: Tab, root: Path) -> Path:
    """Step 5; returns a picture that was asked about."""
    page = console.page
    console.visit(tab("Use"))
    new = sorted((root / tab("frames/new")).rglob("*.png"))
    page.get_by_label(tab("Choose files")).set_input_files(new)
    page.locator("article.answer").nth(len(new) - 1).locator(".decision").wait_for()
    page.get_by_label(tab("Show what speaks for")).first.select_option(index=1)
    page.get_by_role("img", name="supports").first.wait_for()
    page.get_by_label(tab("Choose files")).set_input_files(root / tab("frames/other/lung.png"))
    page.get_by_text("Nothing like this is among the examples").wait_for()
    return new[0]


def search(console: Console, tab: Tab) -> None:
    """Step 6."""
    page = console.page
    console.visit(tab("Search"))
    page.get_by_label(tab("Leave out the same patient")).check()
    page.get_by_role("button", name=tab("Find similar")).first.click()
    page.get_by_role("heading", name="12 similar scans").wait_for()


def publish(console: Console, tab: Tab) -> None:
    """Step 7, after the second teaching."""
    page = console.page
    console.visit(tab("Versions"))
    page.get_by_role("heading", name=tab("Compare two versions")).wait_for()
    page.get_by_role("cell", name="no difference can be told").first.wait_for()
    page.get_by_role("button", name=tab("Publish")).click()
    page.get_by_role("button", name="Roll back to it").wait_for()


def tell_what_it_was(console: Console, tab: Tab, file: Path) -> None:
    """Step 8."""
    page = console.page
    console.visit(tab("Use"))
    page.get_by_label("Choose files").set_input_files(file)
    page.get_by_label(tab("It turned out to be")).select_option(file.parent.parent.name)
    page.get_by_text("It counts in the figures of the classifier in use.").wait_for()
    console.visit(tab("Versions"))
    page.get_by_role("heading", name=tab("In use")).wait_for()
    page.get_by_text("1 outcome known").wait_for()


def test_the_console_tabs_lead_to_a_published_classifier_in_use(
    blank: Console, local: LocalService, tabs: dict[int, Tab], frames: Path, api: Client
) -> None:
    page, root = blank.open(), frames.parent
    page.get_by_label(tabs[3]("Your key")).fill(local.key or "")
    page.get_by_role("button", name=tabs[3]("Sign in"), exact=True).click()
    page.locator("#main h1").wait_for()
    teach(blank, tabs, 3, root / tabs[3]("frames/labelled"))
    scans = list(api.scans("tutorial"))
    assert len({scan["subject_id"] for scan in scans}) == len(scans) == 3 * PER_CLASS
    file = ask(blank, tabs[5], root)
    search(blank, tabs[6])
    teach(blank, tabs, 7, root / tabs[7]("frames/new"))
    publish(blank, tabs[7])
    assert api.classifier("finding")["published_version"] == 2
    tell_what_it_was(blank, tabs[8], file)
    unused = {number: tab.names - tab.used for number, tab in tabs.items()}
    assert not any(unused.values()), unused
