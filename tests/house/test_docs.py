"""Documentation that cannot rot."""

from pathlib import Path

from service import errors
from service.api.problems import STATUS
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
