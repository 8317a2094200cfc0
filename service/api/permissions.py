"""What each route needs: ``dependencies=[needs("scan.read")]``, ``[ANY_CALLER]`` for whoever
has a valid key, or ``[OPEN]`` for everybody.

``StrictRoute`` refuses a route that says neither, checks the scopes before it reads a body, and
puts them into the OpenAPI document.

A key may be limited to named collections and classifiers. Names in a path are held to the limits
before the body is read, names in bodies by their types (``CollectionName`` and others of
``shapes.base``). A route without a name in its path says what a limited key gets (``Limited``).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as Dependency

from service.access.name_limits import NamedItems, NameLimits
from service.access.scopes import SCOPES
from service.api.dependencies import KnownCaller

# What a key with limits to names gets from a route:
# path = 404 unless it may name what the path names; the body is held to the limits as well;
# body = its types hold the names of the body to the limits;
# shown = an answer without what it may not name;
# nothing = the same as any key, because nothing stored is named;
# refused = 403, because the request concerns more than what has a name.
Limited: TypeAlias = Literal["path", "body", "shown", "nothing", "refused"]


@dataclass(frozen=True, slots=True)
class Needs:
    """The dependency of a route that asks for a key with all of these scopes.

    Attributes:
        limited: what a key with limits gets; None = the path names a collection or a classifier.
    """

    scopes: tuple[str, ...]
    limited: Limited | None = None

    async def __call__(self, caller: KnownCaller) -> None:
        """Raises MissingScope."""
        caller.require(*self.scopes)


async def _for_everybody(request: Request) -> None:
    """The dependency of a route that asks for no key."""


PUBLISH = "classifier.publish"  # of requests that publish what they make
_OF_CLASSIFIER = "/v1/classifiers/{name}"
READ_SCANS = "scan.read"  # of predictions for stored scans, and of evaluations on them
OPEN = Depends(_for_everybody)


# The route asks for any key or token that is valid, whatever it allows, and names nothing stored.
ANY_CALLER = Depends(Needs((), "nothing"))


def needs(*scopes: str, limited: Limited | None = None) -> Dependency:
    """The route asks for a key with all of these scopes; ``limited`` as in ``Needs``."""
    if not scopes or not set(scopes) <= SCOPES.keys():
        raise ValueError(f"expected scopes of the table, got {scopes}")
    dependency: Dependency = Depends(Needs(scopes, limited))
    return dependency


def limited_of(path: str, dependencies: Iterable[Dependency]) -> Limited:
    """What a key with limits gets from a route that asks for a key.

    Raises:
        TypeError: the path names neither a collection nor a classifier, and ``needs`` is silent.
    """
    said = next(
        (d.dependency.limited for d in dependencies if isinstance(d.dependency, Needs)), None
    )
    if said is not None:
        return said
    if "{collection}" in path or path.startswith(_OF_CLASSIFIER):
        return "path"
    raise TypeError(f"{path}: `needs` says by `limited` what a key with limits to names gets")


def require_path(limits: NameLimits, limited: Limited, path: str, names: Mapping[str, Any]) -> None:
    """Hold the names in the path of a request to the limits of its caller.

    Raises:
        UnknownItem: it may not name one of them. OutsideLimits: limited callers are refused.
    """
    if limited == "refused":
        limits.require_unlimited()
    collections = (names["collection"],) if "collection" in names else ()
    classifiers = (names["name"],) if path.startswith(_OF_CLASSIFIER) else ()
    limits.require(NamedItems(collections, classifiers))


def scopes_of(dependant: Dependant) -> tuple[str, ...] | None:
    """What a route needs; None = it is open to everybody.

    Raises:
        TypeError: it says neither.
    """
    calls = [found.call for found in dependants(dependant)]
    for call in calls:
        if isinstance(call, Needs):
            return call.scopes
    if _for_everybody not in calls:
        raise TypeError("a route says by `needs` or `OPEN` who may call it")
    return None


def dependants(dependant: Dependant) -> Iterator[Dependant]:
    """The dependencies of a route, and theirs."""
    for child in dependant.dependencies:
        yield child
        yield from dependants(child)


def declared(dependencies: Iterable[Dependency]) -> tuple[str, ...] | None:
    """The scopes among the dependencies in the decorator of a route; None = it is open."""
    found = (d.dependency.scopes for d in dependencies if isinstance(d.dependency, Needs))
    return next(found, None)
