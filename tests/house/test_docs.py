"""Documentation that cannot rot."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service import errors
from service.api.problems import STATUS
from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"),
    *(page for room in ("docs", "service", "training") for page in (ROOT / room).rglob("*.md")),
]


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_has_a_status() -> None:
    assert set(STATUS) == subclasses(errors.ServiceError)


def test_every_error_code_is_documented_with_its_status() -> None:
    text = (DOCS / "errors.md").read_text()
    for kind, status in STATUS.items():
        assert f"`{kind.code}` | {status} |" in text


def test_every_setting_is_documented_with_its_description() -> None:
    text = (DOCS / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert f"`SONOPROBE_{name.upper()}`" in text
        assert str(field.description) in text


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    return create_app(Settings()).openapi()


def test_the_committed_openapi_document_is_the_one_that_is_served(served: dict[str, Any]) -> None:
    committed = json.loads((DOCS / "openapi.json").read_text())
    assert committed == served, "run make docs"


def test_every_route_is_explained(served: dict[str, Any]) -> None:
    text = (DOCS / "api.md").read_text()
    for path, methods in served["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text


def test_every_error_code_is_reached_by_some_test() -> None:
    tests = "".join(file.read_text() for file in DOCS.parent.glob("tests/**/test_*.py"))
    bases = {"service_error", "conflict", "forbidden"}
    for kind in STATUS:
        said = (f'"{kind.code}"', f"{kind.code}:", kind.__name__)
        assert kind.code in bases or any(word in tests for word in said), kind.code


def anchors_of(page: Path) -> set[str]:
    """Ids in a page, and its headings as GitHub names them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = [re.sub(r"[^\w\- ]", "", h.lower()) for h in re.findall(r"^#+ (.+)$", text, re.M)]
    return {h.replace(" ", "-") for h in headings} | set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_map_of_the_pages_names_every_page() -> None:
    links = re.findall(r"\]\(([^)#\s]+)", (DOCS / "README.md").read_text())
    named = {(DOCS / link).resolve() for link in links if "://" not in link}
    pages = {page for page in DOCS.rglob("*.md") if not re.match(r"\d{4}-", page.name)}
    assert pages - named == {DOCS / "README.md"}


def test_every_example_of_the_api_calls_a_route(served: dict[str, Any]) -> None:
    routes = [re.sub(r"\{\w+\}", "[^/]+", path) for path in served["paths"]]
    for path in re.findall(r"\$U(/[^\s\"?]+)", (DOCS / "api.md").read_text()):
        assert any(re.fullmatch(route, path) for route in routes), path


def test_every_answer_of_the_api_is_one_of_the_requests_above_it(served: dict[str, Any]) -> None:
    blocks = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```$", (DOCS / "api.md").read_text(), re.M | re.S)
    checked = 0
    for (kind, requests), (next_kind, answer) in itertools.pairwise(blocks):
        if (kind, next_kind) == ("sh", "json"):
            checked += 1
            schemas = _answers_of(served, re.findall(r"\$U(/[^\s\"?]+)", requests))
            document = _without_gaps(json.loads(answer))
            assert any(validator.is_valid(document) for validator in schemas), answer
    assert checked > 8


def _answers_of(served: dict[str, Any], paths: list[str]) -> list[Draft202012Validator]:
    """What checks the fields that an answer shows, for the routes that some paths can call."""
    document = _closed(served)
    return [
        Draft202012Validator({**content["schema"], "components": document["components"]})
        for route, methods in document["paths"].items()
        if any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path) for path in paths)
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if status[0] == "2" and (content := response.get("content", {}).get("application/json"))
    ]


def _closed(node: Any) -> Any:
    """Schemas that know their fields take no other one, and need none."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items() if key != "required"}
    fields = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    return {"additionalProperties": False, **closed} if fields else closed


def _without_gaps(node: Any) -> Any:
    """An answer without the places where the page says only that there is more."""
    if isinstance(node, dict):
        return {key: _without_gaps(value) for key, value in node.items() if key != "..."}
    if isinstance(node, list):
        return [_without_gaps(item) for item in node if item != "..."]
    return node
