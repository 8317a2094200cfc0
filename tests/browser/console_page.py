"""The console in one page of a browser, and what went wrong in it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
EVERYTHING = ((0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02))  # of a map
# No picture is still on its way: its place is an empty span until it is here.
LOADED = (
    "[...document.querySelectorAll('.no-picture')].every((place) => place.textContent)"
    " && [...document.images].every((image) => image.complete)"
)
SHOTS = os.environ.get("SONOPROBE_SCREENSHOTS")  # a folder for pictures of each page


@dataclass
class Console:
    """The console in one page of the browser, and what went wrong in it."""

    page: "Page"
    url: str
    partner: str = ""  # another address that the page may lead to: the identity provider
    violations: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> "Page":
        """Load a page of the console anew, such as ``#/use``."""
        self.page.goto(f"{self.url}/console/{address}")
        return self.page

    def sign_in(self, key: str) -> "Page":
        """Load the console and sign in."""
        self.open()
        self.page.get_by_label("Your key").fill(key)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.locator("#main h1").wait_for()  # the sign-in has no such id
        return self.page

    def visit(self, page: str) -> "Page":
        """Go to a page by the navigation, without losing the key."""
        link = self.page.get_by_role("navigation", name="Pages").get_by_role("link", name=page)
        link.click()
        return self.page

    def lasso(self, corners: Sequence[tuple[float, float]]) -> None:
        """Draw around scans of the map; corners are shares of its width and its height."""
        self.page.get_by_role("button", name="Select with a lasso").click()
        box = self.page.locator("canvas").bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up()

    def shot(self, name: str) -> None:
        """Keep a picture of the page, if somebody asked for pictures."""
        if SHOTS:
            while not self.page.evaluate(LOADED):  # wait_for_function needs unsafe-eval
                self.page.wait_for_timeout(50)
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)

    def accessibility_faults(self) -> list[dict[str, Any]]:
        """What axe-core finds serious or critical on the page as it is."""
        self.page.evaluate(AXE.read_text())
        result: dict[str, Any] = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']})"
        )
        return [
            {"id": fault["id"], "where": [node["target"] for node in fault["nodes"]]}
            for fault in result["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
