"""Pages of short lists that the catalog answers whole."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def page_after(
    items: Sequence[T], id_of: Callable[[T], str], *, limit: int, after: str | None
) -> tuple[tuple[T, ...], str | None]:
    """A page, and the id after which the next one begins; None on the last page.

    Args:
        after: id of the last item of an earlier page. If the item is gone, the list begins anew.
    """
    ids = [id_of(item) for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    page = tuple(items[start : start + limit])
    return page, id_of(page[-1]) if start + limit < len(items) else None
