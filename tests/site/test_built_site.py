"""The built site in Chromium, opened from the disk as in a closed network."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.site.link_check import check
from tests.browser.conftest import browser as browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.site
SITE = Path(__file__).parents[2] / "build/site/html"


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page that notes what goes wrong, and what it asks of anything but the disk."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda r: faults.append(r.url) if not _is_local(r.url) else None)
    yield opened
    context.close()
    assert faults == []


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def test_nothing_is_dead_and_nothing_comes_from_outside() -> None:
    faults, external = check(SITE)
    assert faults == []
    assert external != []


@pytest.mark.parametrize(
    ("words", "found"), [("erasures replay", "operators"), ("balanced_accuracy", "shapes")]
)
def test_the_search_works_from_the_disk(page: "Page", words: str, found: str) -> None:
    page.goto((SITE / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill(words)
    page.keyboard.press("Enter")
    page.locator(f"#search-results a[href*='{found}']").first.wait_for()


def test_four_readers_find_their_pages_in_the_navigation(page: "Page") -> None:
    page.goto((SITE / "index.html").as_uri())
    captions = page.locator(".sidebar-tree .caption").all_inner_texts()
    assert [text.title() for text in captions] == [
        "Start",
        "Build On It",
        "Operate It",
        "Research",
    ]
    page.locator(".sidebar-tree").get_by_role("link", name="Errors").click()
    page.get_by_role("heading", level=1, name="Errors").wait_for()


def test_a_small_screen_shows_pages_without_sideways_scrolling(page: "Page") -> None:
    page.set_viewport_size({"width": 600, "height": 960})
    for name in ("index", "settings", "api", "reference/shapes"):
        page.goto((SITE / f"{name}.html").as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, name
