"""Work that reads examples and stores what it learnt, beside erasures."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from service.errors import Erased

P = ParamSpec("P")
T = TypeVar("T")
TRIES = 3  # of a fit; each may take minutes


def again_when_erased(work: Callable[P, T]) -> Callable[P, T]:
    """The same work, done anew when something that it has read was erased before it stored.

    What is stored so has learnt from nobody who was erased before.

    Raises:
        Erased: each of the ``TRIES`` times.
    """

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return work(*args, **kwargs)
            except Erased:
                continue
        return work(*args, **kwargs)

    return run
