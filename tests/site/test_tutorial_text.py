"""What the tutorial and its notebook are made of."""

import json
import re

from tutorial_blocks import TUTORIAL, blocks, script

from docs.site.notebook import NOTEBOOK, SHOWN, text_of
from docs.site.screenshots import IMAGES, shown_in_docs

TESTS = TUTORIAL.parents[1] / "tests/browser"
MAX_BYTES = 1_500_000


def test_every_step_has_the_three_ways() -> None:
    text = TUTORIAL.read_text()
    sets = re.findall(r"^::::\{tab-set\}$(.*?)^::::$", text, re.MULTILINE | re.DOTALL)
    assert len(sets) == 6
    for tabs in sets:
        assert re.findall(r":::\{tab-item\} (\w+)", tabs) == ["Console", "Python", "curl"]


def test_a_block_is_run_or_says_that_it_is_not() -> None:
    kinds = {(block.language, block.mark) for block in blocks()}
    assert kinds == {("sh", "skip"), ("sh", "setup"), ("python", ""), ("sh", "")}


def test_the_notebook_is_the_tutorial() -> None:
    assert NOTEBOOK.read_text() == text_of(TUTORIAL.read_text()), "run make notebook"


def test_the_notebook_has_the_code_of_the_python_tabs_and_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    own = [text.strip() for text in SHOWN.values()]
    tabs = "\n\n".join(text for text in code if text not in own)
    assert tabs.split() == script("python").split()
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


def test_every_picture_of_the_pages_is_made_by_a_test_of_the_browser() -> None:
    taken = {
        name
        for file in TESTS.glob("test_*.py")
        for name in re.findall(r"\.shot\(\"([\w-]+)\"\)", file.read_text())
    }
    assert len(shown_in_docs()) >= 7
    assert shown_in_docs() - taken == set()


def test_the_pictures_are_those_that_pages_show_and_small() -> None:
    files = {file.stem: file.stat().st_size for file in IMAGES.iterdir()}
    assert set(files) == shown_in_docs(), "run make screenshots"
    assert sum(files.values()) < MAX_BYTES
