"""Pages of lists: what a request asks for, and the cursor of the next page."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias, TypeVar

from fastapi import Depends, Query

from service.access.name_limits import NameLimits
from service.api.dependencies import Service
from service.api.strict_json import strict_json
from service.errors import InputError, InvalidCursor
from service.gallery.gallery_records import Page

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The page that a request asks for; ``limit`` is within the service's own limit."""

    limit: int
    cursor: str | None

    def after(self, kind: str) -> str | None:
        """The key after which the page of the list ``kind`` starts. Raises InvalidCursor."""
        if self.cursor is None:
            return None
        try:
            parts = strict_json(base64.urlsafe_b64decode(self.cursor.encode("ascii")))
        except (binascii.Error, ValueError, InputError) as error:
            raise InvalidCursor("expected a cursor that this service gave") from error
        if not (isinstance(parts, list) and len(parts) == 2 and parts[0] == kind):
            raise InvalidCursor("expected a cursor of this list")
        if not isinstance(parts[1], str):
            raise InvalidCursor("expected a cursor that this service gave")
        return parts[1]

    def number_after(self, kind: str) -> int | None:
        """The same for lists whose key is a number. Raises InvalidCursor."""
        text = self.after(kind)
        if text is None:
            return None
        # The length goes first: int() refuses texts of many thousand digits with a ValueError.
        if len(text) < 16 and text.isascii() and text.isdecimal():
            return int(text)
        raise InvalidCursor("expected a cursor that this service gave")


class ListPage(Protocol[T]):
    """One page of a list, from the catalog."""

    def __call__(self, *, limit: int, after: str | None) -> Page[T]:
        """The page after the key ``after``."""


def page_within(
    limits: NameLimits,
    list_page: ListPage[T],
    is_shown: Callable[[T], bool],
    *,
    limit: int,
    after: str | None,
) -> Page[T]:
    """A page of the items that a caller may see. Blocks.

    Its cursor names none of the others, and there is none if only others follow.
    """
    if limits.is_unlimited:
        return list_page(limit=limit, after=after)
    return page_of_shown(list_page, is_shown, limit=limit, after=after)


def page_of_shown(
    list_page: ListPage[T],
    is_shown: Callable[[T], bool],
    *,
    limit: int,
    after: str | None,
) -> Page[T]:
    """As ``page_within``, where more than the limits of the caller decides what is shown."""
    shown: list[T] = []
    last: str | None = after
    while len(shown) < limit:
        # No more than are missing: the last item of the page is the last one that is shown.
        page = list_page(limit=limit - len(shown), after=last)
        shown += filter(is_shown, page.items)
        last = page.next_after
        if last is None:
            return Page(tuple(shown), None)
    ahead: str | None = last
    while ahead is not None:
        page = list_page(limit=limit, after=ahead)
        if any(map(is_shown, page.items)):
            return Page(tuple(shown), last)
        ahead = page.next_after
    return Page(tuple(shown), None)


def next_cursor(kind: str, after: str | None) -> str | None:
    """An opaque cursor of the list ``kind``; None on the last page."""
    if after is None:
        return None
    text = json.dumps([kind, after], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


async def _page_query(
    service: Service,
    limit: Annotated[int, Query(ge=1, description="Most items on this page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> PageQuery:
    return PageQuery(min(limit, service.settings.max_page), cursor)


Paging: TypeAlias = Annotated[PageQuery, Depends(_page_query)]
