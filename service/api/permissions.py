"""What each route needs: ``dependencies=[needs("scan.read")]``, or ``[OPEN]`` for everybody.

``StrictRoute`` refuses a route that says neither, checks the scopes before it reads a body, and
puts them into the OpenAPI document.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as Dependency

from service.access.scopes import SCOPES
from service.api.dependencies import KnownCaller


@dataclass(frozen=True, slots=True)
class Needs:
    """The dependency of a route that asks for a key with all of these scopes."""

    scopes: tuple[str, ...]

    async def __call__(self, caller: KnownCaller) -> None:
        """Raises MissingScope."""
        caller.require(*self.scopes)


async def _for_everybody(request: Request) -> None:
    """The dependency of a route that asks for no key."""


PUBLISH = "classifier.publish"  # of requests that publish what they make
READ_SCANS = "scan.read"  # of predictions for stored scans
OPEN = Depends(_for_everybody)


def needs(*scopes: str) -> Dependency:
    """The route asks for a key with all of these scopes."""
    if not scopes or not set(scopes) <= SCOPES.keys():
        raise ValueError(f"expected scopes of the table, got {scopes}")
    dependency: Dependency = Depends(Needs(scopes))
    return dependency


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


def declared(dependencies: Iterable[Dependency]) -> tuple[str, ...]:
    """The scopes among the dependencies in the decorator of a route."""
    return next((d.dependency.scopes for d in dependencies if isinstance(d.dependency, Needs)), ())
