"""What the console shows of an answer never says more than the service does, nor of another one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.cli.demo import SAMPLES
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser
HELD = "[data-testid=held]"


def frames(label: str, count: int) -> list[Path]:
    return sorted((SAMPLES / label).glob("*.png"))[:count]


def store(api: Client, collection: str, file: Path, **facts: object) -> None:
    api.add_scans(collection, [file.read_bytes()], metadata=[{"scan_id": file.stem, **facts}])


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
