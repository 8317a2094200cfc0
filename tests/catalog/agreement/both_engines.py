"""Two catalogs of different engines that get the same calls, and whose answers are compared.

What an engine draws itself cannot be equal: ids, row numbers, cursors and the time. Each catalog's
own are exchanged for names (``«ws 1»``, ``Row(3)``) in the order in which they first appear, so
that answers agree if and only if the same ids stand in the same places. Everything else must be
equal to the type and the sign: 1 is not 1.0, -0.0 is not 0.0. The order of names in JSON counts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from service.catalog.interface import Catalog
from service.errors import ServiceError

DRAWN = re.compile(r"(ws|key|scn|clf|exm|op)_[0-9a-f]{20}")
PRESENT = re.compile(r"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# Whose pages go on after a number that the engine drew.
NUMBERED = frozenset({"list_scans", "subject", "list_operations"})


@dataclass(frozen=True)
class Row:
    """The n-th row number that appeared."""

    n: int


@dataclass(frozen=True)
class Refusal:
    """An error instead of an answer."""

    error: str
    message: str


class Side:
    """One of the two catalogs, with the names of what it drew."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._names: dict[tuple[str, Any], Any] = {}
        self._drawn: dict[Any, Any] = {}

    def call(self, method: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """The answer or the Refusal; arguments and answer have names."""
        drawn = {name: self._drawn_of(value) for name, value in options.items()}
        if isinstance(drawn.get("before"), str):
            drawn["before"] = int(drawn["before"])
        try:
            answer = getattr(self.catalog, method)(*self._drawn_of(tuple(args)), **drawn)
        except ServiceError as error:
            return Refusal(type(error).__name__, self._named(str(error)))
        return self._answer(method, answer)

    def _answer(self, method: str, answer: Any) -> Any:
        if method in NUMBERED:
            *held, page = answer if isinstance(answer, tuple) else (answer,)
            after = page.next_after
            page = self._named(replace(page, next_after=None))
            page.next_after = after if after is None else self._name("after", after)
            return [self._named(tuple(held)), page]
        if method in _WITH_ROWS:
            return _WITH_ROWS[method](self, answer)
        return self._named(answer)

    def rows(self, row_ids: Any) -> list[Row]:
        return [self._row(int(row_id)) for row_id in row_ids]

    def _row(self, row_id: int) -> Row:
        known = [key for key in self._names if key[0] == "row"]
        name = self._names.setdefault(("row", row_id), Row(len(known)))
        self._drawn[name] = row_id
        return name  # type: ignore[no-any-return]

    def _name(self, kind: str, drawn: str) -> str:
        count = sum(key[0] == kind for key in self._names)
        name = self._names.setdefault((kind, drawn), f"«{kind} {count}»")
        self._drawn[name] = drawn
        return str(name)

    def _named(self, value: Any) -> Any:
        """Answers with names; records become namespaces, arrays their type and numbers."""
        if isinstance(value, str):
            text = DRAWN.sub(lambda found: self._name(found[1], found[0]), value)
            return PRESENT.sub("«now»", text)
        if is_dataclass(value) and not isinstance(value, type):
            record = SimpleNamespace(record=type(value).__name__)
            for field in fields(value):
                setattr(record, field.name, self._field(field.name, getattr(value, field.name)))
            return record
        if isinstance(value, np.ndarray):
            return [str(value.dtype), value.shape, value.tolist()]
        if isinstance(value, Mapping):
            return {self._named(name): self._named(inner) for name, inner in value.items()}
        if isinstance(value, tuple | list | frozenset):
            return type(value)(self._named(inner) for inner in value)
        return value

    def _field(self, name: str, value: Any) -> Any:
        if name == "row_id":
            return self._row(value)
        if name == "row_ids":
            return [(collection, self._row(row_id)) for collection, row_id in value]
        if name == "row_ids_N":
            return self.rows(value)
        return self._named(value)

    def _drawn_of(self, value: Any) -> Any:
        """Arguments with what this side drew under the names."""
        if isinstance(value, str | Row):
            return self._drawn.get(value, value)
        if is_dataclass(value) and not isinstance(value, type):
            changed = {f.name: self._drawn_of(getattr(value, f.name)) for f in fields(value)}
            return replace(value, **changed)
        if isinstance(value, tuple) and hasattr(value, "_replace"):
            return type(value)(*map(self._drawn_of, value))
        if isinstance(value, tuple | list):
            return type(value)(map(self._drawn_of, value))
        if isinstance(value, Mapping):  # of ids of keys; names of labels are never drawn
            return {self._drawn.get(name, name): inner for name, inner in value.items()}
        return value


_WITH_ROWS: dict[str, Callable[[Side, Any], Any]] = {
    "row_ids_where": lambda side, answer: [str(answer.dtype), side.rows(answer)],
    "content_hashes": lambda side, answer: [side.rows(answer[0]), side._named(answer[1])],
    "row_vectors": lambda side, answer: [side.rows(answer[0]), side._named(answer[1])],
    "get_scans_by_row": lambda side, answer: sorted(
        (side._row(row_id).n, repr(side._named(scan))) for row_id, scan in answer.items()
    ),
    "images_to_embed": lambda side, answer: [(side._row(row_id), png) for row_id, png in answer],
    # The age of the oldest is the time that passed.
    "waiting_operations": lambda side, answer: answer[0],
    # Nobody promises an order of workspaces.
    "all_collections": lambda side, answer: sorted(repr(side._named(item)) for item in answer),
    # Equal stamps mean the same frames; what they are is the engine's business.
    "frames_stamp": lambda side, answer: type(answer).__name__,
}


# Nothing that is stored has a NUL: one engine looks for it in vain, and the other does not look.
NO_NUL = Refusal("InputError", "text must not contain NUL characters")
NOTHING = ("UnknownItem", "NoThumbnail")


class BothEngines:
    """Two catalogs that must not be told apart."""

    def __init__(self, one: Catalog, other: Catalog) -> None:
        self.sides = (Side(one), Side(other))

    def call(self, method: str, /, *args: Any, **options: Any) -> Any:
        """The answer that both give."""
        one, other = (side.call(method, args, options) for side in self.sides)
        if other != NO_NUL or not _finds_nothing(one):
            assert repr(one) == repr(other), f"{method} {args!r} {options!r}"
        return one


def _finds_nothing(answer: Any) -> bool:
    return not answer or (isinstance(answer, Refusal) and answer.error in NOTHING)
