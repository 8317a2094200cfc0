"""Rules for JSON values from outside, each of which names the place of the value that breaks it.

A rule takes a value and its place, and raises InvalidArtifact. Messages hold places and rules, no
values and no keys that a caller chose.
"""

import math
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NoReturn, TypeAlias

from service.errors import InvalidArtifact

Rule: TypeAlias = Callable[[Any, str], None]

MAX_DEPTH = 32
MAX_VALUES = 3_000_000  # in one document
MAX_INT = 2**53  # beyond it JSON readers round
MAX_TEXT = 1000  # characters of a sentence
_BLANKS = frozenset("\t\n\r")


def refuse(where: str, expected: str) -> NoReturn:
    """Raises InvalidArtifact."""
    raise InvalidArtifact(f"{where}: expected {expected}")


def check_json(document: Any, where: str) -> None:
    """Every value can be stored and answered as JSON; nothing here recurses.

    Raises:
        InvalidArtifact: nested deeper than 32, more than 3,000,000 values, numbers that are not
            finite or integers beyond 2^53, or text that is not valid Unicode or has control
            characters other than tab and line ends.
    """
    level: list[tuple[str, Any]] = [(where, document)]
    count = depth = 0
    while level:
        depth += 1
        count += len(level)
        if depth > MAX_DEPTH:
            refuse(where, f"values nested at most {MAX_DEPTH} deep")
        if count > MAX_VALUES:
            refuse(where, f"at most {MAX_VALUES} values")
        level = [child for place, value in level for child in _children(place, value)]


def _children(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside of one, which is checked by itself."""
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str) or not is_plain_text(key):
                refuse(where, "keys of valid text")
            # A key of the caller may be a class: a place is named by keys that look like ours.
            yield f"{where}.{key if key.isidentifier() and len(key) < 40 else '*'}", child
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield f"{where}[{number}]", child
    elif isinstance(value, str):
        if not is_plain_text(value):
            refuse(where, "valid text without control characters")
    elif isinstance(value, float):
        if not math.isfinite(value):
            refuse(where, "a finite number")
    elif isinstance(value, int) and abs(value) > MAX_INT:
        refuse(where, "an integer below 2^53")
    elif not isinstance(value, int | None):
        refuse(where, "a JSON value")


def is_plain_text(text: str) -> bool:
    """Whether the text is valid Unicode without control characters but tab and line ends."""
    if text.isascii() and text.isprintable():
        return True
    return not any(
        unicodedata.category(character) in ("Cc", "Cs") and character not in _BLANKS
        for character in text
    )


# rules ----------------------------------------------------------------------------------------


def number(low: float, high: float) -> Rule:
    """A number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and low <= value <= high):
            refuse(where, f"a number from {low:g} to {high:g}")

    return check


def above(low: float, high: float) -> Rule:
    """A number above ``low``, up to ``high``."""
    inside = number(low, high)

    def check(value: Any, where: str) -> None:
        inside(value, where)
        if value == low:
            refuse(where, f"a number above {low:g}")

    return check


def between(low: float, high: float) -> Rule:
    """A number above ``low`` and below ``high``."""
    inside = above(low, high)

    def check(value: Any, where: str) -> None:
        inside(value, where)
        if value == high:
            refuse(where, f"a number below {high:g}")

    return check


def count(most: int = 10**9, *, least: int = 0) -> Rule:
    """An integer from ``least`` to ``most``."""

    def check(value: Any, where: str) -> None:
        if not (type(value) is int and least <= value <= most):
            refuse(where, f"an integer from {least} to {most}")

    return check


def text(most: int = MAX_TEXT, *, least: int = 0) -> Rule:
    """Text of ``least`` to ``most`` characters."""

    def check(value: Any, where: str) -> None:
        if not (isinstance(value, str) and least <= len(value) <= most):
            refuse(where, f"text of {least} to {most} characters")

    return check


def choice(words: Collection[Any]) -> Rule:
    """One of some values."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str | int | None) or value not in words:
            refuse(where, f"one of the {len(words)} values that are possible here")

    return check


def optional(rule: Rule) -> Rule:
    """Null, or what the rule takes."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            rule(value, where)

    return check


def items(rule: Rule, most: int, *, exactly: int | None = None, least: int = 0) -> Rule:
    """A list of values of one rule."""
    low, high = (least, most) if exactly is None else (exactly, exactly)

    def check(value: Any, where: str) -> None:
        if not (isinstance(value, list) and low <= len(value) <= high):
            refuse(where, f"a list of {low} to {high} items")
        for place, item in enumerate(value):
            rule(item, f"{where}[{place}]")

    return check


def mapping(rule: Rule, keys: Collection[str], *, all_of: bool = False) -> Rule:
    """An object whose keys are among ``keys``, or exactly those."""
    known = frozenset(keys)

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or value.keys() - known or (all_of and known - value.keys()):
            refuse(where, f"an object with {'all' if all_of else 'some'} of its {len(known)} names")
        for item in value.values():
            rule(item, f"{where}.*")

    return check


def record(rules: Mapping[str, Rule], *, may_lack: Collection[str] = ()) -> Rule:
    """An object with at least these fields."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            refuse(where, "an object")
        for name, rule in rules.items():
            if name in value:
                rule(value[name], f"{where}.{name}")
            elif name not in may_lack:
                refuse(f"{where}.{name}", "a value")

    return check
