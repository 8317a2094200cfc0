"""The map of the pages, and what the check of the built pages finds."""

import re
from pathlib import Path

import pytest

from docs.site.assemble import SiteError, navigation, rewrite_links, site_names, sources
from docs.site.link_check import check

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return sources()


def test_the_map_names_every_page_once_for_one_of_four_readers() -> None:
    pages = site_names(ROOT)
    chapters = navigation((ROOT / "docs/README.md").read_text(), pages)
    assert [title for title, _ in chapters] == ["Start", "Build on it", "Operate it", "Research"]


def test_no_page_has_the_name_of_one_that_sphinx_writes(files: dict[str, bytes]) -> None:
    assert {"search.md", "genindex.md"} & files.keys() == set()
    assert "similarity-search.md" in files


def test_a_page_that_the_map_does_not_name_fails_the_build() -> None:
    pages = {"docs/README.md": "index.md", "docs/a.md": "a.md", "docs/b.md": "b.md"}
    with pytest.raises(SiteError, match=r"does not name b\.md"):
        navigation("## Start\n\n| [A](a.md) | first |\n", pages)


def test_links_lead_to_pages_of_the_site_and_other_files_become_their_path() -> None:
    pages = site_names(ROOT)
    text = "[a](../SECURITY.md#x) [b](../docker/haproxy.cfg) `[c](no.md)` [`d`](errors.md)\n"
    changed = rewrite_links(text, "docs/operators.md", pages, ROOT)
    assert changed == "[a](security.md#x) b (`docker/haproxy.cfg`) `[c](no.md)` [`d`](errors.md)\n"


def test_a_link_to_nothing_fails_the_build() -> None:
    with pytest.raises(SiteError, match="leads to nothing"):
        rewrite_links("[a](not-there.md)", "docs/api.md", site_names(ROOT), ROOT)


def test_every_route_of_the_explanations_leads_to_its_shapes(files: dict[str, bytes]) -> None:
    api = files["api.md"].decode()
    assert "| [`POST /v1/search`](reference/search.md#route-search) |" in api
    assert "| `POST /v1/" not in api


def test_the_reference_has_every_shape_that_it_names(files: dict[str, bytes]) -> None:
    shapes = files["reference/shapes.md"].decode()
    named = {
        match
        for name, text in files.items()
        if name.startswith("reference/") and name.endswith(".md")
        for match in re.findall(r"shapes\.md#([\w-]+)", text.decode())
    }
    assert len(named) > 100
    assert {name for name in named if f"({name})=" not in shapes} == set()


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="gone.html">x</a>', "leads to nothing"),
        ('<a href="#gone">x</a>', "names no place"),
        ('<a href="other.html#gone">x</a>', "names no place"),
        ('<script src="https://cdn.example.org/a.js"></script>', "loads https"),
        ('<img src="//example.org/a.png">', "loads //"),
        ('<link rel="preconnect stylesheet" href="https://fonts.example.org">', "loads https"),
        ("<style>@import 'https://example.org/a.css';</style>", "loads https"),
        ('<p style="background: url(https://example.org/a.png)">x</p>', "loads https"),
        ('<img srcset="a.png 1x, https://example.org/b.png 2x">', "loads https"),
    ],
)
def test_the_check_finds_dead_links_and_what_comes_from_outside(
    html: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "other.html").write_text("<h1 id='top'>x</h1>")
    (tmp_path / "index.html").write_text(html)
    faults, _ = check(tmp_path)
    assert len(faults) == 1
    assert fault in faults[0]


def test_links_that_leave_the_site_are_listed_and_not_followed(tmp_path: Path) -> None:
    html = '<a href="https://example.org/a">x</a> <a href="other.html#top">y</a>'
    (tmp_path / "index.html").write_text(html)
    (tmp_path / "other.html").write_text("<h1 id='top'>x</h1>")
    assert check(tmp_path) == ([], ["https://example.org/a"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.css", "@font-face { src: url('https://fonts.example.org/a.woff2') }"),
        ("a.js", "fetch('https://example.org/count')"),
    ],
)
def test_style_sheets_and_scripts_are_checked_too(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    faults, _ = check(tmp_path)
    assert len(faults) == 1
