"""Write the sources of the site: the pages of the repository under the names of the site.

The map ``docs/README.md`` is the home page, and the order of its links is the navigation. A link
to a page of the repository leads to the page of the site, a link to any other file becomes its
path as text. A page that the map does not name fails the build, and so does a link to nothing.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from docs.site.openapi_pages import reference_pages

ROOT = Path(__file__).parents[2]
MAP = "docs/README.md"
DECISIONS = "docs/decisions/README.md"
OPENAPI = "docs/openapi.json"
ASSETS = "docs/images"
NOTEBOOKS = ("docs/tutorial.ipynb",)
# Pages whose names in the site are others. Sphinx has a search.html of its own.
RENAMED = {"docs/search.md": "similarity-search.md"}
# Pages that do not lie in docs/, and their names in the site.
OUTSIDE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "service/embedding/default_bundle/MODEL_CARD.md": "model-card.md",
    "training/experiments.md": "experiments.md",
    "clients/python/README.md": "python-client.md",
    "clients/typescript/README.md": "typescript-client.md",
}
# The list of decisions leads to them; in the navigation of every page they would double it.
ORPHAN = "---\norphan: true\n---\n\n"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})")
INLINE_CODE = re.compile(r"(`+[^`]+`+)")
ROUTE = re.compile(r"^\| `([A-Z]+) (/[^`]*)` \|")


class SiteError(Exception):
    """The pages do not make a site: a link to nothing, or a page that the map does not name."""


def site_names(root: Path) -> dict[str, str]:
    """The pages of the site: path in the repository -> path in the site."""
    pages = {MAP: "index.md", DECISIONS: "decisions/index.md"} | RENAMED
    for file in sorted((root / "docs").rglob("*.md")):
        path = file.relative_to(root).as_posix()
        pages.setdefault(path, path.removeprefix("docs/"))
    return pages | {path: name for path, name in OUTSIDE.items() if (root / path).is_file()}


def rewrite_links(text: str, path: str, pages: dict[str, str], root: Path) -> str:
    """Let the links of a page at ``path`` lead to the pages of the site.

    Raises:
        SiteError: a link leads to nothing.
    """
    here = PurePosixPath(pages[path]).parent

    def target_of(match: re.Match[str]) -> str:
        sign, label, link = match.groups()
        file, _, anchor = link.partition("#")
        if not file or re.match(r"[a-z]+:", link):
            return match[0]
        target = os.path.normpath((PurePosixPath(path).parent / file).as_posix())
        if not (root / target).exists():
            raise SiteError(f"{path}: {link} leads to nothing")
        if target == OPENAPI:
            name = "reference/index.md"
        elif target in pages:
            name = pages[target]
        elif target.startswith(ASSETS) or target in NOTEBOOKS:
            name = target.removeprefix("docs/")
        else:
            return label if label.strip("`").endswith(target) else f"{label} (`{target}`)"
        relative = os.path.relpath(name, here)
        return f"{sign}[{label}]({relative}{'#' + anchor if anchor else ''})"

    return _outside_of_code(text, target_of)


def _outside_of_code(text: str, replace: Callable[[re.Match[str]], str]) -> str:
    """Replace links outside of code; the label of a link may hold code."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\x00{len(hidden) - 1}\x00"

    def show(part: str) -> str:
        return re.sub(r"\x00(\d+)\x00", lambda m: hidden[int(m[1])], part)

    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        found = FENCE.match(line)
        if found and (not fence or line.strip() == fence):
            fence = "" if fence else found[2]
        elif not fence:
            line = show(LINK.sub(replace, INLINE_CODE.sub(hide, line)))
        lines.append(line)
    return "\n".join(lines) + "\n"


def navigation(map_text: str, pages: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The sections of the map with the pages that their first links name, and the names there.

    Raises:
        SiteError: the map does not name a page, or names one twice.
    """
    sections: list[tuple[str, dict[str, str]]] = []
    seen: set[str] = {"index.md"}
    for line in map_text.splitlines():
        if line.startswith("## "):
            sections.append((line[3:].strip(), {}))
        row = re.match(r"\| \[([^\]]*)\]\(([^)#\s]+)\)", line)
        if row is None or not sections:
            continue
        target = os.path.normpath(f"docs/{row[2]}")
        name = "reference/index.md" if target == OPENAPI else pages.get(target)
        if name is None or name in seen:
            raise SiteError(f"{MAP}: {row[2]} is no page of the site, or is there twice")
        seen.add(name)
        sections[-1][1][name] = row[1]
    decisions = {n for n in pages.values() if n.startswith("decisions/0")}
    missing = sorted(set(pages.values()) - seen - decisions)
    if missing:
        raise SiteError(f"{MAP} does not name {', '.join(missing)}")
    return sections


def toctree(titles: dict[str, str], caption: str) -> str:
    """A hidden list of pages, from which Sphinx makes the navigation."""
    options = [":hidden:", ":titlesonly:", f":caption: {caption}"]
    entries = [f"{title} </{name.removesuffix('.md')}>" for name, title in titles.items()]
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def sources(root: Path = ROOT) -> dict[str, bytes]:
    """The sources of the site: path in the site -> content.

    Raises:
        SiteError: a link leads to nothing, or the map does not name a page.
    """
    pages = site_names(root)
    reference, anchors = reference_pages((root / OPENAPI).read_text())
    files = {f"reference/{name}": text.encode() for name, text in reference.items()}
    for path, name in pages.items():
        text = rewrite_links((root / path).read_text(), path, pages, root)
        text = re.sub(r'<a id="([\w-]+)"></a>', r"[]{#\1}", text)
        if path == "docs/api.md":
            text = _link_routes(text, anchors)
        if path == MAP:
            chapters = navigation((root / MAP).read_text(), pages)
            text += "".join(toctree(titles, caption) for caption, titles in chapters)
        if name.startswith("decisions/0"):
            text = ORPHAN + text
        files[name] = text.encode()
    for file in [*(root / ASSETS).glob("*"), *(root / notebook for notebook in NOTEBOOKS)]:
        if file.is_file():
            files[file.relative_to(root / "docs").as_posix()] = file.read_bytes()
    return files


def write(files: dict[str, bytes], into: Path) -> None:
    """Make the folder hold these files; those that are equal keep their time, for Sphinx."""
    for old in into.rglob("*"):
        if old.is_file() and old.relative_to(into).as_posix() not in files:
            old.unlink()
    for name, content in files.items():
        file = into / name
        if not file.is_file() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def _link_routes(text: str, anchors: dict[str, str]) -> str:
    """Let each route in the tables of the API's page lead to its shapes."""

    def link(match: re.Match[str]) -> str:
        anchor = anchors.get(f"{match[1]} {match[2]}")
        return f"| [`{match[1]} {match[2]}`]({anchor}) |" if anchor else match[0]

    return "\n".join(ROUTE.sub(link, line) for line in text.splitlines()) + "\n"


if __name__ == "__main__":
    try:
        write(sources(), Path(sys.argv[1]))
    except SiteError as error:
        sys.exit(str(error))
