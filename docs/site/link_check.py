"""Check built pages: internal links and anchors lead somewhere, and nothing is loaded from outside.

``python -m docs.site.link_check build/site/html`` prints what is wrong and exits with 1, and writes
the links that leave the site to ``external-links.txt`` beside the folder. It follows none of them.
"""

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

# What a browser loads by itself, unlike the target of a link.
LOADING = {
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "src"),
    ("video", "poster"),
    ("audio", "src"),
    ("iframe", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("form", "action"),
    ("use", "href"),
    ("image", "href"),
}
LOADING_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload"}
LOADING_RELATIONS |= {"dns-prefetch", "manifest", "apple-touch-icon"}
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//|^https?:", re.IGNORECASE)
CSS_LOADS = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", re.IGNORECASE)
# In scripts of the theme and the search: addresses that they could load.
SCRIPT_LOADS = re.compile(
    r"""(?:fetch|importScripts|import|XMLHttpRequest|\.open)\s*\(\s*["'`](https?:)?//""",
    re.IGNORECASE,
)


@dataclass
class Page:
    """What one page names.

    Attributes:
        links: targets of links, as they are written.
        loads: what a browser fetches with the page.
    """

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._style = tag == "style"
        self.page.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        if tag == "link" and set(values.get("rel", "").lower().split()) & LOADING_RELATIONS:
            self.page.loads.append(values.get("href", ""))
        for name, value in values.items():
            if (tag, name) in LOADING:
                self.page.loads += [part.split()[0] for part in value.split(",") if part.strip()]
            if name == "style":
                self.page.loads += CSS_LOADS.findall(value)

    def handle_data(self, data: str) -> None:
        if self._style:
            self.page.loads += CSS_LOADS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False


def read_page(html: str) -> Page:
    """The ids, links and loads of a page."""
    reader = _Reader()
    reader.feed(html)
    return reader.page


def check(site: Path) -> tuple[list[str], list[str]]:
    """What is wrong with the site in a folder, and the links that leave it, sorted."""
    site = site.resolve()
    pages = {file: read_page(file.read_text()) for file in sorted(site.rglob("*.html"))}
    faults: list[str] = []
    external: set[str] = set()
    for file, page in pages.items():
        name = file.relative_to(site)
        faults += [f"{name}: loads {load}" for load in page.loads if OUTSIDE.match(load)]
        local = [load for load in page.loads if not OUTSIDE.match(load)]
        external |= {link for link in page.links if OUTSIDE.match(link)}
        for link in [*page.links, *local]:
            fault = _fault_of(link, file, pages)
            faults += [f"{name}: {link} {fault}"] if fault else []
    for file in sorted(site.rglob("*.css")):
        loads = CSS_LOADS.findall(file.read_text())
        faults += [f"{file.name}: loads {load}" for load in loads if OUTSIDE.match(load)]
    for file in sorted(site.rglob("*.js")):
        if SCRIPT_LOADS.search(file.read_text()):
            faults.append(f"{file.name}: loads from outside")
    return faults, sorted(external)


def _fault_of(link: str, file: Path, pages: dict[Path, Page]) -> str:
    """What is wrong with a link within the site, or nothing."""
    if OUTSIDE.match(link) or link.startswith(("data:", "mailto:", "urn:")):
        return ""
    path, _, anchor = link.partition("#")
    path = unquote(path.partition("?")[0])
    target = (file.parent / path).resolve() if path else file
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return "leads to nothing"
    page = pages.get(target) if anchor else None
    if page is not None and unquote(anchor) not in page.ids:
        return "names no place of its page"
    return ""


def main(folder: str) -> int:
    """Check the site in ``folder``; the exit status."""
    site = Path(folder)
    faults, external = check(site)
    (site.parent / "external-links.txt").write_text("".join(f"{link}\n" for link in external))
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(faults)} faults; {len(external)} links leave the site (external-links.txt)")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
