"""The collections and classifiers that a caller may name, and those of the running request.

A context variable holds the limits of the request, because names come from many places: paths,
bodies, stored requests of operations, the source of a version. ``StrictRoute`` sets it once where
the caller is authenticated. Work of the service itself has no limits.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from service.catalog.access_records import KeyGrant
from service.catalog.operation_records import NamedItems as NamedItems
from service.errors import InputError, OutsideLimits, UnknownItem

MAX_NAMES = 200  # of each kind in one grant
_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\*?")
# As the catalog says it: a name outside is no other answer than a name that does not exist.
NO_COLLECTION = "no such collection in this workspace"
NO_CLASSIFIER = "no such classifier in this workspace"


@dataclass(frozen=True, slots=True)
class NameLimits:
    """Exact names, or the beginning of names before a ``*``; None = every name."""

    collections: tuple[str, ...] | None = None
    classifiers: tuple[str, ...] | None = None

    @classmethod
    def of(cls, grant: KeyGrant) -> "NameLimits":
        """The limits of a key."""
        if grant.collections is None and grant.classifiers is None:
            return UNLIMITED
        return cls(grant.collections, grant.classifiers)

    @property
    def is_unlimited(self) -> bool:
        """Whether every name is allowed."""
        return self.collections is None and self.classifiers is None

    def has_collection(self, name: str) -> bool:
        """Whether a collection of this name may be named."""
        return _passes(self.collections, name)

    def has_classifier(self, name: str) -> bool:
        """Whether a classifier of this name may be named."""
        return _passes(self.classifiers, name)

    def has(self, items: NamedItems) -> bool:
        """Whether all items may be named. Items without a name concern the whole workspace."""
        if self.is_unlimited:
            return True
        if not (items.collections or items.classifiers):
            return False
        return all(map(self.has_collection, items.collections)) and all(
            map(self.has_classifier, items.classifiers)
        )

    def require(self, items: NamedItems) -> None:
        """Raises UnknownItem, as for a name that does not exist."""
        if not all(map(self.has_collection, items.collections)):
            raise UnknownItem(NO_COLLECTION)
        if not all(map(self.has_classifier, items.classifiers)):
            raise UnknownItem(NO_CLASSIFIER)

    def require_new(self, items: NamedItems) -> None:
        """Raises OutsideLimits: something of this name may not be created."""
        inside = all(map(self.has_collection, items.collections))
        if not (inside and all(map(self.has_classifier, items.classifiers))):
            raise OutsideLimits("the key may not create anything of this name")

    def require_unlimited(self) -> None:
        """Raises OutsideLimits: the request concerns more than named collections and classifiers.

        Such as the erasure of a patient.
        """
        if not self.is_unlimited:
            raise OutsideLimits("the request needs a key without limits to names")

    def covers(self, other: "NameLimits") -> bool:
        """Whether every name that ``other`` allows is allowed here."""
        return _covers(self.collections, other.collections) and _covers(
            self.classifiers, other.classifiers
        )


UNLIMITED = NameLimits()
_limits: ContextVar[NameLimits] = ContextVar("name_limits", default=UNLIMITED)


def current_limits() -> NameLimits:
    """The limits of the caller whose request runs; ``UNLIMITED`` outside of requests."""
    return _limits.get()


@contextmanager
def limited_to(limits: NameLimits) -> Iterator[None]:
    """Hold the limits for the block and for the tasks and threads that it starts."""
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


def require_names(patterns: Iterable[str] | None) -> None:
    """Raises InputError: not names of the form ``ward`` or ``ward-*``, or too many of them."""
    listed = tuple(patterns or ())
    if len(listed) > MAX_NAMES:
        raise InputError(f"expected at most {MAX_NAMES} names, got {len(listed)}")
    if not all(map(_PATTERN.fullmatch, listed)):
        raise InputError("expected names of collections and classifiers, or their beginning and *")


def _passes(patterns: tuple[str, ...] | None, name: str) -> bool:
    return patterns is None or any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def _covers(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> bool:
    if ours is None or theirs is None:
        return ours is None
    prefixes = tuple(pattern[:-1] for pattern in ours if pattern.endswith("*"))
    return all(
        pattern in ours or pattern.removesuffix("*").startswith(prefixes) for pattern in theirs
    )
