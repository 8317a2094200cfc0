"""Documentation that cannot rot."""

import json
from pathlib import Path

from service import errors
from service.api.problems import STATUS
from service.app import create_app
from service.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


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


def test_the_committed_openapi_document_is_the_one_that_is_served() -> None:
    committed = json.loads((DOCS / "openapi.json").read_text())
    assert committed == create_app(Settings()).openapi(), "run make docs"


def test_every_route_is_explained() -> None:
    text = (DOCS / "api.md").read_text()
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text


def test_every_error_code_is_reached_by_some_test() -> None:
    tests = "".join(file.read_text() for file in DOCS.parent.glob("tests/**/test_*.py"))
    bases = {"service_error", "conflict"}
    for kind in STATUS:
        said = (f'"{kind.code}"', f"{kind.code}:", kind.__name__)
        assert kind.code in bases or any(word in tests for word in said), kind.code
