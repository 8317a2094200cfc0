"""Names of classes and labels: one spelling for one name."""

import unicodedata
from collections.abc import Iterable, Mapping

from service.errors import InputError
from service.fewshot.fit import MAX_CLASS_NAME


def class_name(name: str) -> str:
    """The name in NFC, without blanks around it.

    Raises:
        InputError: then not of 1 to 128 characters, with control characters, or no valid Unicode.
    """
    composed = unicodedata.normalize("NFC", name).strip()
    is_valid = not any(unicodedata.category(c) in ("Cc", "Cs") for c in composed)
    if not (is_valid and 0 < len(composed) <= MAX_CLASS_NAME):
        raise InputError(
            f"expected class names of 1 to {MAX_CLASS_NAME} characters that are not blank, "
            "without control characters"
        )
    return composed


def class_names(names: Iterable[str]) -> list[str]:
    """``class_name`` of each; each spelling is looked at once. Raises InputError."""
    known: dict[str, str] = {}
    return [known.get(name) or known.setdefault(name, class_name(name)) for name in names]


def by_class_name(values: Mapping[str, float] | None) -> dict[str, float] | None:
    """The same values by ``class_name``. Raises InputError: two are of one name."""
    if values is None:
        return None
    named = {class_name(name): value for name, value in values.items()}
    if len(named) < len(values):
        raise InputError("expected one value per class or label, got two spellings of one name")
    return named
