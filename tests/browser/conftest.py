"""A real Chromium, driven against a real service; what the browser complains of fails the test."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client
from tests.browser.console_page import Console

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# A closed network and a container: no sandbox of its own, no GPU, no calls to its maker.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    with playwright.sync_playwright() as driver:
        own = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
        opened = driver.chromium.launch(executable_path=own, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service with the shipped encoder."""
    with local_service(Settings(data_dir=tmp_path_factory.mktemp("data"), drain_s=0)) as running:
        yield running


@pytest.fixture
def api(local: LocalService) -> Iterator[Client]:
    with Client(local.url, key=local.key) as found:
        yield found


@pytest.fixture
def local_url(local: LocalService) -> str:
    return local.url


@pytest.fixture
def blank(browser: "Browser", local: LocalService) -> Iterator[Console]:
    """The console in a browser of its own, not signed in."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(45_000)
    page = context.new_page()
    console = Console(page, local.url)
    page.on("pageerror", lambda error: console.errors.append(str(error)))
    page.on("console", lambda message: _note(console, message.type, message.text))
    page.on("request", lambda request: _note_request(console, request))
    yield console
    context.close()
    assert console.violations == []
    assert console.outside == []
    assert console.errors == []


@pytest.fixture
def console(blank: Console, local: LocalService) -> Console:
    """The console, signed in with a key that may do everything."""
    assert local.key is not None
    blank.sign_in(local.key)
    return blank


def _note(console: Console, kind: str, text: str) -> None:
    if "Content Security Policy" in text:
        console.violations.append(text)
    elif kind == "error" and "Failed to load resource" not in text:  # refusals are expected
        console.errors.append(text)


def _note_request(console: Console, request: "Request") -> None:
    if console.partner and request.frame.url.startswith(console.partner):
        return  # of a page that is not ours
    if not request.url.startswith(
        (console.url + "/", console.partner or "blob:", "blob:", "data:")
    ):
        console.outside.append(request.url)


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders class/patient/file of sample frames, under one folder."""
    root = tmp_path_factory.mktemp("frames") / "set"
    for label in ("cyst", "mass", "stone"):
        for number, file in enumerate(sorted((SAMPLES / label).glob("*.png"))[:8]):
            patient = root / label / f"{label[0]}{number}"
            patient.mkdir(parents=True)
            shutil.copy(file, patient / file.name)
    return root


@pytest.fixture(scope="module")
def taught(local: LocalService, class_folders: Path) -> str:
    """The classifier ``finding`` of the collection ``ward``, fitted over HTTP."""
    with Client(local.url, key=local.key) as api:
        api.create_collection("ward")
        for file in sorted(class_folders.rglob("*.png")):
            metadata = {
                "scan_id": file.stem,
                "subject_id": file.parent.name,
                "labels": {"finding": file.parent.parent.name},
            }
            api.add_scans("ward", [file.read_bytes()], metadata=[metadata])
        api.fit({"name": "finding", "collection": "ward", "task": "finding"})
    return "finding"
