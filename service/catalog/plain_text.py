"""Text that identifies something: ids, tasks, classes, names and values of attributes.

Equal looks must be equal text, because a patient is found and erased by it. So it is stored in one
form (NFC, no white space at its ends, every space a plain one), and characters that nobody sees are
refused: controls, separators of lines, directions, and joiners where they join nothing.

``name_of`` and ``value_of`` give the stored form of any text and never fail: what they cannot store
becomes visible (``<U+200B>``). They serve look-ups, and data of schema 1, which was not checked.
``require_name`` and ``require_value`` check what is new. No message quotes a value.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from service.errors import InputError

V = TypeVar("V")
MAX_NAME = 1024  # characters; the API allows fewer, but text of schema 1 may have become longer
MAX_VALUE = 10_000
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # Unicode general categories
_JOINERS = "\u200c\u200d"  # letters of some scripts, and emoji, need them between two characters
_MISREAD = "\ufffd"  # stands for bytes that were read in the wrong encoding: who knows which
_FOLDERS = frozenset({".", ".."})  # clients resolve them in a path, so no address reaches them
_SAYS = (
    "must not contain control characters, invisible characters or characters that were misread "
    "(U+FFFD)"
)


def name_of(text: str) -> str:
    """The stored form of an id, task, class, or name of an attribute."""
    name = value_of(text)
    if name in _FOLDERS:
        return "".join(map(_visible, name))
    return name or "".join(map(_visible, text))


def value_of(text: str) -> str:
    """The stored form of the text of an attribute."""
    settled = _settled(text)
    if _is_plain(settled):
        return settled
    return "".join(
        _visible(settled[place]) if _is_refused(settled, place) else settled[place]
        for place in range(len(settled))
    )


def settled_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Old labels in their stored form; names that become equal get a number."""
    return _numbered((name_of(name), name_of(value)) for name, value in labels.items())


def settled_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Old attributes in their stored form; names that become equal get a number."""
    return _numbered(
        (name_of(name), value_of(value) if isinstance(value, str) else value)
        for name, value in attributes.items()
    )


def _numbered(pairs: Iterable[tuple[str, V]]) -> dict[str, V]:
    settled: dict[str, V] = {}
    for name, value in pairs:
        place, number = name, 1
        while place in settled and settled[place] != value:
            number += 1
            place = f"{name} ({number})"
        settled[place] = value
    return settled


def require_name(text: object, what: str) -> str:
    """The stored form. Raises InputError: not text, empty, too long, or with refused characters."""
    name = _required(text, what, MAX_NAME)
    if not name or name in _FOLDERS:
        raise InputError(f"{what} must be not blank, and neither a dot nor two dots")
    return name


def require_value(text: object, what: str) -> str:
    """As ``require_name``, but it may be empty and long."""
    return _required(text, what, MAX_VALUE)


def require_optional_name(text: object, what: str) -> str | None:
    """As ``require_name``, unless the text is None."""
    return None if text is None else require_name(text, what)


def _required(text: object, what: str, longest: int) -> str:
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {type(text).__name__}")
    if len(text) > 4 * longest:  # before the work; composing makes text up to four times shorter
        raise InputError(f"{what} must have at most {longest} characters")
    settled = _settled(text)
    if len(settled) > longest:
        raise InputError(f"{what} must have at most {longest} characters")
    if _is_plain(settled):
        return settled
    if any(_is_refused(settled, place) for place in range(len(settled))):
        raise InputError(f"{what} {_SAYS}")
    return settled


def _settled(text: str) -> str:
    if text.isascii():
        return text.strip()
    composed = unicodedata.normalize("NFC", text)
    if composed.isprintable():  # and so has no space but the plain one
        return composed.strip()
    return "".join(" " if unicodedata.category(c) == "Zs" else c for c in composed).strip()


def _is_plain(text: str) -> bool:
    """Whether no character needs a closer look: nearly all text of nearly all scans."""
    return text.isprintable() and _MISREAD not in text


def _is_refused(text: str, place: int) -> bool:
    character = text[place]
    if character in _JOINERS:
        return not (_joins(text[place - 1 : place]) and _joins(text[place + 1 : place + 2]))
    return character == _MISREAD or unicodedata.category(character) in _REFUSED


def _joins(neighbour: str) -> bool:
    """Whether a joiner beside this character changes what is seen."""
    return bool(neighbour) and not neighbour.isascii() and neighbour not in _JOINERS


def _visible(character: str) -> str:
    return f"<U+{ord(character):04X}>"
