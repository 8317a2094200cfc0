"""How fast the web console is: first paint, teaching 20 pictures, maps of up to 100,000 scans.

Each figure stands beside a floor of the same run: the first paint beside that of the Swagger page,
teaching beside the same uploads and fit by the Python client, a frame of a map beside as many
plain rectangles. Needs `make test-browser` once, which installs Chromium and Playwright.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import argument_parser, print_report
from playwright.sync_api import Browser, Page, sync_playwright

from service.cli.demo import SAMPLES
from service.server import LocalService, local_service
from service.settings import Settings
from sonoprobe_client import PlainClient as Client

CLASSES = ("cyst", "mass")
PER_CLASS = 10
POINTS = (20_000, 100_000)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FIRST_PAINT = """() => new Promise((resolve) => {
  const found = () => performance.getEntriesByName("first-contentful-paint")[0];
  const look = () => (found() ? resolve(found().startTime) : setTimeout(look, 10));
  look();
})"""
# Reading one pixel waits until the canvas is drawn.
DRAW = """async ([points, rounds]) => {
  const { drawMap, coloursOf, fitted } = await import(new URL("map_canvas.js", document.baseURI));
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const labels = Array.from({ length: points }, (_, i) => "abcd"[i % 4]);
  const map = { x: labels.map(random), y: labels.map(random), labels };
  const canvas = Object.assign(document.createElement("canvas"), { width: 960, height: 600 });
  document.body.append(canvas);
  const context = canvas.getContext("2d");
  const colours = coloursOf(labels);
  const timed = (draw) => Array.from({ length: rounds }, (_, round) => {
    const start = performance.now();
    draw(round);
    context.getImageData(0, 0, 1, 1);
    return performance.now() - start;
  });
  const view = fitted(map, 960, 600);
  const shown = () => true;
  const ours = timed((round) => drawMap(canvas, {
    map, labels, colours, isShown: shown, path: [], selected: new Set(),
    view: { ...view, x: view.x + round },
  }));
  const floor = timed((round) => {
    context.clearRect(0, 0, 960, 600);
    context.fillStyle = "#56b4e9";
    for (let i = 0; i < points; i += 1) {
      context.fillRect((i * 7 + round) % 960, (i * 13) % 600, 5, 5);
    }
  });
  canvas.remove();
  return { ours, floor };
}"""


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


def first_paint_ms(browser: Browser, url: str) -> float:
    """Time to the first text or picture of a page in a browser that has cached nothing."""
    context = browser.new_context()  # nothing cached
    page = context.new_page()
    page.goto(url)
    paint: float = page.evaluate(FIRST_PAINT)
    context.close()
    return paint


def signed_in(browser: Browser, local: LocalService) -> Page:
    """The console in a page, signed in."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{local.url}/console/")
    page.get_by_label("Your key").fill(local.key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Teach a classifier").wait_for()
    return page


def taught_by_hand_s(page: Page, folder: Path, name: str) -> float:
    """Time from the button to the report."""
    page.get_by_role("link", name="Label").click()
    page.get_by_role("link", name="Teach", exact=True).click()
    page.get_by_label("Choose a folder").set_input_files(folder)
    page.get_by_label("Class", exact=True).nth(1).wait_for()
    page.get_by_label("Name of the classifier").fill(name)
    page.get_by_label("Collection for the pictures").fill(name)
    start = time.perf_counter()
    page.get_by_role("button", name="Upload and learn").click()
    page.get_by_role("heading", name="How good is it?").wait_for()
    return time.perf_counter() - start


def taught_by_client_s(local: LocalService, folder: Path, name: str) -> float:
    """Time of the same uploads and fit by the Python client."""
    files = sorted(folder.rglob("*.png"))
    with Client(local.url, key=local.key) as client:
        start = time.perf_counter()
        client.create_collection(name)
        metadata = [
            {"subject_id": f.parent.name, "labels": {"finding": f.parent.parent.name}}
            for f in files
        ]
        client.add_scans(name, [f.read_bytes() for f in files], metadata)
        client.fit({"name": name, "collection": name, "task": "finding"})
        return time.perf_counter() - start


def class_folders(root: Path) -> Path:
    """Folders class/patient/file of the sample frames."""
    for label in CLASSES:
        for number, file in enumerate(sorted((SAMPLES / label).glob("*.png"))[:PER_CLASS]):
            patient = root / "set" / label / f"{label}{number}"
            patient.mkdir(parents=True)
            shutil.copy(file, patient)
    return root / "set"


def measure(rounds: int) -> dict[str, Any]:
    """{figure: median of the console, of its floor, and their ratio}."""
    with tempfile.TemporaryDirectory() as root, opened_browser() as browser:
        folder = class_folders(Path(root))
        with local_service(Settings(data_dir=Path(root) / "data", drain_s=0)) as local:
            paints, floors = [], []
            for _ in range(rounds):
                paints.append(first_paint_ms(browser, f"{local.url}/console/"))
                floors.append(first_paint_ms(browser, f"{local.url}/docs"))
            page = signed_in(browser, local)
            hands, clients = [], []
            for number in range(rounds):
                hands.append(taught_by_hand_s(page, folder, f"hand{number}"))
                clients.append(taught_by_client_s(local, folder, f"client{number}"))
            drawn = {points: page.evaluate(DRAW, [points, 30]) for points in POINTS}
    figures = {
        "first_paint_ms": (paints, floors),
        "teach_20_pictures_s": (hands, clients),
    }
    for points, times in drawn.items():
        figures[f"map_frame_of_{points}_ms"] = times["ours"], times["floor"]
    return {
        name: {
            "median": round(statistics.median(ours), 2),
            "floor": round(statistics.median(floor), 2),
            "ratio": round(statistics.median(ours) / statistics.median(floor), 3),
        }
        for name, (ours, floor) in figures.items()
    }


def main() -> None:
    """Measure, and print a line per figure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print_report({"points": POINTS, **measure(arguments.rounds)}, arguments)


if __name__ == "__main__":
    main()
