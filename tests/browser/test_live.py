"""The page Live with the browser's own fake camera, which plays a simulated cine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.cli.demo import SAMPLES
from tests.browser.console_page import Console

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ANSWER = "[data-testid=held]"


@pytest.fixture(scope="module")
def browser(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """A browser whose camera shows a cyst in speckle that moves."""
    file = tmp_path_factory.mktemp("camera") / "cine.mjpeg"
    pixels = cv2.imread(str(sorted((SAMPLES / "cyst").glob("*.png"))[9]), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    larger = cv2.resize(pixels, (640, 480))
    rng = np.random.default_rng(0)
    frames = [np.clip(larger + rng.normal(0, 3, larger.shape), 0, 255) for _ in range(30)]
    file.write_bytes(
        b"".join(cv2.imencode(".jpg", frame.astype(np.uint8))[1].tobytes() for frame in frames)
    )
    fake = browser.browser_type.launch(
        executable_path=_executable(),
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={file}",
        ],
    )
    yield fake
    fake.close()


def _executable() -> str | None:
    import shutil

    from tests.browser.conftest import CHROMIUM

    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def wait_for(page: "Page", text: re.Pattern[str]) -> str:
    """The text of the live answer, when it has the form."""
    shown = page.locator(ANSWER).filter(has_text=text)
    shown.wait_for()
    return shown.inner_text()


def test_a_camera_is_answered_as_it_goes_until_it_is_stopped(console: Console, taught: str) -> None:
    page = console.visit("Live")
    page.get_by_role("button", name="Use the camera").click()
    answer = wait_for(page, re.compile(r"cyst|mass|stone|No answer"))
    assert answer
    page.get_by_text(re.compile(r"^Frame \d+, answered after \d+ ms")).wait_for()
    first = page.get_by_text(re.compile(r"^Frame \d+, answered")).inner_text()
    page.wait_for_timeout(1500)
    assert page.get_by_text(re.compile(r"^Frame \d+, answered")).inner_text() != first
    assert page.get_by_text("Sonoprobe is no medical device").first.is_visible()
    assert console.accessibility_faults() == []
    console.shot("live-camera")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Use the camera").wait_for()
    assert page.locator("video").count() == 0


def test_dropped_pictures_play_and_the_stream_ends_after_them(
    console: Console, taught: str, class_folders: Path
) -> None:
    page = console.visit("Live")
    files = [str(file) for file in sorted(class_folders.glob("stone/*/*.png"))[:4]]
    page.get_by_label("Choose files").set_input_files(files)
    wait_for(page, re.compile(r"cyst|mass|stone|No answer"))
    console.shot("live-pictures")
    page.get_by_role("button", name="Use the camera").wait_for()
    assert page.get_by_role("alert").count() == 0


def test_a_file_that_the_browser_cannot_show_says_what_to_do(
    console: Console, taught: str, tmp_path: Path
) -> None:
    page = console.visit("Live")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.get_by_label("Choose files").set_input_files([str(broken)])
    page.get_by_role("alert").filter(has_text="cannot show one of the pictures").wait_for()
