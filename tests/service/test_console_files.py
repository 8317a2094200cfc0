"""What the console is made of, and how its files are served; tests/browser uses it."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from service.server import LocalService

ROOT = Path(__file__).parents[2]
CONSOLE = ROOT / "service/console"
VENDORED = json.loads((CONSOLE / "vendor/vendor.json").read_text())
OWN = sorted([*CONSOLE.glob("*.js"), *CONSOLE.glob("*.css"), *CONSOLE.glob("*.html")])
PERMISSIVE = {"MIT", "Apache-2.0"}


@pytest.mark.parametrize("module", VENDORED, ids=lambda module: module["file"])
def test_a_module_of_others_is_unchanged_and_has_its_licence(module: dict[str, str]) -> None:
    content = (CONSOLE / "vendor" / module["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == module["sha256"]
    assert module["licence"] in PERMISSIVE
    licence = module["package"].removeprefix("@").replace("/", "-")
    assert (CONSOLE / "vendor/licences" / f"{licence}.txt").read_text().strip()


def test_every_module_of_others_is_listed() -> None:
    files = {file.name for file in (CONSOLE / "vendor").glob("*.mjs")}
    assert files == {module["file"] for module in VENDORED}


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.name)
def test_no_own_file_names_another_address_or_runs_text(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|dangerouslySetInnerHTML", text)
    assert len(text.splitlines()) <= 400


def test_every_file_is_served_and_nothing_else(tiny: LocalService) -> None:
    with httpx.Client(base_url=tiny.url, trust_env=False) as http:
        for file in CONSOLE.rglob("*"):
            if file.suffix in (".html", ".js", ".mjs", ".css", ".svg", ".txt"):
                answer = http.get(f"/console/{file.relative_to(CONSOLE).as_posix()}")
                assert answer.status_code == 200, file
                assert answer.headers["x-content-type-options"] == "nosniff"
        for path in ("none.js", "__init__.py", "vendor/vendor.json", "..%2fapp.py", "vendor/"):
            assert http.get(f"/console/{path}").status_code == 404, path


def test_a_page_that_did_not_change_keeps_its_policy(tiny: LocalService) -> None:
    with httpx.Client(base_url=tiny.url, trust_env=False) as http:
        page = http.get("/console/")
        again = http.get("/console/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    # A browser replaces the stored headers by those of the 304.
    policy = page.headers["content-security-policy"]
    assert again.headers["content-security-policy"] == policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_takes_every_module_from_the_service(tiny: LocalService) -> None:
    page = httpx.get(f"{tiny.url}/console/", trust_env=False).text
    (modules,) = re.findall(r'<script type="importmap">(.*?)</script>', page)
    with httpx.Client(base_url=f"{tiny.url}/console/", trust_env=False) as http:
        for address in json.loads(modules)["imports"].values():
            assert http.get(address).status_code == 200, address


@pytest.mark.skipif(shutil.which("node") is None, reason="checking syntax needs Node")
def test_every_module_can_be_parsed() -> None:
    for file in CONSOLE.glob("*.js"):
        done = subprocess.run(
            [shutil.which("node") or "", "--input-type=module", "--check"],
            input=file.read_bytes(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (file.name, done.stderr.decode())
